// The browser module, in pkg/ as it is published, and the page that uses it, in build/site/ as the Worker serves it.
import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { inRoot } from '../lib/root.mjs';
import { unlessFresh } from './fresh.mjs';
import { replaceFolder } from './swap.mjs';
import { bindgen, optimize, rustInputs, size } from './wasm.mjs';

const wasm = 'pkg/walferry_bg.wasm';

export async function browser() {
  await unlessFresh('pkg', { inputs: rustInputs('browser'), outputs: [wasm, 'pkg/walferry.js', 'pkg/walferry.d.ts'] }, makePackage);
  await unlessFresh('site', { inputs: ['www', 'pkg', 'scripts/build', 'package-lock.json'], outputs: ['build/site'] }, makeSite);
  return [size(wasm)];
}

async function makePackage() {
  await replaceFolder(inRoot('pkg'), async (dir) => {
    await bindgen('browser', dir, ['--target', 'web', '--out-name', 'walferry']);
    const bare = join(dir, 'walferry_bg.wasm');
    await optimize(bare, `${bare}.small`);
    renameSync(`${bare}.small`, bare);
  });
}

// Every script at the top of www/ becomes one file with all that it imports; the rest is copied as it is.
async function makeSite() {
  const { build } = await import('esbuild');
  await replaceFolder(inRoot('build', 'site'), async (dir) => {
    if (!existsSync(inRoot('www'))) return;
    const scripts = readdirSync(inRoot('www')).filter((name) => /\.m?[jt]s$/.test(name));
    cpSync(inRoot('www'), dir, { recursive: true, filter: (from) => !/\.m?[jt]s$/.test(from) });
    await build({
      entryPoints: scripts.map((name) => inRoot('www', name)),
      outdir: dir,
      bundle: true,
      format: 'esm',
      target: 'es2022',
      minify: true,
      sourcemap: 'linked',
      logLevel: 'warning',
    });
    // The glue finds the wasm beside itself, and after bundling that is beside the page's own scripts.
    cpSync(inRoot(wasm), join(dir, 'walferry_bg.wasm'));
  });
}
