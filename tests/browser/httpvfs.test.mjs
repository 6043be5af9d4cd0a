// Beside sql.js-httpvfs, which reads the same database raw, where it lies: how often each asks, and for how many bytes. ROWS in
// the environment makes it larger: 540,000 are 100 MB.
import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { inRoot } from '../../scripts/lib/root.mjs';
import { browser, tab } from './support/chromium.mjs';
import { between, files } from './support/origin.mjs';
import { folder } from './support/packed.mjs';
import { shop } from './support/shop.mjs';
import { READ, source, worker } from './support/source.mjs';
import { prepare } from './support/tabs.mjs';

const ROWS = Number(process.env.ROWS ?? 60_000);

const to = await worker();
const server = await source(to, 'shop');
after(() => server.stop());
await server.run(...shop(ROWS));
await server.ship();
const { size } = await server.content();
const chromium = await browser();

// All over the table, and the same for everybody.
const ids = Array.from({ length: 50 }, (_, n) => ((n * 2_654_435_761) % 4_294_967_296) % ROWS + 1);
const LOOKUP = 'select note from item where id = ?';
const SCAN = 'select count(*), sum(length(note)), sum(price) from item';

/** In the page: fifty lookups, one after the other, then a scan. */
async function answers([ids, lookup, scan]) {
  const rows = [];
  for (const id of ids) rows.push(...(await ask(lookup, [id])));
  return [...rows, ...(await ask(scan, []))];
}

/** sql.js-httpvfs, as its documentation has it. */
async function theirs() {
  const made = { requests: 0, bytes: 0 };
  const dir = folder('httpvfs');
  for (const name of ['index.js', 'sqlite.worker.js', 'sql-wasm.wasm']) copyFileSync(inRoot('node_modules', 'sql.js-httpvfs', 'dist', name), join(dir, name));
  copyFileSync(server.path, join(dir, 'app.db'));
  writeFileSync(join(dir, 'index.html'), '<!doctype html><link rel="icon" href="data:,"><script src="index.js"></script>');
  const told = (path, bytes) => {
    if (path !== '/app.db') return;
    made.requests += 1;
    made.bytes += bytes;
  };
  const page = await tab(chromium, await files(dir, { told }));
  await page.evaluate(async () => {
    const config = { serverMode: 'full', requestChunkSize: 4096, url: '/app.db' };
    const worker = await createDbWorker([{ from: 'inline', config }], '/sqlite.worker.js', '/sql-wasm.wasm');
    window.ask = async (sql, parameters) => (await worker.db.exec(sql, parameters))[0].values;
  });
  const rows = await page.evaluate(answers, [ids, LOOKUP, SCAN]);
  await page.close();
  return { rows, ...made };
}

/** A tab of its own storage, and what it asks of the Worker. */
async function ours() {
  const made = { requests: 0, bytes: 0 };
  const url = await between(to.url, (path, body) => {
    if (path.startsWith('/v1/')) {
      made.requests += 1;
      made.bytes += body.length;
    }
    return body;
  });
  const page = await prepare(await tab(chromium, url));
  await page.evaluate(async (options) => {
    window.db = await walferry.open(options);
    window.ask = async (sql, parameters) => (await db.query(sql, parameters)).rows;
  }, { url, database: 'shop', token: READ, atOnce: true });
  return { page, made };
}

const other = await theirs();
const kB = ({ requests, bytes }) => `${requests} requests, ${(bytes / 1000).toFixed(0)} kB`;
console.log(`# ${(size / 1e6).toFixed(1)} MB; sql.js-httpvfs: ${kB(other)}`);

test('fifty lookups and a scan take no more requests and fewer bytes, until all of it is here', async () => {
  const { page, made } = await ours();
  assert.deepEqual(await page.evaluate(answers, [ids, LOOKUP, SCAN]), other.rows);
  assert.equal((await page.evaluate(() => db.whenWhole())).whole, true);
  console.log(`# walferry, all of the database: ${kB(made)}`);
  assert.ok(made.requests <= other.requests && made.bytes < other.bytes, kB(made));
});

test('so do they in the past, of which nothing is kept', async () => {
  const { page, made } = await ours();
  await page.evaluate(() => db.whenWhole());
  Object.assign(made, { requests: 0, bytes: 0 });
  await page.evaluate(async () => {
    const past = await db.openAt(Date.now());
    window.ask = async (sql, parameters) => (await past.query(sql, parameters)).rows;
  });
  assert.deepEqual(await page.evaluate(answers, [ids, LOOKUP, SCAN]), other.rows);
  console.log(`# walferry, the past: ${kB(made)}`);
  assert.ok(made.requests <= other.requests && made.bytes < other.bytes, kB(made));
});
