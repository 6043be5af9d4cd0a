// The browser module, in pkg/ as it is published, and the page that uses it, in build/site/ as the Worker serves it.
import { cpSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inRoot } from '../lib/root.mjs';
import { unlessFresh } from './fresh.mjs';
import { silencePanics } from './panics.mjs';
import { makeSite } from './site.mjs';
import { replaceFolder } from './swap.mjs';
import { bindgen, optimize, rustInputs, size } from './wasm.mjs';

const wasm = ['pkg/engine_bg.wasm', 'pkg/restore-engine_bg.wasm'];
// Written by hand; the rest of pkg/ is wasm-bindgen's.
const scripts = 'src/browser/js';
const glue = ['--target', 'web', '--no-typescript', '--out-name'];

export async function browser() {
  await unlessFresh('pkg', { inputs: rustInputs('browser'), outputs: [...wasm, 'pkg/walferry.js', 'pkg/walferry.d.ts'] }, makePackage);
  await unlessFresh('site', { inputs: ['www', 'pkg', 'scripts/build', 'package-lock.json'], outputs: ['build/site/index.html'] }, makeSite);
  return wasm.map(size);
}

/** For tests only: the whole module with places where a tab can be ended. Not shrunk: nobody waits for it. */
export async function faultyBrowser() {
  const dir = 'build/browser-faults';
  const made = `${dir}/engine_bg.wasm`;
  await unlessFresh('browser-faults', { inputs: rustInputs('browser'), outputs: [made] }, () =>
    replaceFolder(inRoot(dir), async (dir) => {
      await bindgen('browser,fault-points', dir, [...glue, 'engine']);
      cpSync(inRoot(scripts), dir, { recursive: true });
    }),
  );
  return [size(made)];
}

async function makePackage() {
  await replaceFolder(inRoot('pkg'), async (dir) => {
    for (const [features, name] of [['browser', 'engine'], ['browser-restore', 'restore-engine']]) {
      await bindgen(features, dir, [...glue, name]);
      const bare = join(dir, `${name}_bg.wasm`);
      await silencePanics(bare);
      await optimize(bare, `${bare}.small`);
      renameSync(`${bare}.small`, bare);
      await shorten(join(dir, `${name}.js`));
    }
    cpSync(inRoot(scripts), dir, { recursive: true });
  });
}

/** What wasm-bindgen writes is read by no one, and what of it nobody calls goes; our own scripts stay as they are written. */
async function shorten(script) {
  const { transform } = await import('esbuild');
  const written = readFileSync(script, 'utf8').replace('export { initSync, ', 'export { ');
  const { code } = await transform(written, { minify: true, treeShaking: true, format: 'esm' });
  writeFileSync(script, code);
}
