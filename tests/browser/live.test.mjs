// Following live: what is written on the server is in the page within a blink, through whatever happens on the way.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { browser, tab } from './support/chromium.mjs';
import { between, line } from './support/origin.mjs';
import { READ, source, worker } from './support/source.mjs';
import { eventually, prepare } from './support/tabs.mjs';

const to = await worker();
const servers = [];
after(() => Promise.all(servers.map((server) => server.stop())));
const chromium = await browser();

const serve = async (name) => {
  const server = await source(to, name, { shipper: ['--sync-interval', '20ms'] });
  servers.push(server);
  await server.run('create table t (id integer primary key, at real)', 'insert into t (at) values (0)');
  await server.ship();
  return server;
};

/** A tab that follows it, as `db`; `states` is how it went. */
async function following(server, others = {}) {
  const page = await prepare(await tab(chromium, to.url));
  await page.evaluate(async (options) => {
    window.states = [];
    window.db = await walferry.open({ ...options, follow: ({ status, connected, behind, lag }) => states.push({ status, connected, behind, lag }) });
  }, { url: to.url, database: server.name, token: READ, ...others });
  return page;
}

const insert = (server, value = 0) => server.run(`insert into t (at) values (${value})`);
const rows = (page, count) => eventually(page, async (count) => (await walferry.one('select count(*) from t')) === count, count);
const live = (page) => page.waitForFunction(() => db.following?.status === 'live' && db.following.lag === 0, undefined, { polling: 20 });

/** One part of the milliseconds that a small request takes on a machine that is not busy. */
const QUIET = 1 / 5;

test('a row written on the server is called back in the page at once', async () => {
  const server = await serve('lag');
  const page = await following(server);
  await live(page);
  await page.evaluate(() => {
    window.lags = [];
    db.subscribe('select at from t order by id desc limit 1', [], ({ rows: [[at]] }) => at && lags.push(Date.now() - at));
  });
  // The machine may be busy with something else: one small request to the Worker, in between, tells how busy.
  const requests = [];
  for (let count = 1; count <= 100; count++) {
    await insert(server, Date.now());
    await page.waitForFunction((count) => lags.length >= count, count, { polling: 5 });
    // As an application writes: now and then, not in step with the shipper.
    await new Promise((later) => setTimeout(later, 20 + ((count * 37) % 90)));
    const asked = performance.now();
    await to.get('/v1/lag', { token: READ });
    requests.push(performance.now() - asked);
  }
  const quantile = (values, part) => values.sort((a, b) => a - b)[Math.ceil(part * values.length) - 1];
  const lags = await page.evaluate(() => lags);
  const [median, p99, request] = [quantile(lags, 0.5), quantile(lags, 0.99), quantile(requests, 0.5)];
  console.log(`from commit to callback: median ${median} ms, p99 ${p99} ms, of ${lags.length}; a small request: ${request.toFixed(1)} ms`);
  assert.ok(median <= Math.max(60, QUIET * request * 60) && p99 <= Math.max(250, QUIET * request * 250), 'median 60 ms, p99 250 ms, where a small request takes 5 ms');
  await page.close();
});

test('all tabs hear of it by one connection', async () => {
  const server = await serve('all');
  const pages = await Promise.all([1, 2, 3].map(() => following(server)));
  for (const page of pages) await live(page);
  const metrics = await to.get('/v1/all', { token: READ });
  assert.equal(metrics.status, 200);
  for (const page of pages) {
    await page.evaluate(() => {
      window.answers = [];
      db.subscribe('select count(*) from t', [], ({ rows }) => answers.push(rows[0][0]));
    });
  }
  for (const page of pages) await page.waitForFunction(() => answers.length, undefined, { polling: 20 });
  await insert(server);
  for (const page of pages) await page.waitForFunction(() => answers.length > 1, undefined, { polling: 20 });
  for (const page of pages) assert.deepEqual(await page.evaluate(() => answers), [1, 2]);
  // The leader's tab goes; the others hear on, and nothing twice.
  await pages[0].close();
  await insert(server);
  for (const page of pages.slice(1)) {
    await page.waitForFunction(() => answers.includes(3), undefined, { polling: 20 });
    assert.deepEqual(await page.evaluate(() => answers), [1, 2, 3]);
    await page.close();
  }
});

test('offline and back: it says so, and catches up by itself', async () => {
  const server = await serve('offline');
  const { url, cut, mend } = await line(to.url);
  const page = await following(server, { url });
  await live(page);
  cut();
  await page.waitForFunction(() => db.following.status === 'offline', undefined, { polling: 20 });
  await insert(server);
  assert.equal(await page.evaluate(() => walferry.one('select count(*) from t')), 1, 'it answers as it is');
  assert.ok((await page.evaluate(() => db.following.lag)) > 0);
  mend();
  await rows(page, 2);
  await live(page);
  await page.close();
});

test('where there is no WebSocket it looks for changes', async () => {
  const server = await serve('poll');
  // What stands in between does not know of WebSockets.
  const url = await between(to.url);
  const page = await following(server, { url });
  await page.waitForFunction(() => db.following?.status === 'polling', undefined, { polling: 20 });
  await insert(server);
  await rows(page, 2);
  assert.ok(await page.evaluate(() => states.every(({ status }) => status !== 'offline')));
  await page.close();
});

test('waits for a transaction: with and without following', async () => {
  const server = await serve('own');
  const page = await prepare(await tab(chromium, to.url));
  await page.evaluate(async (options) => (window.db = await walferry.open(options), null), { url: to.url, database: server.name, token: READ });
  for (const follow of [false, true]) {
    const next = (BigInt(`0x${await server.txid()}`) + 1n).toString(16).padStart(16, '0');
    if (follow) await page.evaluate(() => (db.follow(), null));
    const waiting = page.evaluate((txid) => db.waitFor(txid).then(({ txid }) => txid), next);
    await insert(server);
    assert.ok((await waiting) >= next);
  }
  const aborted = await page.evaluate(() => walferry.refusal(db.waitFor('ffffffffffffffff', { signal: AbortSignal.timeout(100) })));
  assert.equal(aborted.code, 'ABORTED');
  assert.equal((await page.evaluate(() => walferry.refusal(db.waitFor('12')))).code, 'INVALID');
  const closed = page.evaluate(() => walferry.refusal(db.waitFor('ffffffffffffffff')));
  await page.evaluate(() => db.close());
  assert.equal((await closed).code, 'CLOSED');
  assert.equal(await page.evaluate(() => db.following), undefined);
  await page.close();
});
