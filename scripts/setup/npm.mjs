// The JavaScript tools of package-lock.json, in exactly those versions.
import { existsSync, readFileSync } from 'node:fs';
import { inRoot } from '../lib/root.mjs';
import { Failure, onPath, run } from '../lib/run.mjs';
import { toolLog } from '../lib/tools.mjs';

export async function npmPackages() {
  if (Number(process.versions.node.split('.')[0]) < 20) {
    throw new Failure(`Node 20 or later is needed; this is ${process.version}.`);
  }
  if (installed()) return;
  if (!onPath('npm')) throw new Failure('npm is missing (no `npm` on PATH); it comes with Node.');
  console.error('setup: installing the packages of package-lock.json');
  await run('npm', ['ci', '--no-audit', '--no-fund'], { log: toolLog('npm'), what: 'installing the packages of package-lock.json' });
}

/** npm writes its own record of what it put into node_modules last of all: compare that with the lock file. */
export function installed() {
  const record = inRoot('node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const there = JSON.parse(readFileSync(record, 'utf8')).packages;
  const wanted = JSON.parse(readFileSync(inRoot('package-lock.json'), 'utf8')).packages;
  return Object.entries(wanted).every(([path, entry]) => path === '' || entry.optional || there[path]?.version === entry.version);
}
