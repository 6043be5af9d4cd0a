// The Cloudflare Worker: index.js and the wasm it imports.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inRoot } from '../lib/root.mjs';
import { unlessFresh } from './fresh.mjs';
import { replaceFolder } from './swap.mjs';
import { surviveDeath } from './worker-glue.mjs';
import { bindgen, optimize, size, rustInputs } from './wasm.mjs';

export const worker = () => make('worker', 'worker');
/** For tests only: the Worker with faults on demand. */
export const faultyWorker = () => make('worker-faults', 'worker,fault-points');

async function make(name, features) {
  const [index, wasm] = ['index.js', 'index_bg.wasm'].map((file) => join('build', name, file));
  const inputs = [...rustInputs('worker'), 'wrangler.toml'];
  await unlessFresh(name, { inputs, outputs: [index, wasm] }, async () => {
    const glue = inRoot('build', `glue-${name}`);
    rmSync(glue, { recursive: true, force: true });
    mkdirSync(glue, { recursive: true });
    await bindgen(features, glue, [
      ...['--target', 'module', '--no-typescript', '--out-name', 'index'],
      // After a panic, start afresh: see worker-glue.mjs.
      ...['--experimental-reset-state-function', '--force-enable-abort-handler'],
    ]);
    const script = join(glue, 'index.js');
    writeFileSync(script, surviveDeath(readFileSync(script, 'utf8')));
    await replaceFolder(inRoot('build', name), async (dir) => {
      await bundle(glue, dir);
      // wasm-bindgen's abort handler catches exceptions; the compiler does not know of it.
      await optimize(join(glue, 'index_bg.wasm'), join(dir, 'index_bg.wasm'), ['exception-handling'], ['-Oz', '--gufa', '-Oz']);
    });
  });
  return [size(wasm)];
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
