// From the crate to one small wasm file with its JavaScript. The builds of Worker and browser are the same file of
// target/, so each goes through wasm-bindgen before the next one is compiled.
import { readFileSync } from 'node:fs';
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
  ...['lib.rs', 'ltx', 'wal', 'replica', 'restore', 'store', feature].map((path) => `src/${path}`),
  'scripts/build',
  'scripts/lib',
  'package-lock.json',
];

/** Compiles the crate with one feature and writes wasm-bindgen's `index.js` and `index_bg.wasm`, or other names, to `dir`. */
export async function bindgen(feature, dir, bindgenArgs) {
  const args = ['build', '--lib', '--profile', 'wasm', '--target', 'wasm32-unknown-unknown', '--no-default-features', '--features', feature];
  await run('cargo', args, { env: { ...process.env, ...cargoEnv() }, what: `compiling the ${feature}'s wasm` });
  const wasm = inRoot('target', 'wasm32-unknown-unknown', 'wasm', 'walferry.wasm');
  await run(program('wasm-bindgen'), [wasm, '--out-dir', dir, ...bindgenArgs], { what: `wasm-bindgen for the ${feature}` });
}

/** Shrinks a wasm file. Not with --all-features: browsers refuse what that makes. */
export async function optimize(from, to) {
  await run(inRoot('node_modules', '.bin', 'wasm-opt'), [from, '-o', to, '-Oz', '--strip-debug', '--strip-producers'], { what: `wasm-opt of ${from}` });
}

/** What a file weighs, as it is and on its way. */
export function size(path) {
  const bytes = readFileSync(inRoot(path));
  const kB = (length) => `${(length / 1000).toFixed(1)} kB`;
  return `${path}: ${kB(bytes.length)} raw, ${kB(gzipSync(bytes, { level: 9 }).length)} gzip, ${kB(brotliCompressSync(bytes).length)} brotli`;
}
