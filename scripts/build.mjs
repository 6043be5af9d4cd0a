// Builds what has changed.
//
//   npm run build [-- native] [worker] [browser]      all three, or those named
//
// native → target/release/walferry; worker → build/worker/; browser → pkg/ (the module) and build/site/ (the page);
// worker-faults and browser-faults, for tests → build/worker-faults/, build/browser-faults/
import { pathToFileURL } from 'node:url';
import { browser, faultyBrowser } from './build/browser.mjs';
import { native } from './build/native.mjs';
import { faultyWorker, worker } from './build/worker.mjs';
import { withLock } from './lib/lock.mjs';
import { inRoot } from './lib/root.mjs';
import { Failure, main } from './lib/run.mjs';
import { setup } from './setup.mjs';

const parts = { native, worker, browser };
const testParts = { 'worker-faults': faultyWorker, 'browser-faults': faultyBrowser };

/** Builds the parts named; returns, for each, its lines for the reader. */
export async function build(names = Object.keys(parts)) {
  const waiting = 'build: another build is running in this folder; waiting for it';
  return withLock(inRoot('build', 'lock'), waiting, async () => {
    const report = [];
    for (const name of names) report.push(...(await { ...parts, ...testParts }[name]()));
    return report;
  });
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(async () => {
    const names = process.argv.slice(2);
    const unknown = names.find((name) => !parts[name] && !testParts[name]);
    if (unknown) throw new Failure(`there is no part \`${unknown}\` to build; the parts are ${Object.keys(parts).join(', ')}.`);
    const started = performance.now();
    await setup();
    for (const line of await build(names.length ? names : undefined)) console.log(line);
    console.log(`built in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  });
}
