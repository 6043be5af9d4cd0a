// What is another thing in Firefox: its OPFS, its locks, its workers and how it ends. The code is the same that Chromium has run.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, test } from 'node:test';
import { firefox } from './support/firefox.mjs';
import { ranges } from './support/origin.mjs';
import { READ, source, worker } from './support/source.mjs';
import { eventually, prepare } from './support/tabs.mjs';

const to = await worker();
const server = await source(to, 'foxes');
after(() => server.stop());
await server.run('create table t (id integer primary key, a blob)', `insert into t (a) select randomblob(4000) from json_each('[${Array(6000).fill(1)}]')`);
await server.ship();
await server.settle();
const options = { url: to.url, database: 'foxes', token: READ };
const profile = firefox();
let running = await profile.start();

/** A tab that has opened the database as `db`. */
async function opened(more = {}) {
  const page = await prepare(await running.tab(to.url));
  await page.evaluate(async (options) => {
    window.db = await walferry.open(options);
  }, { ...options, ...more });
  return page;
}

const count = () => walferry.one('select count(*) from t');

test('the first query is answered before the database is here; killed meanwhile, it goes on with what it had', async () => {
  const line = await ranges(to.url);
  line.hold(4);
  const first = await opened({ url: line.url });
  assert.equal(await first.evaluate(() => walferry.one('select id from t where id = 3000')), 3000);
  await line.stands();
  assert.equal(await first.evaluate(() => db.position.whole), false);
  assert.deepEqual(first.complaints, []);
  await running.kill();
  line.release();
  const before = line.fetched.length;
  running = await profile.start();
  const page = await opened({ url: line.url });
  await page.evaluate(() => db.whenWhole().then(() => {}));
  assert.equal(await page.evaluate(count), 6000);
  assert.deepEqual((await page.evaluate(() => db.query('pragma integrity_check'))).rows, [['ok']]);
  const [had, comes] = [line.fetched.slice(0, before), line.fetched.slice(before)].map((ranges) => ranges.filter(({ first, last }) => last - first > 2 ** 18));
  const again = comes.filter(({ path, first, last }) => had.some((one) => one.path === path && first >= one.first && last <= one.last));
  assert.ok(again.length < had.length, 'what was written when it was killed is not fetched again');
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('two tabs follow one copy; when the one that leads is closed, the other does', async () => {
  const [one, other] = [await opened(), await opened()];
  for (const page of [one, other]) {
    await page.evaluate(async () => {
      window.seen = [];
      db.subscribe('select count(*) from t', [], ({ rows }) => seen.push(rows[0][0]));
      db.follow();
    });
  }
  await server.run('insert into t (a) values (1)');
  for (const page of [one, other]) await eventually(page, () => seen.at(-1) === 6001);
  await one.close();
  await server.run('insert into t (a) values (2)');
  await eventually(other, () => seen.at(-1) === 6002);
  await eventually(other, () => db.following?.status === 'live');
  assert.deepEqual(other.complaints, []);
  await other.close();
});

test('it is here without network, and is what the server has, byte for byte', async () => {
  const { sha256, size } = await server.content();
  const online = await opened();
  await online.evaluate(async () => {
    await db.refresh();
    await db.close();
  });
  await online.reload();
  await prepare(online);
  const copy = await online.evaluate(async (options) => {
    window.db = await walferry.open({ ...options, url: options.url, offline: true });
    const bytes = await (await db.export()).arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    return { size: bytes.byteLength, sha256: Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('') };
  }, options);
  assert.deepEqual(copy, { size, sha256 });
  assert.deepEqual(online.complaints, []);
  await online.close();
});

test('a statement without an end is stopped, and the next is answered; deleted, nothing is left', async () => {
  const page = await opened();
  const stopped = await page.evaluate(() => walferry.refusal(db.query('with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n', [], { signal: AbortSignal.timeout(300) })));
  assert.equal(stopped.code, 'ABORTED');
  assert.equal(await page.evaluate(count), 6002);
  await page.evaluate(() => db.delete());
  const gone = await page.evaluate((options) => walferry.refusal(walferry.open({ ...options, offline: true })), options);
  assert.equal(gone.code, 'NO_COPY');
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('the page shows a database, and answers', async () => {
  const page = await running.tab(`${to.url}/#db=foxes&token=${READ}`);
  await eventually(page, () => document.querySelector('#result [role=gridcell]') !== null);
  assert.deepEqual(page.complaints, []);
  await page.close();
});
