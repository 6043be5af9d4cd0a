// Debian packages, for whoever may install them. One apt at a time: calls queue behind each other.
import { existsSync } from 'node:fs';
import { onPath, run } from '../lib/run.mjs';
import { toolLog } from '../lib/tools.mjs';

export const canApt = () => Boolean(onPath('apt-get')) && existsSync('/etc/debian_version') && process.getuid?.() === 0;

let queue = Promise.resolve();
let updated = false;

export function apt(...packages) {
  const mine = queue.then(() => install(packages));
  queue = mine.catch(() => {});
  return mine;
}

async function install(packages) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const wait = ['-o', 'DPkg::Lock::Timeout=600'];
  const log = (step) => toolLog(`apt-${step}-${packages[0]}`);
  if (!updated) {
    await run('apt-get', [...wait, 'update'], { env, log: log('update'), what: 'reading the list of Debian packages' });
    updated = true;
  }
  const args = [...wait, 'install', '-y', '--no-install-recommends', ...packages];
  await run('apt-get', args, { env, log: log('install'), what: `installing the Debian packages ${packages.join(', ')}` });
}
