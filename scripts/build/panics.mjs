// What a Rust program says before it dies is heard by no one in a browser: no hook is set there, and standard error leads
// nowhere. So the functions that would say it end at once, as they do in the end; then wasm-opt drops what made their words.
import { readFileSync, writeFileSync } from 'node:fs';
import { Failure } from '../lib/run.mjs';

// None of these returns. A crate's name is followed by its hash.
const last = [
  /^core::panicking::/,
  /^core::(option|result)::(expect|unwrap)_failed$/,
  /^core::cell::panic_already_/,
  /^core::(slice|str)::\S*_fail(_rt)?$/,
  /^<?alloc::vec::Vec<.*::assert_failed$/,
  /^alloc::(alloc::handle_alloc_error|raw_vec::(handle_error|capacity_overflow))$/,
  /^__rustc::rust_begin_unwind$/,
];

/** Takes the words from what a wasm file would say of its panics. */
export async function silencePanics(path) {
  // Installed by the setup, which the scripts that import this one begin with.
  const { default: binaryen } = await import('binaryen');
  const module = binaryen.readBinary(readFileSync(path));
  const functions = Array.from({ length: module.getNumFunctions() }, (_, at) => module.getFunctionByIndex(at));
  const silenced = functions.filter((one) => {
    const name = binaryen.getFunctionInfo(one).name.replace(/\[\w+\]/g, '');
    return last.some((pattern) => pattern.test(name));
  });
  if (silenced.length < last.length) throw new Failure(`${path} has no panics by the names of before: what scripts/build/panics.mjs looks for must follow.`);
  for (const one of silenced) binaryen.Function.setBody(one, module.unreachable());
  // The names stay: wasm-opt sorts by them.
  binaryen.setDebugInfo(true);
  writeFileSync(path, module.emitBinary());
  module.dispose();
}
