// The browser module beside plain fetch and the official sqlite-wasm, in one Chromium, in turn:
//
//   npm run build && npm run bench:browser
import assert from 'node:assert/strict';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { inRoot } from '../../scripts/lib/root.mjs';
import { files } from '../../tests/browser/support/origin.mjs';
import { folder } from '../../tests/browser/support/packed.mjs';
import { shop } from '../../tests/browser/support/shop.mjs';
import { READ, replicate, source, worker } from '../../tests/browser/support/source.mjs';
import { unwatched } from './unwatched.mjs';

const ROWS = Number(process.env.ROWS ?? 490_000); // 100 MiB
const ROUNDS = Number(process.env.ROUNDS ?? 5);

const to = await worker();
const server = await source(to, 'lz4', { shipper: ['--codec', 'lz4'] });
after(() => server.stop());
await server.run(...shop(ROWS));
await server.ship();
const MiB = (await server.content()).size / 2 ** 20;
const deflated = replicate(server.path, `${to.url}/v1/deflate`);
await deflated.started;
await deflated.stop();

const dir = folder('bench');
cpSync(inRoot('pkg'), join(dir, 'walferry'), { recursive: true });
cpSync(inRoot('node_modules', '@sqlite.org', 'sqlite-wasm', 'dist'), join(dir, 'sqlite'), { recursive: true });
cpSync(inRoot('bench', 'browser', 'rival.js'), join(dir, 'rival.js'));
cpSync(server.path, join(dir, 'app.db'));
writeFileSync(join(dir, 'index.html'), '<!doctype html><link rel="icon" href="data:,">');
const page = await unwatched(await files(dir));
after(() => page.close());
await page.evaluate(async () => {
  const worker = new Worker('/rival.js', { type: 'module' });
  const calls = new Map();
  worker.onmessage = ({ data: { id, result, error } }) => (error ? calls.get(id).reject(new Error(error)) : calls.get(id).resolve(result));
  window.rival = (method, argument) => new Promise((resolve, reject) => {
    const id = crypto.randomUUID();
    calls.set(id, { resolve, reject });
    worker.postMessage([id, method, argument]);
  });
  const walferry = await import('/walferry/walferry.js');
  window.open = walferry.open;
  window.timed = async (what) => {
    const begun = performance.now();
    await what();
    return performance.now() - begun;
  };
});

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const line = (name, ours, theirs) => console.log(`${name.padEnd(44)} walferry ${ours.toFixed(1).padStart(8)} ms   other ${theirs.toFixed(1).padStart(8)} ms   ratio ${(ours / theirs).toFixed(2)}`);

test(`${MiB.toFixed(0)} MiB restored and verified, beside plain fetch into OPFS`, async () => {
  const took = Object.fromEntries(['raw', ...['lz4', 'deflate'].flatMap((codec) => [codec, `${codec} behind`, `${codec} alone`])].map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    took.raw.push(await page.evaluate(() => timed(() => rival('fetch', '/app.db'))));
    for (const database of ['lz4', 'deflate']) {
      for (const atOnce of [false, true]) {
        took[atOnce ? `${database} behind` : database].push(
          await page.evaluate(async (options) => {
            const took = await timed(async () => {
              window.db = await open(options);
              await db.whenWhole();
            });
            await db.delete();
            return took;
          }, { url: to.url, database, token: READ, atOnce }),
        );
      }
      took[`${database} alone`].push(await page.evaluate(brought, { url: to.url, database, token: READ }));
    }
  }
  for (const database of ['lz4', 'deflate']) {
    line(`restore, ${database}`, median(took[database]), median(took.raw));
    line(`the same behind queries, ${database}`, median(took[`${database} behind`]), median(took.raw));
    console.log(`  of it the segments alone, from the Worker ${median(took[`${database} alone`]).toFixed(1).padStart(28)} ms`);
  }
});

/** In the page: how long all segments take, by reads as the module makes them, if nothing is done with them. */
function brought({ url, database, token }) {
  const READ = 4 * 2 ** 20;
  return timed(async () => {
    const get = (path, range) => fetch(`${url}/v1/${database}${path}`, { cache: 'no-store', headers: { Authorization: `Bearer ${token}`, ...range } });
    const { segments } = await (await get('/ltx')).json();
    const parts = segments.flatMap(({ level, min_txid: min, max_txid: max, size }) => Array.from({ length: Math.ceil(size / READ) }, (_, n) => [`/ltx/${level}/${min}-${max}.ltx`, { Range: `bytes=${n * READ}-${Math.min(size, (n + 1) * READ) - 1}` }]));
    const some = async () => {
      for (let part; (part = parts.pop()); ) await (await get(...part)).arrayBuffer();
    };
    await Promise.all(Array.from({ length: 4 }, some));
  });
}

test('queries, beside the official sqlite-wasm with opfs-sahpool', async () => {
  const version = await page.evaluate(async (options) => {
    window.db = await open(options);
    await db.whenWhole();
    return rival('open', '/app.db');
  }, { url: to.url, database: 'lz4', token: READ });
  console.log(`official: ${version}`);
  const some = (count, sql, parameters) => ({ sql, all: Array.from({ length: count }, (_, n) => parameters(n)) });
  const id = (n) => (n * 7919) % ROWS + 1;
  const queries = {
    '500 rows by primary key': some(500, 'select * from item where id = ?', (n) => [id(n)]),
    '500 rows by index': some(500, 'select * from item where code = ?', (n) => [((id(n) * 2654435761) % 4294967296).toString(16).padStart(8, '0')]),
    '50 pages of 100 rows': some(50, 'select * from item where id > ? order by id limit 100', (n) => [id(n)]),
    'a scan': some(1, "select count(*), sum(length(note)) from item", () => []),
    'a scan with like': some(1, "select count(*) from item where note like '%FFFF%'", () => []),
    'groups': some(1, 'select sold, count(*), avg(price) from item group by sold order by sold', () => []),
    '20,000 rows': some(1, 'select * from item limit 20000', () => []),
  };
  for (const [name, { sql, all }] of Object.entries(queries)) {
    const { ours, theirs, same } = await page.evaluate(async ({ sql, all, rounds }) => {
      const one = async (parameters) => (await db.query(sql, parameters)).rows;
      const other = (parameters) => rival('query', [sql, parameters]);
      const every = (ask) => timed(async () => {
        for (const parameters of all) await ask(parameters);
      });
      const times = { ours: [], theirs: [] };
      const same = JSON.stringify(await one(all[0])) === JSON.stringify(await other(all[0]));
      for (let round = 0; round < rounds; round++) {
        times.ours.push(await every(one));
        times.theirs.push(await every(other));
      }
      return { ...times, same };
    }, { sql, all, rounds: ROUNDS });
    assert.ok(same, `${name}: the answers are the same`);
    line(name, median(ours), median(theirs));
  }
});
