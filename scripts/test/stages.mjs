// The stages of `npm test`, in their order. Each yields the commands it is made of; one that `tests` must have run some.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { inRoot } from '../lib/root.mjs';
import { ask } from '../lib/run.mjs';
import { litestream as litestreamVersions, rustForLints } from '../lib/versions.mjs';
import { cargoEnv } from '../setup.mjs';
import { azuriteFolder } from '../setup/azurite.mjs';
import { findChromium } from '../setup/chromium.mjs';
import { findFirefox } from '../setup/firefox.mjs';
import { litestreamProgram } from '../setup/litestream.mjs';
import { s3ServerProgram } from '../setup/s3-server.mjs';

const wasm = ['--target', 'wasm32-unknown-unknown', '--no-default-features'];

export const stages = {
  lint: {
    about: 'format, and clippy on each feature set',
    commands: () => {
      const known = ask('rustc', ['--version'])?.includes(` ${rustForLints}.`);
      const clippy = (...args) => cargo('clippy', '--quiet', ...args, '--', ...(known ? ['-D', 'warnings'] : []));
      return [
        cargo('fmt', '--check'),
        clippy('--all-targets'),
        clippy('--lib', '--no-default-features'),
        clippy('--lib', ...wasm, '--features', 'worker,fault-points'),
        clippy('--lib', ...wasm, '--features', 'browser-restore'),
        clippy('--lib', ...named(isBrowser), ...wasm, '--features', 'browser,fault-points'),
      ];
    },
  },
  build: {
    about: 'Worker and browser module as they are published, and with faults on demand',
    commands: () => [['node', ['scripts/build.mjs', 'worker', 'worker-faults', 'browser', 'browser-faults'], { minutes: 25 }]],
  },
  native: {
    about: 'the core and the command line, to folders and to the Worker',
    tests: true,
    commands: () => [cargo('test', '--no-fail-fast', '--lib', '--bins', ...named(isNative)), cargo('test', '--doc')],
  },
  interop: {
    about: 'the real Litestream, both ways',
    tests: true,
    // Without a name, cargo would run them all.
    commands: () => (named(isInterop).length ? [cargo('test', '--no-fail-fast', ...named(isInterop))] : []),
  },
  worker: {
    about: 'the Worker on workerd',
    tests: true,
    commands: () => [cargo('build', '--quiet', '--bin', 'walferry'), ...nodeTests(2, 'tests/worker', 'tests/scripts')],
  },
  browser: {
    about: 'the browser module in Chromium',
    tests: true,
    commands: () => (named(isBrowser).length ? [cargo('test', '--no-fail-fast', ...wasm, '--features', 'browser', ...named(isBrowser))] : []),
  },
  page: {
    about: 'the page and the package in Chromium and Firefox, with all the rest behind them',
    tests: true,
    commands: () => [cargo('build', '--quiet', '--bin', 'walferry'), ...nodeTests(1, 'tests/browser')],
  },
};

// Each file of tests/, and each folder with a main.rs, is of one stage.
const isBrowser = (name) => /\bwasm_bindgen_test\b/.test(readFileSync(source(name), 'utf8'));
const isInterop = (name) => !isBrowser(name) && name.startsWith('interop');
const isNative = (name) => !isBrowser(name) && !isInterop(name);

function named(isWanted) {
  const names = readdirSync(inRoot('tests')).map((file) => file.replace(/\.rs$/, '')).filter((name) => existsSync(source(name)));
  return names.filter(isWanted).sort().flatMap((name) => ['--test', name]);
}

/** Where a test binary begins: a file of its own, or the main one of its folder. */
function source(name) {
  const file = inRoot('tests', `${name}.rs`);
  return existsSync(file) ? file : inRoot('tests', name, 'main.rs');
}

function cargo(...args) {
  return ['cargo', args, { env: testEnv(), minutes: 30 }];
}

/** So many files at once: each starts a Worker of its own, which mostly waits; a browser needs the machine. */
function nodeTests(atOnce, ...dirs) {
  const inDir = (dir) => (existsSync(inRoot(dir)) ? readdirSync(inRoot(dir)).sort().map((file) => join(dir, file)) : []);
  const files = dirs.flatMap(inDir).filter((file) => file.endsWith('.test.mjs'));
  // Without a file, Node would look for some everywhere.
  return files.length ? [['node', ['--test', `--test-concurrency=${atOnce}`, '--test-timeout=300000', '--test-reporter=spec', ...files], { env: testEnv() }]] : [];
}

/** What tests find in their environment. */
function testEnv() {
  return {
    ...cargoEnv(),
    // What is in build/ was built a stage ago; a test is no time to build again.
    WALFERRY_NO_BUILD: '1',
    CHROMIUM: findChromium(),
    FIREFOX: findFirefox(),
    // What the native stage has compiled: the optimized one takes minutes, and does the same.
    WALFERRY: inRoot('target', 'debug', 'walferry'),
    S3S_FS: s3ServerProgram(),
    AZURITE: azuriteFolder(),
    ...Object.fromEntries(litestreamVersions.map((version) => [`LITESTREAM_${version.replaceAll('.', '_')}`, litestreamProgram(version)])),
  };
}
