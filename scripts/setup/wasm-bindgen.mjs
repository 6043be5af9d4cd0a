// wasm-bindgen and its test runner, compiled from crates.io: the same on every platform that has Rust.
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { inRoot } from '../lib/root.mjs';
import { Failure, run } from '../lib/run.mjs';
import { provide, toolDir, toolLog } from '../lib/tools.mjs';
import { wasmBindgen as version } from '../lib/versions.mjs';

export const program = (name) => join(toolDir('wasm-bindgen', version), 'bin', name);

export async function wasmBindgen() {
  await provide('wasm-bindgen', version, async (dir) => {
    console.error(`setup: compiling wasm-bindgen ${version} (about four minutes of one core, once)`);
    // No --locked: its lock file names a version of a crate that was withdrawn. No default features: those are TLS, which
    // the test runner would need for a driver on another machine only.
    const args = ['install', 'wasm-bindgen-cli', '--version', version, '--no-default-features', '--root', dir];
    const objects = inRoot('.tools', 'wasm-bindgen-target'); // outside the folder that is thrown away when cut off
    const env = { ...process.env, CARGO_TARGET_DIR: objects };
    await run('cargo', args, { env, log: toolLog('wasm-bindgen'), what: `compiling wasm-bindgen ${version}` });
    for (const name of ['wasm-bindgen', 'wasm-bindgen-test-runner']) {
      if (!existsSync(join(dir, 'bin', name))) throw new Failure(`compiling wasm-bindgen ${version} left no program ${name}.`);
    }
    rmSync(objects, { recursive: true, force: true });
  });
}
