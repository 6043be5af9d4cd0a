// The browser module, in pkg/ as it is published, and the page that uses it, in build/site/ as the Worker serves it.
import { cpSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { inRoot } from '../lib/root.mjs';
import { unlessFresh } from './fresh.mjs';
import { replaceFolder } from './swap.mjs';
import { bindgen, optimize, rustInputs, size } from './wasm.mjs';

const wasm = ['pkg/engine_bg.wasm', 'pkg/restore-engine_bg.wasm'];
// Written by hand; the rest of pkg/ is wasm-bindgen's.
const scripts = 'src/browser/js';

export async function browser() {
  await unlessFresh('pkg', { inputs: rustInputs('browser'), outputs: [...wasm, 'pkg/walferry.js', 'pkg/walferry.d.ts'] }, makePackage);
  await unlessFresh('site', { inputs: ['www', 'pkg', 'scripts/build', 'package-lock.json'], outputs: ['build/site/index.html'] }, makeSite);
  return wasm.map(size);
}

async function makePackage() {
  await replaceFolder(inRoot('pkg'), async (dir) => {
    for (const [features, name] of [['browser', 'engine'], ['browser-restore', 'restore-engine']]) {
      await bindgen(features, dir, ['--target', 'web', '--no-typescript', '--out-name', name]);
      const bare = join(dir, `${name}_bg.wasm`);
      await optimize(bare, `${bare}.small`);
      renameSync(`${bare}.small`, bare);
    }
    cpSync(inRoot(scripts), dir, { recursive: true });
  });
}

// The page is plain modules: it is served as it is written, with the package beside it. Nothing is bundled: the worker and
// the wasm are found by their addresses relative to the module.
async function makeSite() {
  await replaceFolder(inRoot('build', 'site'), async (dir) => {
    cpSync(inRoot('www'), dir, { recursive: true });
    cpSync(inRoot('pkg'), join(dir, 'walferry'), { recursive: true });
    // The page needs no types, and not the module without SQLite.
    for (const name of readdirSync(join(dir, 'walferry'))) if (/\.d\.ts$|^restore/.test(name)) rmSync(join(dir, 'walferry', name));
  });
}
