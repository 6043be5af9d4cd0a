// From the crate to one small wasm file with its JavaScript. The builds of Worker and browser are the same file of
// target/, so each goes through wasm-bindgen before the next one is compiled.
import { readFileSync, readdirSync } from 'node:fs';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { inRoot } from '../lib/root.mjs';
import { run } from '../lib/run.mjs';
import { cargoEnv } from '../setup.mjs';
import { program } from '../setup/wasm-bindgen.mjs';

export const rustInputs = (feature) => [
  'Cargo.toml',
  'Cargo.lock',
  'rust-toolchain.toml',
  '.cargo/config.toml',
  ...readdirSync(inRoot('src')).filter((path) => path === feature || !['native', 'worker', 'browser', 'main.rs'].includes(path)).map((path) => `src/${path}`),
  'scripts/build',
  'scripts/lib',
  'package-lock.json',
];

/** Compiles the crate with these features and puts it through wasm-bindgen, into `dir`. */
export async function bindgen(features, dir, bindgenArgs) {
  // A cdylib only here: as a crate type of the library it would be linked by every native build too.
  const args = ['rustc', '--lib', '--crate-type', 'cdylib', '--profile', 'wasm', '--target', 'wasm32-unknown-unknown', '--no-default-features', '--features', features];
  await run('cargo', args, { env: { ...process.env, ...cargoEnv() }, what: `compiling the wasm of ${features}` });
  const wasm = inRoot('target', 'wasm32-unknown-unknown', 'wasm', 'walferry.wasm');
  await run(program('wasm-bindgen'), [wasm, '--out-dir', dir, ...bindgenArgs], { what: `wasm-bindgen of ${features}` });
}

/**
 * Shrinks a wasm file. It may use what the compiler declared, and `features` besides: never all that wasm-opt knows, for
 * browsers refuse what that makes.
 */
export async function optimize(from, to, features = [], passes = ['-Oz']) {
  // Functions of one kind beside each other: gzip looks back 32 kB only.
  const last = ['--reorder-functions-by-name', '--strip-debug', '--strip-producers'];
  const args = [from, '-o', to, ...passes, ...last, ...features.map((feature) => `--enable-${feature}`)];
  await run(inRoot('node_modules', '.bin', 'wasm-opt'), args, { what: `wasm-opt of ${from}` });
}

/** What a file weighs, as it is and on its way. */
export function size(path) {
  const bytes = readFileSync(inRoot(path));
  const kB = (length) => `${(length / 1000).toFixed(1)} kB`;
  return `${path}: ${kB(bytes.length)} raw, ${kB(gzipSync(bytes, { level: 9 }).length)} gzip, ${kB(brotliCompressSync(bytes).length)} brotli`;
}
