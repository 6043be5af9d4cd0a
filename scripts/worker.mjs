// The Worker alone, on this machine.
//
//   npm run worker -- [--port N] [--state DIR] [--no-build] [--faults] [--inspect N]
//
// --port N     the port on 127.0.0.1; 0 picks a free one (8787)
// --state DIR  where its R2 and Durable Objects are kept (.walferry/worker)
// --no-build   start what is in build/ as it is (as does WALFERRY_NO_BUILD=1)
// --faults     the Worker with faults on demand, for tests
// --inspect N  the port on which DevTools of a browser look into it (chrome://inspect): its CPU time, its memory
//
// It needs WALFERRY_TOKEN_KEY, which `walferry token` signs with, or the fixed WALFERRY_WRITE_TOKEN and WALFERRY_READ_TOKEN;
// WALFERRY_TOKEN_KEY_OLD and the variables that wrangler.toml tells of are passed on, too. When it answers it
// prints {"url":"http://127.0.0.1:8787"}.
// It ends on SIGTERM, SIGINT or SIGHUP, when its standard input, being a pipe, ends, and when whoever started it has ended.
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { whenParentEnds, whenStdinEnds } from './lib/parents.mjs';
import { calledFrom, inRoot } from './lib/root.mjs';
import { Failure, main } from './lib/run.mjs';
import { setup } from './setup.mjs';
import { portOf, startWorker } from './worker/start.mjs';

const tokens = ['WALFERRY_WRITE_TOKEN', 'WALFERRY_READ_TOKEN'];
const key = 'WALFERRY_TOKEN_KEY';
const others = ['PUBLIC_DATABASES', 'ALLOWED_ORIGINS', 'LEVELS', 'SNAPSHOT_INTERVAL', 'RETENTION', 'RAW_RETENTION', 'HISTORY_WINDOW', 'GRACE', 'SHORT_SEGMENTS', 'MAX_DOWNLOAD_BYTES', 'ATTACHED'].map((name) => `WALFERRY_${name}`);

await main(async () => {
  const { port, state, 'no-build': noBuild = Boolean(process.env.WALFERRY_NO_BUILD), faults, inspect } = options();
  const variables = Object.fromEntries([...tokens, key, `${key}_OLD`, ...others].map((name) => [name, process.env[name]]).filter(([, value]) => value));
  const from = faults ? 'worker-faults' : 'worker';
  const missing = tokens.filter((name) => !variables[name]);
  if (!variables[key] && missing.length) throw new Failure(`the Worker needs its tokens: set ${missing.join(' and ')}, or ${key}, in the environment.`);

  let worker;
  const ended = end().then(() => worker ?? process.exit(0)); // nothing runs yet: nothing to end
  if (!noBuild) {
    await setup();
    await build([from]);
  }
  worker = await startWorker({ port, state, variables, from, inspect });
  console.log(JSON.stringify({ url: worker.url }));
  await ended;
  await worker.stop();
  process.exit(0);
});

function options() {
  try {
    const { values } = parseArgs({
      options: { port: { type: 'string', default: '8787' }, state: { type: 'string', default: inRoot('.walferry', 'worker') }, 'no-build': { type: 'boolean' }, faults: { type: 'boolean' }, inspect: { type: 'string' } },
    });
    return { ...values, port: portOf(values.port), inspect: values.inspect && portOf(values.inspect, '--inspect'), state: resolve(calledFrom, values.state) };
  } catch (error) {
    throw error.code?.startsWith('ERR_PARSE_ARGS') ? new Failure(`${error.message}. Usage: npm run worker -- [--port N] [--state DIR] [--no-build] [--faults] [--inspect N]`) : error;
  }
}

function end() {
  return new Promise((told) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, told);
    whenParentEnds(told);
    whenStdinEnds(told);
  });
}
