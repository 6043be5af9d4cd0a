// walferry and the real Litestream in turn, on the same machine in the same run:  npm run bench -- --quick
// What the figures mean, and what to distrust: README.md in this folder.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { inRoot } from '../scripts/lib/root.mjs';
import { Failure, main, run } from '../scripts/lib/run.mjs';
import { cargoEnv } from '../scripts/setup.mjs';
import { litestream as setupLitestream, litestreamProgram } from '../scripts/setup/litestream.mjs';
import { folder, s3 } from './destinations.mjs';
import { litestream, walferry } from './replicators.mjs';
import { print } from './report.mjs';
import { workloads } from './workloads.mjs';

const usage = `npm run bench -- [--quick] [--s3] [WORKLOAD…]

  WORKLOAD        ${Object.entries(workloads).map(([name, { about }]) => `${name}: ${about}`).join('\n                  ')}
                  (w1 and w2 when none is named)
  --quick         shorter runs, fewer rounds
  --s3            to a real S3 server on this machine instead of a folder
  --rounds N      how often each is run; the figures are medians
  --json FILE     all figures, as JSON
  --dir DIR       where databases and replicas are made, on a real disk (default: the system's temporary folder)
  --walferry P, --litestream P   other programs than the ones built and fetched here
  --only NAME     walferry or litestream alone`;

const options = {
  quick: { type: 'boolean', default: false },
  s3: { type: 'boolean', default: false },
  rounds: { type: 'string' },
  json: { type: 'string' },
  dir: { type: 'string', default: tmpdir() },
  walferry: { type: 'string' },
  litestream: { type: 'string' },
  only: { type: 'string' },
  help: { type: 'boolean', default: false },
};

await main(async () => {
  const { values, positionals } = parse();
  if (values.help) return console.log(usage);
  const names = positionals.length ? positionals : ['w1', 'w2'];
  const unknown = names.find((name) => !workloads[name]);
  if (unknown) throw new Failure(`there is no workload \`${unknown}\`.\n\n${usage}`);
  const programs = await prepare(values);
  const replicators = [walferry(programs.walferry), litestream(programs.litestream)].filter(({ name }) => !values.only || name === values.only);
  mkdirSync(values.dir, { recursive: true });
  const scratch = mkdtempSync(join(values.dir, 'walferry-bench-'));
  process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
  const destination = values.s3 ? await s3(scratch) : folder(scratch);
  const results = [];
  try {
    for (const name of names) {
      const workload = workloads[name];
      const rounds = Number(values.rounds ?? (values.quick ? workload.quickRounds : workload.rounds) ?? 1);
      results.push({ name, about: workload.about, destination: destination.kind, ...(await workload.run({ ...programs, replicators, destination, scratch, rounds, quick: values.quick, name })) });
      print(results.at(-1));
    }
  } finally {
    await destination.end();
  }
  if (values.json) writeFileSync(values.json, `${JSON.stringify({ date: new Date().toISOString(), quick: values.quick, results }, null, 2)}\n`);
});

function parse() {
  try {
    return parseArgs({ options, allowPositionals: true });
  } catch (error) {
    throw new Failure(`${error.message}\n\n${usage}`);
  }
}

/** The programs, built and fetched. The application is compiled as tests are: its speed is the same for both. */
async function prepare(values) {
  const env = { ...process.env, ...cargoEnv() };
  if (!values.walferry) await run('cargo', ['build', '--release', '--bin', 'walferry'], { env, what: 'compiling walferry' });
  await run('cargo', ['build', '--example', 'bench_writer', '--example', 'bench_lag'], { env, what: 'compiling the application' });
  if (!values.litestream) await setupLitestream();
  const built = (...parts) => join(env.CARGO_TARGET_DIR ?? inRoot('target'), ...parts);
  return {
    walferry: values.walferry ?? built('release', 'walferry'),
    litestream: values.litestream ?? litestreamProgram('0.5.17'),
    writer: built('debug', 'examples', 'bench_writer'),
    lag: built('debug', 'examples', 'bench_lag'),
  };
}
