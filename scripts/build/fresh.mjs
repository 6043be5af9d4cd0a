// A part of the build is skipped when a hash of everything it is made from is the same as after its last success.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inRoot } from '../lib/root.mjs';
import { ask } from '../lib/run.mjs';

const stampFile = (part) => inRoot('build', 'stamps', part);

/** Runs `make` unless part's inputs are unchanged and its outputs are there. Says whether it ran. */
export async function unlessFresh(part, { inputs, outputs }, make) {
  const hash = hashOf(inputs);
  const stamp = stampFile(part);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash && outputs.every((path) => existsSync(inRoot(path)))) return false;
  await make();
  mkdirSync(dirname(stamp), { recursive: true });
  // The hash of before: an input edited while the part was made makes it stale, as it should.
  writeFileSync(stamp, hash);
  return true;
}

function hashOf(inputs) {
  const hash = createHash('sha256').update(ask('rustc', ['--version']) ?? '');
  for (const path of inputs.flatMap(files).sort()) hash.update(path).update('\0').update(readFileSync(inRoot(path))).update('\0');
  return hash.digest('hex');
}

function files(path) {
  if (!existsSync(inRoot(path))) return [];
  if (!statSync(inRoot(path)).isDirectory()) return [path];
  return readdirSync(inRoot(path)).flatMap((entry) => files(join(path, entry)));
}
