// Open at once: queries are answered while the database comes, and what has come stays.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { browser, tab } from './support/chromium.mjs';
import { line, ranges } from './support/origin.mjs';
import { READ, source, worker } from './support/source.mjs';
import { eventually, prepare } from './support/tabs.mjs';

const to = await worker();
const servers = [];
after(() => Promise.all(servers.map((server) => server.stop())));
const chromium = await browser();

const ROWS = 200_000;

/** Some rows of about 100 bytes each, which pack badly. */
async function serve(name, rows = ROWS) {
  const server = await source(to, name, { shipper: ['--sync-interval', '20ms'] });
  servers.push(server);
  await server.run(
    'create table t (id integer primary key, a text)',
    `with recursive n (i) as (select 1 union all select i + 1 from n where i < ${rows}) insert into t select i, hex(randomblob(45)) from n`,
  );
  await server.ship();
  return server;
}

/** A tab of its own storage, and what goes between it and the Worker. */
async function visitor(server, others = {}) {
  const line = await ranges(to.url);
  const page = await prepare(await tab(chromium, to.url));
  await page.evaluate((options) => {
    window.progress = [];
    window.start = () => walferry.open({ ...options, onProgress: (made) => progress.push(made) }).then((db) => (window.db = db));
  }, { url: line.url, database: server.name, token: READ, ...others });
  return { page, line };
}

const sha = (page) => page.evaluate(async () => {
  const bytes = await (await db.export()).arrayBuffer();
  const digest = await crypto.subtle.digest('SHA-256', bytes);
  return { sha256: [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join(''), size: bytes.byteLength };
});
/** How many bytes of objects came twice, but for short stretches that came along between two others. */
function twice(all) {
  const fetched = all.filter(({ first, last }) => last - first > 2 ** 17);
  const ends = new Map();
  let again = 0;
  for (const { path, first, last } of [...fetched].sort((a, b) => a.first - b.first)) {
    const end = ends.get(path) ?? -1;
    again += Math.max(0, Math.min(last, end) - first + 1);
    ends.set(path, Math.max(end, last));
  }
  return again;
}

test('the first query is answered before the database is here, which then comes whole', async () => {
  const server = await serve('first');
  const { page, line } = await visitor(server);
  line.hold();
  const told = await page.evaluate(async () => {
    const before = performance.now();
    await start();
    const opened = performance.now();
    const { rows } = await db.query('select id, length(a) from t where id = 123456');
    return { rows, opened: opened - before, answered: performance.now() - before, position: db.position };
  });
  assert.deepEqual(told.rows, [[123456, 90]]);
  assert.equal(told.position.whole, false);
  assert.equal(told.position.verified, true);
  const bytes = line.fetched.reduce((sum, { first, last }) => sum + last - first + 1, 0);
  console.log(`# opened in ${told.opened.toFixed(0)} ms, answered after ${told.answered.toFixed(0)} ms, by ${bytes} bytes of ${told.position.size}`);
  // Each read is a way there and back.
  assert.ok(line.fetched.length <= 4, `${line.fetched.length} reads`);
  assert.ok(bytes < told.position.size / 100, `${bytes} bytes`);
  await line.stands();
  line.release();
  // Whoever reads all of it meanwhile, in whichever way, meets what is on its way.
  const [whole, sums, iterated, watched] = await page.evaluate(() => Promise.all([
    db.whenWhole(),
    Promise.all([1, 2, 3].map(() => walferry.one('select sum(length(a)) from t'))),
    (async () => {
      let count = 0;
      for await (const _ of db.iterate('select a from t order by id desc', [], { batch: 20_000 })) count += 1;
      return count;
    })(),
    new Promise((resolve) => db.subscribe('select count(a) from t', [], ({ rows }) => resolve(rows[0][0]))),
  ]));
  assert.deepEqual([whole.whole, whole.verified, iterated, watched], [true, true, ROWS, ROWS]);
  assert.deepEqual(sums, [90 * ROWS, 90 * ROWS, 90 * ROWS]);
  assert.equal(await page.evaluate(() => walferry.one('pragma integrity_check')), 'ok');
  assert.deepEqual(await sha(page), await server.content());
  const made = await page.evaluate(() => progress);
  assert.ok(made.length > 0 && made.every(({ phase }) => phase === 'hydrate'), JSON.stringify(made.slice(0, 3)));
  assert.equal(made.at(-1).pages, made.at(-1).totalPages);
  assert.equal(twice(line.fetched), 0, 'what was fetched is not fetched again');
  await page.close();
});

test('it is live while it comes: what is written meanwhile is seen, and is in the whole', async () => {
  const server = await serve('live');
  const { page, line } = await visitor(server, { follow: true });
  line.hold();
  await page.evaluate(() => start());
  await server.run('insert into t (a) values (1)', 'update t set a = 2 where id % 10000 = 7000');
  await eventually(page, async (rows) => (await walferry.one('select max(id) from t')) === rows + 1, ROWS);
  assert.equal(await page.evaluate(() => walferry.one('select a from t where id = 197000')), '2');
  assert.equal(await page.evaluate(() => db.position.whole), false);
  line.release();
  await page.evaluate(() => db.whenWhole());
  assert.equal(await page.evaluate(() => walferry.one('pragma integrity_check')), 'ok');
  assert.equal(await page.evaluate(() => walferry.one('select count(*) from t where a = 2')), ROWS / 10_000);
  assert.deepEqual(await sha(page), await server.content());
  await page.close();
});

test('a transaction holds its state while the rest comes, and ends when its tab says so', async () => {
  const server = await serve('held', 50_000);
  const { page, line } = await visitor(server, { follow: true });
  line.hold(2);
  await page.evaluate(() => start());
  await page.evaluate(() => db.query('begin'));
  assert.equal(await page.evaluate(() => walferry.one('select length(a) from t where id = 49000')), 90);
  line.release();
  const counts = await page.evaluate(async () => {
    const counts = [await walferry.one('select count(a) from t'), await walferry.one('select count(a) from t')];
    await db.query('commit');
    return counts;
  });
  assert.deepEqual(counts, [50_000, 50_000]);
  await page.evaluate(() => db.whenWhole());
  assert.deepEqual(await sha(page), await server.content());
  await page.close();
});

test('closed in the middle, it goes on where it was; offline, what is here is answered and the rest is said to be missing', async () => {
  const server = await serve('middle');
  const { page, line } = await visitor(server);
  line.hold(3);
  await page.evaluate(() => start());
  await eventually(page, () => progress.length > 0);
  await page.evaluate(() => walferry.one('select a from t where id = 199999'));
  await page.evaluate(() => db.close());
  const before = line.fetched.length;

  await page.evaluate(async (options) => (window.db = await walferry.open({ ...options, offline: true })), { url: line.url, database: 'middle', token: READ });
  assert.equal(await page.evaluate(() => db.position.whole), false);
  assert.equal(await page.evaluate(() => db.position.verified), false, 'what an earlier life has left is not known to be right');
  const missing = await page.evaluate(() => walferry.refusal(db.query('select count(a) from t')));
  assert.equal(missing.code, 'UNREACHABLE', missing.message);
  assert.equal(line.fetched.length, before);
  await page.evaluate(() => db.close());

  line.release();
  await page.evaluate(() => start());
  await page.evaluate(() => db.whenWhole());
  assert.equal(await page.evaluate(() => walferry.one('pragma integrity_check')), 'ok');
  assert.deepEqual(await sha(page), await server.content());
  await page.close();
});

test('who follows a part that was opened without the network gets the rest of it', async () => {
  const server = await serve('followed', 50_000);
  const held = await ranges(to.url);
  held.hold();
  let target = held.url;
  const way = await line(() => target);
  const { page } = await visitor(server, { url: way.url });
  await page.evaluate(() => start());
  await held.stands();
  await page.evaluate(() => db.close());
  target = to.url;
  held.release();
  await page.evaluate(async (options) => {
    window.db = await walferry.open({ ...options, offline: true });
    const whole = new Promise((resolve) => db.addEventListener('whole', resolve));
    window.states = [];
    db.follow(({ status }) => states.push(status));
    await whole;
  }, { url: way.url, database: 'followed', token: READ });
  assert.equal(await page.evaluate(() => states.at(-1)), 'live');
  assert.deepEqual(await sha(page), await server.content());
  await page.close();
});

test('while the network is away the rest says why it does not come; what a subscription needs of it is asked for again when it is back', async () => {
  const server = await serve('away');
  const held = await ranges(to.url);
  const way = await line(held.url);
  const { page } = await visitor(server, { url: way.url });
  held.hold(1);
  await page.evaluate(() => start());
  await held.stands();
  way.cut();
  held.release();
  await page.evaluate(() => {
    window.told = [];
    db.subscribe('select max(id) from t where length(a) > 10', [], ({ rows }) => told.push(rows[0][0]), { onError: ({ code }) => told.push(code) });
  });
  await eventually(page, () => told.length === 1);
  assert.deepEqual(await page.evaluate(() => told), ['UNREACHABLE']);
  await eventually(page, () => progress.at(-1)?.error?.code === 'UNREACHABLE');
  way.mend();
  await eventually(page, () => told.length === 2);
  assert.deepEqual(await page.evaluate(() => told), ['UNREACHABLE', ROWS]);
  await page.evaluate(() => db.whenWhole());
  assert.equal(await page.evaluate(() => progress.at(-1)?.error), undefined);
  await page.close();
});

test('a tab that is killed while the database comes leaves what the next goes on with', async () => {
  const server = await serve('killed', 100_000);
  const { page, line } = await visitor(server);
  for (let round = 0; round < 4; round++) {
    await page.evaluate(() => start());
    await server.run(`insert into t (a) values (${round})`);
    await new Promise((later) => setTimeout(later, 40 * round));
    await page.goto('about:blank');
    await page.goto(to.url);
    await prepare(page);
    await page.evaluate((options) => {
      window.progress = [];
      window.start = () => walferry.open({ ...options, follow: true }).then((db) => (window.db = db));
    }, { url: line.url, database: 'killed', token: READ });
  }
  await page.evaluate(() => start());
  await page.evaluate(() => db.whenWhole());
  await eventually(page, async () => (await walferry.one('select count(*) from t')) === 100_004);
  assert.equal(await page.evaluate(() => walferry.one('pragma integrity_check')), 'ok');
  assert.deepEqual(await sha(page), await server.content());
  await page.close();
});

test('no room is said at once', async () => {
  const server = await serve('room');
  const { page } = await visitor(server);
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Storage.overrideQuotaForOrigin', { origin: to.url, quotaSize: 3_000_000 });
  const refused = await page.evaluate(() => walferry.refusal(start()));
  await devtools.send('Storage.overrideQuotaForOrigin', { origin: to.url });
  assert.equal(refused.code, 'STORAGE_FULL', refused.message);
  await page.close();
});
