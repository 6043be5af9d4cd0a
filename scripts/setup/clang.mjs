// The browser's SQLite is C compiled to wasm: gcc cannot, every clang but Apple's can.
import { ask, Failure, onPath } from '../lib/run.mjs';
import { apt, canApt } from './apt.mjs';

const names = ['clang', ...[22, 21, 20, 19, 18, 17, 16, 15, 14].map((version) => `clang-${version}`)];

/** The clang to use, after installing one if need be. A choice already made in the environment is kept. */
export async function clang() {
  const found = findClang();
  if (found) return found;
  if (!canApt()) {
    throw new Failure(
      'A clang that compiles for wasm32 is missing. Install LLVM\'s clang, version 14 or later (Debian, Ubuntu: `apt-get install clang`; ' +
        'Fedora: `dnf install clang`; macOS: `brew install llvm`, as Apple\'s own clang has no wasm), or name one in CC_wasm32_unknown_unknown.',
    );
  }
  console.error('setup: installing clang');
  // The distribution's default version, without what the `clang` package would draw in besides.
  await apt(ask('apt-cache', ['show', 'clang'])?.match(/^Depends:.*?\b(clang-\d+)/m)?.[1] ?? 'clang');
  const installed = findClang();
  if (!installed) throw new Failure('clang was installed, but no `clang` or `clang-<version>` on PATH compiles for wasm32.');
  return installed;
}

export function findClang() {
  return process.env.CC_wasm32_unknown_unknown ?? names.map(onPath).filter(Boolean).concat(homebrew()).find(knowsWasm);
}

const homebrew = () => ['/opt/homebrew/opt/llvm/bin/clang', '/usr/local/opt/llvm/bin/clang'];
const knowsWasm = (clang) => /\bwasm32\b/.test(ask(clang, ['--print-targets']) ?? '');
