// The browser module, in pkg/ as it is published, and the page that uses it, in build/site/ as the Worker serves it.
import { cpSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { inRoot } from '../lib/root.mjs';
import { unlessFresh } from './fresh.mjs';
import { silencePanics } from './panics.mjs';
import { makeSite } from './site.mjs';
import { replaceFolder } from './swap.mjs';
import { bindgen, optimize, rustInputs, size } from './wasm.mjs';

const wasm = ['pkg/engine_bg.wasm', 'pkg/restore-engine_bg.wasm'];
// Written by hand; what else is in the bundles of pkg/ is wasm-bindgen's.
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
      await bundle(dir, ['walferry', 'worker']);
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
    }
    await bundle(dir, ['walferry', 'worker', 'restore']);
    for (const name of ['walferry.d.ts', 'restore.d.ts']) cpSync(inRoot(scripts, name), join(dir, name));
  });
}

/** One script for the page and one for the worker, so that each comes with one request; names stay, for who reads a stack. */
async function bundle(dir, names) {
  const { build } = await import('esbuild');
  const modules = join(dir, 'modules');
  cpSync(inRoot(scripts), modules, { recursive: true });
  for (const name of readdirSync(dir).filter((name) => name.endsWith('.js'))) renameSync(join(dir, name), join(modules, name));
  await build({
    entryPoints: names.map((name) => join(modules, `${name}.js`)),
    outdir: dir,
    bundle: true,
    minifyWhitespace: true,
    minifySyntax: true,
    format: 'esm',
    target: 'es2022',
    legalComments: 'none',
    logLevel: 'warning',
  });
  rmSync(modules, { recursive: true });
}
