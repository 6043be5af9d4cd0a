// The Cloudflare Worker, in build/worker/: index.js and the wasm it imports.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inRoot } from '../lib/root.mjs';
import { unlessFresh } from './fresh.mjs';
import { replaceFolder } from './swap.mjs';
import { surviveDeath } from './worker-glue.mjs';
import { bindgen, optimize, size, rustInputs } from './wasm.mjs';

const outputs = ['build/worker/index.js', 'build/worker/index_bg.wasm'];

export async function worker() {
  const inputs = [...rustInputs('worker'), 'wrangler.toml'];
  await unlessFresh('worker', { inputs, outputs }, make);
  return [size(outputs[1])];
}

async function make() {
  const glue = inRoot('build', 'glue-worker');
  rmSync(glue, { recursive: true, force: true });
  mkdirSync(glue, { recursive: true });
  await bindgen('worker', glue, [
    ...['--target', 'module', '--no-typescript', '--out-name', 'index'],
    // After a panic, start afresh: see worker-glue.mjs.
    ...['--experimental-reset-state-function', '--force-enable-abort-handler'],
  ]);
  const index = join(glue, 'index.js');
  writeFileSync(index, surviveDeath(readFileSync(index, 'utf8')));
  await replaceFolder(inRoot('build', 'worker'), async (dir) => {
    await bundle(glue, dir);
    await optimize(join(glue, 'index_bg.wasm'), join(dir, 'index_bg.wasm'));
  });
}

async function bundle(glue, dir) {
  const { build } = await import('esbuild');
  const shim = readFileSync(inRoot('scripts', 'build', 'worker-shim.js'), 'utf8');
  await build({
    stdin: { contents: shim + durableObjects(), resolveDir: glue, sourcefile: 'worker-shim.js' },
    outfile: join(dir, 'index.js'),
    external: ['./index_bg.wasm', 'cloudflare:*'],
    bundle: true,
    format: 'esm',
    minify: true,
    logLevel: 'warning',
  });
}

// One export for each Durable Object class that wrangler.toml binds.
function durableObjects() {
  const config = readFileSync(inRoot('wrangler.toml'), 'utf8').replaceAll(/^\s*#.*$/gm, '');
  const classes = new Set([...config.matchAll(/\bclass_name\s*=\s*"(\w+)"/g)].map((match) => match[1]));
  return [...classes].map((name) => `export const ${name} = durableObject(wasm.${name});\n`).join('');
}
