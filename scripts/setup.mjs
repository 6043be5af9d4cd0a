// Makes sure of every tool that building, running and testing need, and does nothing, quickly, when they are there.
//
//   node scripts/setup.mjs [--tests] [--print-env]
//
// --tests      also what only the tests need: Chromium with its driver, Firefox, three versions of Litestream, an S3 server, an Azure server, nginx
// --print-env  print, for a shell's `eval`, what cargo calls for wasm need in their environment
import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { withLock } from './lib/lock.mjs';
import { inRoot } from './lib/root.mjs';
import { main } from './lib/run.mjs';
import { rustFlags, sqliteFlags } from './lib/wasm-flags.mjs';
import { azurite, azuriteProgram } from './setup/azurite.mjs';
import { chromium, findChromium, findDriver } from './setup/chromium.mjs';
import { clang, findClang } from './setup/clang.mjs';
import { findFirefox, firefox } from './setup/firefox.mjs';
import { litestream, litestreamProgram } from './setup/litestream.mjs';
import { findNginx, nginx } from './setup/nginx.mjs';
import { installed, npmPackages } from './setup/npm.mjs';
import { rust, rustIsComplete } from './setup/rust.mjs';
import { s3Server, s3ServerProgram } from './setup/s3-server.mjs';
import { program, wasmBindgen } from './setup/wasm-bindgen.mjs';
import { litestream as litestreamVersions } from './lib/versions.mjs';

/** Installs what is missing. */
export async function setup({ tests = false } = {}) {
  const waiting = 'setup: another setup is running in this folder; waiting for it';
  if (complete(tests)) return;
  await withLock(inRoot('.tools', 'setup.lock'), waiting, async () => {
    await rust();
    const steps = [npmPackages(), clang(), wasmBindgen(), ...(tests ? [chromium(), firefox(), litestream(), s3Server(), azurite(), nginx()] : [])];
    const failed = (await Promise.allSettled(steps)).find((step) => step.status === 'rejected');
    if (failed) throw failed.reason;
  });
}

function complete(tests) {
  const needed = rustIsComplete() && installed() && findClang() && existsSync(program('wasm-bindgen'));
  const neededByTests = () => findChromium() && findDriver() && findFirefox() && findNginx() && existsSync(s3ServerProgram()) && existsSync(azuriteProgram()) && litestreamVersions.every((version) => existsSync(litestreamProgram(version)));
  return needed && (!tests || neededByTests());
}

/** The environment of cargo: one target folder, a C compiler for wasm, and what runs tests in a browser. */
export function cargoEnv() {
  const added = {
    CARGO_TARGET_DIR: inRoot('target'),
    CC_wasm32_unknown_unknown: findClang(),
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS: rustFlags(),
    SQLITE_WASM_RS_FLAGS: sqliteFlags,
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER: program('wasm-bindgen-test-runner'),
    CHROMEDRIVER: findDriver(),
  };
  return Object.fromEntries(Object.entries(added).filter(([, value]) => value !== undefined));
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(async () => {
    await setup({ tests: process.argv.includes('--tests') });
    if (process.argv.includes('--print-env')) {
      for (const [name, value] of Object.entries(cargoEnv())) console.log(`export ${name}='${value}'`);
    }
  });
}
