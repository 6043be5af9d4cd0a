// What a page can ask for, and how it is told of what goes wrong.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, test } from 'node:test';
import { TOKENS } from '../worker/support/worker.mjs';
import { browser, tab } from './support/chromium.mjs';
import { between, ranges } from './support/origin.mjs';
import { READ, program, source, worker } from './support/source.mjs';
import { eventually, leader, prepare } from './support/tabs.mjs';

const KEY = 'the key that signs tokens, of 32 characters or more';
const to = await worker({ variables: { ...TOKENS, WALFERRY_TOKEN_KEY: KEY, WALFERRY_PUBLIC_DATABASES: 'open' } });
const servers = [];
after(() => Promise.all(servers.map((server) => server.stop())));
const chromium = await browser();

const serve = async (name) => {
  const server = await source(to, name, { shipper: ['--sync-interval', '20ms'] });
  servers.push(server);
  await server.run('create table t (id integer primary key, name text)', "insert into t (name) values ('one'), ('two'), ('three')", 'create table other (a)');
  await server.ship();
  return server;
};
const fresh = async () => prepare(await tab(chromium, to.url));
const opened = async (name, others = {}) => {
  const page = await fresh();
  await page.evaluate(async (options) => (window.db = await walferry.open(options), null), { url: to.url, database: name, token: READ, ...others });
  return page;
};

function token(name, expires) {
  const { stdout, stderr, status } = spawnSync(program(), ['token', name, '--scope', 'read', '--expires', expires], { env: { ...process.env, WALFERRY_TOKEN_KEY: KEY }, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout.trim();
}

test('rows as arrays and as objects', async () => {
  await serve('shapes');
  const page = await opened('shapes');
  const told = await page.evaluate(async () => ({
    arrays: await db.query('select id, name from t where id < ?', [3]),
    objects: await db.objects('select id, name from t where name = $name', { name: 'two' }),
    same: walferry.objects(await db.query('select 1 as a, 2 as a')),
    limited: (await db.objects('select * from t', [], { limit: 1 })).length,
  }));
  assert.deepEqual(told.arrays, { columns: ['id', 'name'], rows: [[1, 'one'], [2, 'two']], truncated: false, txid: told.arrays.txid });
  assert.deepEqual([told.objects, told.same, told.limited], [[{ id: 2, name: 'two' }], [{ a: 2 }], 1]);
  await page.close();
});

test('knows the tables that SQLite makes by extensions, and mathematics', async () => {
  const server = await serve('extensions');
  await server.run('create virtual table f using fts5(name)', 'insert into f select name from t', 'create virtual table r using rtree(id, low, high)', 'insert into r values (1, 0, 10), (2, 20, 30)');
  await server.settle();
  const page = await opened('extensions');
  const one = (sql) => page.evaluate((sql) => walferry.one(sql), sql);
  assert.equal(await one("select name from f('tw*')"), 'two');
  assert.equal(await one('select id from r where low <= 25 and high >= 25'), 2);
  assert.equal(await one("select json_extract('[1, 2]', '$[1]') + sqrt(16)"), 6);
  assert.ok((await one("select sum(pgsize) from dbstat where name = 't'")) > 0);
  await page.close();
});

test('what is given up is told at once, and nothing else suffers', async () => {
  await serve('aborted');
  const page = await opened('aborted');
  const told = await page.evaluate(async () => {
    const long = 'with recursive n (i) as (select 1 union all select i + 1 from n where i < 3000000) select sum(i) from n';
    const stop = new AbortController();
    const codes = [];
    const first = walferry.refusal(db.query(long, [], { signal: stop.signal }));
    const second = walferry.one('select 2');
    const started = performance.now();
    stop.abort();
    codes.push((await first).code);
    const after = performance.now() - started;
    codes.push((await walferry.refusal(db.query('select 1', [], { signal: AbortSignal.abort() }))).code);
    return { codes, after, second: await second };
  });
  assert.deepEqual([told.codes, told.second], [['ABORTED', 'ABORTED'], 2]);
  assert.ok(told.after < 50, `${told.after} ms`);
  await page.close();
});

test('what is asked wrongly is said, and nothing else suffers', async () => {
  await serve('wrong');
  const page = await opened('wrong');
  const codes = await page.evaluate(async () => {
    const wrong = [
      db.query(undefined),
      db.query('select 1', [], { limit: -1 }),
      db.query('select 1', [], { limit: Number.NaN }),
      (async () => db.subscribe(7, [], () => {}))(),
      ...[0, null, Number.NaN].map((batch) => (async () => db.iterate('select 1', [], { batch }))()),
    ];
    const codes = [];
    for (const one of wrong) codes.push((await walferry.refusal(one)).code);
    return codes;
  });
  assert.deepEqual(codes, Array(7).fill('INVALID'));
  const told = await page.evaluate(async ({ url }) => {
    let calls = 0;
    db.subscribe('select 1', [], () => (calls += 1), { signal: AbortSignal.abort() });
    const patience = AbortSignal.timeout(100);
    // A token that never comes.
    const given = await walferry.refusal(walferry.open({ url, database: 'wrong', token: () => new Promise(() => {}), signal: patience }));
    return [calls, given.code, await walferry.one('select 2')];
  }, { url: to.url });
  assert.deepEqual(told, [0, 'ABORTED', 2]);
  await page.close();
});

test('an update that is given up while it waits is not made', async () => {
  await serve('waiting');
  const page = await opened('waiting');
  const codes = await page.evaluate(async () => {
    const stop = new AbortController();
    const first = db.refresh();
    const second = walferry.refusal(db.restore({ signal: stop.signal }));
    stop.abort();
    return [(await second).code, (await first).txid === db.position.txid, await walferry.one('select count(*) from t')];
  });
  assert.deepEqual(codes, ['ABORTED', true, 3]);
  await page.close();
});

test('a subscription calls back until it is ended; its errors are told', async () => {
  const server = await serve('subscribed');
  const page = await opened('subscribed', { follow: true });
  await page.evaluate(async () => {
    window.heard = { counts: [], errors: [], ended: [] };
    db.subscribe('select count(*) from t', undefined, ({ rows }) => heard.counts.push(rows[0][0]));
    db.subscribe('select * from missing', [], () => {}, { onError: ({ code }) => heard.errors.push(code) });
    const stop = new AbortController();
    window.end = [db.subscribe('select count(*) from t', [], ({ rows }) => heard.ended.push(rows[0][0])), () => stop.abort()];
    db.subscribe('select count(*) from t', [], ({ rows }) => heard.ended.push(rows[0][0]), { signal: stop.signal });
  });
  await page.waitForFunction(() => heard.counts.length === 1 && heard.ended.length === 2 && heard.errors.length === 1);
  await page.evaluate(() => end.forEach((end) => end()));
  await server.run("insert into t (name) values ('four')");
  await page.waitForFunction(() => heard.counts.join() === '3,4');
  // What another table holds does not concern it; what makes a query possible does.
  await page.evaluate(() => db.subscribe('select count(*) from missing', [], ({ rows }) => heard.ended.push(`missing ${rows[0][0]}`), { onError: () => {} }));
  await server.run('insert into other values (1)');
  await server.run('create table missing (a)');
  await page.waitForFunction(() => heard.ended.includes('missing 0'));
  await server.run('insert into other values (2)');
  await server.run("insert into t (name) values ('five')");
  await page.waitForFunction(() => heard.counts.at(-1) === 5);
  const heard = await page.evaluate(() => heard);
  assert.ok(heard.counts.filter((count) => count === 4).length <= 2, `asked again for a schema, not for another table: ${heard.counts}`);
  heard.ended.pop();
  assert.deepEqual(heard.ended, [3, 3]);
  assert.equal(heard.errors[0], 'SQLITE_ERROR');
  await page.close();
});

test('a token that is over is asked for anew, by refresh and by following', async () => {
  const server = await serve('brief');
  const page = await fresh();
  const given = [];
  await page.exposeFunction('giveToken', () => (given.push(token('brief', '2s')), given.at(-1)));
  await page.evaluate(async (url) => {
    window.states = new Set();
    window.db = await walferry.open({ url, database: 'brief', token: () => giveToken() });
    db.follow(({ status }) => states.add(status));
  }, to.url);
  await page.waitForFunction(() => db.following?.status === 'live');
  const before = given.length;
  await new Promise((later) => setTimeout(later, 4000));
  await server.run("insert into t (name) values ('later')");
  await eventually(page, async () => (await walferry.one('select count(*) from t')) === 4);
  assert.ok(given.length > before, 'asked again');
  assert.ok(!(await page.evaluate(() => states.has('offline'))), 'without a break');
  // One that is fixed, and over, is denied: said so, without giving up.
  const denied = await page.evaluate(async ([url, token]) => {
    const { code } = await walferry.refusal(db.refresh());
    const other = await walferry.refusal(walferry.open({ url, database: 'brief', token }));
    const bad = await walferry.refusal(walferry.open({ url, database: 'brief', token: () => 7 }));
    return [code, other.code, bad.code];
  }, [to.url, given[0]]);
  assert.deepEqual(denied, ['none', 'DENIED', 'INVALID']);
  await page.close();
});

test('what everybody may read needs no token', async () => {
  const server = await serve('open');
  const page = await opened('open', { token: undefined, follow: true });
  await page.waitForFunction(() => db.following?.connected);
  await server.run("insert into t (name) values ('four')");
  await eventually(page, async () => (await walferry.one('select count(*) from t')) === 4);
  await page.close();
});

test('a worker that meets a fault is replaced by another', async () => {
  await serve('fault');
  const page = await opened('fault');
  const worker = page.workers().at(-1);
  const gone = new Promise((resolve) => worker.once('close', resolve));
  await worker.evaluate(() => void setTimeout(() => { throw new Error('a fault'); }));
  await gone;
  assert.equal(await page.evaluate(() => walferry.one('select count(*) from t')), 3);
  assert.equal(await leader([page], 'fault'), page);
  await page.close();
});

test('hundreds of thousands of rows, a batch at a time, all of one state', async () => {
  const server = await serve('many');
  await server.run('create table n (i integer primary key)', 'with recursive n (i) as (select 1 union all select i + 1 from n where i < 300000) insert into n select i from n');
  const page = await opened('many', { follow: true });
  await eventually(page, async () => (await walferry.one("select count(*) from sqlite_schema where name = 'n'")) === 1);
  const told = await page.evaluate(async () => {
    let [count, sum, most] = [0, 0, 0];
    const query = db.iterate('select i from n', [], { batch: 10_000 });
    for await (const [i] of query) [count, sum] = [count + 1, sum + i];
    const objects = [];
    for await (const row of db.iterate('select i from n where i <= $most', { most: 3 }, { batch: 2 }).objects()) objects.push(row);
    // One that is broken off lets go.
    for await (const _ of db.iterate('select i from n')) break;
    const failed = await walferry.refusal((async () => { for await (const _ of db.iterate('select * from missing')); })());
    const given = await walferry.refusal((async () => { for await (const _ of db.iterate('select i from n', [], { signal: AbortSignal.timeout(1) })) await new Promise((later) => setTimeout(later, 5)); })());
    return { count, sum, objects, codes: [failed.code, given.code] };
  });
  assert.deepEqual(told, { count: 300_000, sum: 45_000_150_000, objects: [{ i: 1 }, { i: 2 }, { i: 3 }], codes: ['SQLITE_ERROR', 'ABORTED'] });
  // Nothing waits for any of them.
  await server.run('delete from n where i > 10');
  await eventually(page, async () => (await walferry.one('select count(*) from n')) === 10);
  await page.close();
});

test('rows that are read slowly hold the state, for five seconds', async () => {
  const server = await serve('slow');
  const page = await opened('slow', { follow: true });
  await page.waitForFunction(() => db.following?.status === 'live');
  const reading = page.evaluate(async () => {
    const rows = db.iterate('select name from t order by id', [], { batch: 1 })[Symbol.asyncIterator]();
    window.seen = [(await rows.next()).value[0]];
    await new Promise((later) => (window.goOn = later));
    seen.push((await rows.next()).value[0]);
    return walferry.refusal((async () => { for (;;) { const { value, done } = await rows.next(); if (done) return; seen.push(value[0]); } })());
  });
  await page.waitForFunction(() => window.goOn);
  await server.run("update t set name = 'changed'");
  await new Promise((later) => setTimeout(later, 1000));
  assert.equal(await page.evaluate(() => walferry.one('select name from t')), 'one', 'the state waits');
  await eventually(page, async () => (await walferry.one('select name from t')) === 'changed');
  await page.evaluate(() => goOn());
  const { code } = await reading;
  assert.equal(code, 'POSITION_MOVED');
  assert.ok((await page.evaluate(() => seen)).every((name) => name !== 'changed'), 'never rows of two states');
  await page.close();
});

test('a transaction is left alone while a new state is on its way still', async () => {
  const server = await serve('coming');
  const way = await ranges(to.url);
  const page = await opened('coming', { url: way.url, atOnce: false });
  await server.run('create table large (body blob)', 'with recursive n (i) as (select 1 union all select i + 1 from n where i < 1000) insert into large select randomblob(1000) from n');
  await server.settle();
  way.hold();
  await page.evaluate(async () => {
    await db.query('begin');
    await db.query('select name from t');
    window.refreshed = db.refresh().then(() => 'refreshed');
  });
  await way.stands();
  await new Promise((later) => setTimeout(later, 6000));
  const { code } = await page.evaluate(() => walferry.refusal(db.query('select name from t')));
  assert.equal(code, 'none');
  way.release();
  await page.evaluate(() => db.query('commit'));
  assert.equal(await page.evaluate(() => refreshed), 'refreshed');
  await page.close();
});

test('rows that are being read go on when another tab leads, if it is at the same state', async () => {
  await serve('handed');
  const pages = [await opened('handed'), await opened('handed')];
  const first = await leader(pages, 'handed');
  const [other] = pages.filter((page) => page !== first);
  const reading = other.evaluate(async () => {
    const rows = db.iterate('with recursive n (i) as (select 1 union all select i + 1 from n where i < 100) select i from n', [], { batch: 10 });
    const seen = [];
    for await (const [i] of rows) {
      seen.push(i);
      if (i === 15) await new Promise((later) => (window.goOn = later));
    }
    return seen;
  });
  await other.waitForFunction(() => window.goOn);
  await first.close();
  await leader([other], 'handed');
  await other.evaluate(() => goOn());
  assert.deepEqual(await reading, Array.from({ length: 100 }, (_, index) => index + 1));
  await other.close();
});

test('a transaction is of one tab; it holds the state for five seconds, and ends with its tab', async () => {
  const server = await serve('begun');
  const pages = [await opened('begun', { follow: true }), await opened('begun', { follow: true })];
  const first = await leader(pages, 'begun');
  const [other] = pages.filter((page) => page !== first);
  const begin = (page) => page.evaluate(async () => {
    const { code } = await walferry.refusal(db.query('begin'));
    await db.query('select * from t');
    return code;
  });
  const name = (page) => page.evaluate(() => walferry.one('select name from t where id = 1'));
  const changed = (page, to) => eventually(page, async (to) => (await walferry.one('select name from t where id = 1')) === to, to);
  assert.equal(await begin(other), 'none');
  assert.deepEqual([await begin(first), (await first.evaluate(() => walferry.refusal(db.query('commit')))).code], ['SQLITE_BUSY', 'SQLITE_BUSY']);
  await server.run("update t set name = 'second' where id = 1");
  await new Promise((later) => setTimeout(later, 1000));
  assert.equal(await name(first), 'one', 'the state waits');
  await changed(first, 'second');
  const moved = await other.evaluate(async () => [(await walferry.refusal(db.query('select 1'))).code, (await walferry.refusal(db.query('select 1'))).code]);
  assert.deepEqual(moved, ['POSITION_MOVED', 'none']);

  assert.equal(await begin(other), 'none');
  await other.close();
  await server.run("update t set name = 'third' where id = 1");
  await changed(first, 'third');
  await first.close();
});

test('a transaction is what SQLite says, however it was begun and ended', async () => {
  const server = await serve('begun');
  const pages = [await opened('begun'), await opened('begun')];
  const [one, other] = pages;
  // Ended as it may be, it is nobody's any more.
  await one.evaluate(async () => {
    for (const sql of ['savepoint s', 'release s', '/* here */ begin', 'savepoint t', 'rollback to t', '-- done\ncommit']) await db.query(sql);
  });
  await other.evaluate(async () => {
    await db.query('begin');
    await db.query('commit');
    db.subscribe('begin', [], () => {});
    for await (const _ of db.iterate('/* rows */ begin'));
    await db.query('end');
  });
  // Begun as it may be, it ends with its tab.
  await one.evaluate(async () => {
    await db.query('-- there\nbegin');
    await db.query('select * from t');
  });
  await server.run("insert into t (name) values ('four')");
  await server.settle();
  await one.close();
  assert.equal(await other.evaluate(async () => (await db.refresh(), walferry.one('select count(*) from t'))), 4);
  // What is no transaction keeps nothing for ever either.
  await other.evaluate(async () => {
    await db.query('pragma locking_mode=exclusive');
    await db.query('select * from t');
  });
  await server.run("insert into t (name) values ('five')");
  await server.settle();
  assert.equal(await other.evaluate(async () => (await db.refresh(), walferry.one('select count(*) from t'))), 5);
  await other.close();
});

test('the database as it was, beside what it is', async () => {
  const server = await serve('past');
  const page = await opened('past');
  const before = await page.evaluate(() => db.position.timestamp);
  await server.run('delete from t where id > 1', "update t set name = 'another'");
  await eventually(page, async () => (await db.refresh()) && (await walferry.one('select count(*) from t')) === 1);
  const told = await page.evaluate(async (before) => {
    const past = await db.openAt(before);
    const names = async (db) => (await db.query('select name from t order by id')).rows.flat();
    const found = { past: await names(past), now: await names(db), objects: await past.objects('select id from t where name = ?', ['two']) };
    const { txid, timestamp, pages, verified } = past.position;
    const written = await walferry.refusal(past.query("insert into t (name) values ('no')"));
    const early = await walferry.refusal(db.openAt('2001-01-01T00:00:00Z'));
    const never = await walferry.refusal(db.openAt('never'));
    past.close();
    const closed = await walferry.refusal(past.query('select 1'));
    return { ...found, isOlder: txid < db.position.txid, timestamp, pages, verified, codes: [written, early, never, closed].map(({ code }) => code) };
  }, before);
  assert.deepEqual(told, {
    past: ['one', 'two', 'three'],
    now: ['another'],
    objects: [{ id: 2 }],
    isOlder: true,
    timestamp: before,
    pages: told.pages,
    verified: true,
    codes: ['SQLITE_READONLY', 'NOT_FOUND', 'INVALID', 'CLOSED'],
  });
  await page.close();
});

test('the past is read on: with a new token when the first is over, and from where its pages are when they are not where they were', async () => {
  const server = await serve('history');
  await server.run('create table big (a)', `insert into big select randomblob(200000) from json_each('[${Array(20).fill(1)}]')`);
  await server.settle();
  let gone = 0;
  const url = await between(() => (gone-- > 0 ? `${to.url}/v1/history/nowhere` : to.url));
  const page = await fresh();
  await page.exposeFunction('giveToken', () => token('history', '2s'));
  await page.evaluate(async ([url, token]) => {
    window.token = token;
    window.db = await walferry.open({ url, database: 'history', token: () => window.token, atOnce: false });
    // On a slow machine one may be over before it is used.
    while (!window.past) {
      window.token = await giveToken();
      window.past = await db.openAt(Date.now()).catch(({ code }) => code !== 'DENIED' && Promise.reject(code));
    }
  }, [url, READ]);
  await eventually(page, async (url) => (await fetch(`${url}/v1/history`, { headers: { Authorization: `Bearer ${window.token}` } })).status === 401, url);
  const ask = (where) => page.evaluate((where) => walferry.refusal(past.query(`select sum(length(hex(a))) from big ${where}`).then(({ rows }) => rows)), where);
  assert.equal((await ask('where rowid = 1')).code, 'DENIED');
  await page.evaluate((token) => (window.token = token), READ);
  assert.deepEqual(await ask('where rowid = 1'), { code: 'none', value: '400000' });
  gone = 1;
  assert.deepEqual(await ask(''), { code: 'none', value: '8000000' });
  assert.ok(gone <= 0);
  await page.close();
});
