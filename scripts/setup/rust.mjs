// Rust itself must be there; its standard library for wasm is fetched.
import { existsSync } from 'node:fs';
import { ask, Failure, onPath, run } from '../lib/run.mjs';
import { toolLog } from '../lib/tools.mjs';
import { apt, canApt } from './apt.mjs';

const target = 'wasm32-unknown-unknown';

export const rustIsComplete = () => Boolean(onPath('cargo') && onPath('cc') && hasWasm());

export async function rust() {
  if (!onPath('cargo')) throw new Failure('Rust is missing (no `cargo` on PATH). Install it with rustup, then run this again.');
  if (!hasWasm()) {
    if (!onPath('rustup')) {
      throw new Failure(`Rust's standard library for ${target} is missing, and there is no rustup to fetch it. Install it with your package manager.`);
    }
    console.error(`setup: adding Rust's ${target}`);
    await run('rustup', ['target', 'add', target], { log: toolLog('rustup'), what: `adding Rust's ${target}` });
    if (!hasWasm()) throw new Failure(`rustup added ${target}, but rustc does not have it; is the rustc on PATH another one?`);
  }
  await linker();
}

function hasWasm() {
  const dir = ask('rustc', ['--print', 'target-libdir', '--target', target]);
  return dir !== undefined && existsSync(dir);
}

// rustc links through it, and SQLite is compiled by it.
async function linker() {
  if (onPath('cc')) return;
  if (!canApt()) throw new Failure('A C compiler is missing (no `cc` on PATH). Install gcc or clang, then run this again.');
  console.error('setup: installing a C compiler');
  await apt('gcc', 'libc6-dev');
}
