// The package as a page imports it: byte for byte what the source has, and its errors.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { browser, tab } from './support/chromium.mjs';
import { between, stuck } from './support/origin.mjs';
import { READ, source, worker } from './support/source.mjs';

const to = await worker();
const servers = [];
after(() => Promise.all(servers.map((server) => server.stop())));
const page = await tab(await browser(), to.url);
// What the tests use of it, in the page.
await page.evaluate(async () => {
  const { open } = await import('/walferry/walferry.js');
  const hex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
  const refusal = (promise) => promise.then((value) => ({ code: 'none', value: String(value) }), ({ name, code, message }) => ({ name, code, message }));
  const digest = async (db) => {
    const file = await db.export();
    return { sha256: hex(await crypto.subtle.digest('SHA-256', await file.arrayBuffer())), size: file.size };
  };
  window.walferry = { open, refusal, digest };
});

const serve = async (name, options) => {
  const server = await source(to, name, options);
  servers.push(server);
  return server;
};
const options = (server, others = {}) => ({ url: server.url, database: server.name, token: READ, ...others });

for (const pageSize of [512, 4096, 65_536]) {
  for (const autoVacuum of [0, 1]) {
    test(`pages of ${pageSize} bytes, auto_vacuum ${autoVacuum}: the copy is the source, byte for byte`, async () => {
      const server = await serve(`bytes-${pageSize}-${autoVacuum}`, { pageSize, autoVacuum });
      await server.run('create table t (id integer primary key, a, b)', "insert into t (a, b) values (zeroblob(300000), 'big')");
      await server.ship();
      const restored = await page.evaluate(async (options) => {
        const progress = [];
        window.db = await walferry.open({ ...options, atOnce: false, onProgress: (step) => progress.push(step) });
        return { progress, rows: (await db.query('select b, length(a) from t')).rows };
      }, options(server));
      assert.deepEqual(restored.rows, [['big', 300_000]]);
      const last = restored.progress.at(-1);
      assert.equal(last.phase, 'restore');
      assert.deepEqual([last.pages, last.bytes], [last.totalPages, last.totalBytes], 'progress ends at its end');

      const txids = [];
      for (const statements of [
        ["insert into t (a, b) values (randomblob(100000), 'more')", "update t set b = 'changed' where id = 1"],
        ['delete from t where id = 1'],
        ['create index i on t (b)', "insert into t (b) select value from json_each('[1,2,3,4,5,6,7,8,9]')"],
        ['vacuum'],
      ]) {
        await server.run(...statements);
        await server.settle();
        const [[expected]] = await server.run('select count(*) from t');
        const { count, txid, check } = await page.evaluate(async () => {
          const { txid } = await db.refresh();
          const one = async (sql) => (await db.query(sql)).rows[0][0];
          return { txid, count: await one('select count(*) from t'), check: await one('pragma integrity_check') };
        });
        assert.deepEqual([count, check], [expected, 'ok'], statements[0]);
        txids.push(txid);
      }
      assert.equal(new Set(txids).size, 4, 'each refresh brought a newer state');
      const source = await server.content();
      const copy = await page.evaluate(async () => {
        const digest = await walferry.digest(db);
        await db.close();
        return digest;
      });
      assert.deepEqual(copy, source);
    });
  }
}

test('values go both ways as they are', async () => {
  const server = await serve('values');
  await server.run('create table t (a)', "insert into t values (null), (1), (-1.5), (9007199254740993), ('ünï'), (x'00ff')");
  await server.ship();
  const told = await page.evaluate(async (options) => {
    const db = await walferry.open(options);
    const show = (value) => (typeof value === 'bigint' ? `${value}n` : value instanceof Uint8Array ? `bytes ${value}` : value);
    const stored = (await db.query('select a from t order by rowid')).rows.map(([value]) => show(value));
    const given = [null, true, 7, -0.5, 2n ** 62n, 'text', new Uint8Array([1, 2]), new Uint8Array([9, 3, 4, 9]).subarray(1, 3), new Uint8Array([5]).buffer];
    const sql = `select ${given.map(() => '?').join()}`;
    const back = (await db.query(sql, given)).rows[0].map(show);
    const types = (await db.query(`select ${given.map(() => 'typeof(?)').join()}`, given)).rows[0];
    const named = await db.query('select :a as sum, @b as b', { a: 1, b: 'x' });
    const limited = await db.query('select a from t', [], { limit: 2 });
    const refusals = [];
    for (const [sql, parameters] of [
      ['select ?', [2n ** 63n]], ['select ?', [undefined]], ['select ?', [{}]], ['select ?', [() => 1]], ['select ?', []], ['select ?', 'x'], ['select 1; select 2'],
      ['selec 1'], ['insert into t values (1)'], ['select * from missing'],
    ]) refusals.push((await walferry.refusal(db.query(sql, parameters))).code);
    await db.close();
    refusals.push((await walferry.refusal(db.query('select 1'))).code);
    return { stored, back, types, named, limited: [limited.rows.length, limited.truncated], refusals };
  }, options(server));
  assert.deepEqual(told.stored, [null, 1, -1.5, '9007199254740993n', 'ünï', 'bytes 0,255']);
  assert.deepEqual(told.back, [null, 1, 7, -0.5, '4611686018427387904n', 'text', 'bytes 1,2', 'bytes 3,4', 'bytes 5']);
  assert.deepEqual(told.types, ['null', 'integer', 'integer', 'real', 'integer', 'text', 'blob', 'blob', 'blob']);
  assert.deepEqual(told.named, { columns: ['sum', 'b'], rows: [[1, 'x']], truncated: false, txid: '0000000000000001' });
  assert.deepEqual(told.limited, [2, true]);
  assert.deepEqual(told.refusals, [...Array(7).fill('INVALID'), 'SQLITE_ERROR', 'SQLITE_READONLY', 'SQLITE_ERROR', 'CLOSED']);
});

test('a transaction keeps its state; the refresh waits for its end', async () => {
  const server = await serve('transaction');
  await server.run('create table t (a)', 'insert into t values (1)');
  await server.ship();
  await page.evaluate(async (options) => {
    window.db = await walferry.open(options);
    await db.query('begin');
    await db.query('select * from t');
  }, options(server));
  await server.run('insert into t values (2)');
  await server.settle();
  const counts = await page.evaluate(async () => {
    const count = async () => (await db.query('select count(*) from t')).rows[0][0];
    let done = false;
    const refreshing = db.refresh().then(() => (done = true));
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const counts = [await count(), done];
    await db.query('commit');
    await refreshing;
    counts.push(await count());
    await db.close();
    return counts;
  });
  assert.deepEqual(counts, [1, false, 2]);
});

test('closing does not wait for a transaction that was forgotten', async () => {
  const server = await serve('forgotten');
  await server.run('create table t (a)', 'insert into t values (1)');
  await server.ship();
  const code = await page.evaluate(async (options) => {
    const db = await walferry.open(options);
    await db.query('begin');
    await db.query('select * from t');
    await db.close();
    const again = await walferry.open(options);
    await again.delete();
    return (await walferry.refusal(walferry.open({ ...options, offline: true }))).code;
  }, options(server));
  assert.equal(code, 'NO_COPY', 'after delete there is no copy to open offline');
});

test('a restore can be stopped, and starts again', async () => {
  const server = await serve('stopped');
  await server.run('create table t (a)', "insert into t select randomblob(100000) from json_each('[" + Array(60).fill(1) + "]')");
  await server.ship();
  const { url, hold, release } = await stuck(to.url);
  hold();
  const stopped = await page.evaluate(async (options) => {
    const stop = new AbortController();
    const stopped = await walferry.refusal(walferry.open({ ...options, atOnce: false, signal: stop.signal, onProgress: ({ bytes }) => bytes > 0 && stop.abort() }));
    const half = await walferry.refusal(walferry.open({ ...options, offline: true }));
    return [stopped.code, half.code];
  }, { ...options(server), url });
  assert.deepEqual(stopped, ['ABORTED', 'NO_COPY'], 'half a restore is no copy');
  release();
  const rows = await page.evaluate(async (options) => {
    const db = await walferry.open(options);
    const { rows } = await db.query('select count(*), sum(length(a)) from t');
    await db.close();
    return rows;
  }, { ...options(server), url });
  assert.deepEqual(rows, [[60, 6_000_000]]);
});

test('what was damaged on its way is refused, and the copy stands', async () => {
  const server = await serve('damaged');
  await server.run('create table t (a)', 'insert into t values (1)');
  await server.ship();
  let damage = false;
  const url = await between(to.url, (path, body) => {
    if (damage && /\.ltx$/.test(path)) body[Math.floor(body.length / 2)] ^= 0x08;
    return body;
  });
  await page.evaluate(async (options) => (window.db = await walferry.open(options), null), { ...options(server, { atOnce: false }), url });
  await server.run('insert into t values (2)');
  await server.settle();
  damage = true;
  const refused = await page.evaluate(async () => {
    const { code, message } = await walferry.refusal(db.refresh());
    return { code, message, rows: (await db.query('select count(*) from t')).rows };
  });
  assert.equal(refused.code, 'DAMAGED', refused.message);
  assert.match(refused.message, /^segment .*\.$/);
  assert.deepEqual(refused.rows, [[1]]);
  damage = false;
  const rows = await page.evaluate(async () => {
    await db.refresh();
    const { rows } = await db.query('select count(*) from t');
    await db.close();
    return rows;
  });
  assert.deepEqual(rows, [[2]]);
});

test('closing in the middle of a restore lets go of the files', async () => {
  const server = await serve('closing');
  await server.run('create table t (a)', "insert into t select randomblob(100000) from json_each('[" + Array(60).fill(1) + "]')");
  await server.ship();
  const { url, hold, release } = await stuck(to.url);
  await page.evaluate(async (options) => (window.db = await walferry.open(options), null), { ...options(server), url });
  hold();
  const code = await page.evaluate(async () => {
    let refused;
    await new Promise((resolve) => {
      refused = walferry.refusal(db.restore({ onProgress: ({ bytes }) => bytes > 0 && resolve(db.close()) }));
    });
    return (await refused).code;
  });
  assert.equal(code, 'CLOSED');
  release();
  const rows = await page.evaluate(async (options) => {
    const again = await walferry.open(options);
    const { rows } = await again.query('select sum(length(a)) from t');
    await again.close();
    return rows;
  }, { ...options(server), url });
  assert.deepEqual(rows, [[6_000_000]]);
});

test('when the history there was replaced, refresh says so and restore follows', async () => {
  const other = await worker();
  const first = await serve('replaced');
  await first.run('create table t (a)', "insert into t values ('first history')");
  await first.ship();
  const second = await source(other, 'replaced');
  servers.push(second);
  await second.run('create table t (a)', "insert into t values ('second history')");
  await second.ship();
  let now = to.url;
  const url = await between(() => now);
  await page.evaluate(async (options) => (window.db = await walferry.open(options), null), { ...options(first), url });
  now = other.url;
  const told = await page.evaluate(async (options) => {
    const read = async (db) => (await db.query('select a from t')).rows[0][0];
    const { code } = await walferry.refusal(db.refresh());
    const kept = await read(db);
    await db.restore();
    const restored = await read(db);
    await db.close();
    return { code, kept, restored };
  });
  assert.deepEqual(told, { code: 'DIVERGED', kept: 'first history', restored: 'second history' });
  now = to.url;
  const reopened = await page.evaluate(async (options) => {
    const db = await walferry.open(options);
    const { rows } = await db.query('select a from t');
    await db.close();
    return rows;
  }, { ...options(first), url });
  assert.deepEqual(reopened, [['first history']], 'open restores what cannot be continued');
});

test('no room is said, and the copy stands', async () => {
  const server = await serve('full');
  await server.run('create table t (a)', 'insert into t values (zeroblob(100000))');
  await server.ship();
  await page.evaluate(async (options) => (window.db = await walferry.open(options), null), options(server));
  await server.run("insert into t select randomblob(1000000) from json_each('[1,2,3,4,5,6,7,8,9]')");
  await server.settle();
  const devtools = await page.context().newCDPSession(page);
  const quota = (quotaSize) => devtools.send('Storage.overrideQuotaForOrigin', { origin: to.url, quotaSize });
  const count = () => page.evaluate(async () => (await db.query('select count(*) from t')).rows[0][0]);
  await quota(1_000_000);
  const refused = await page.evaluate(() => walferry.refusal(db.refresh()));
  assert.equal(refused.code, 'STORAGE_FULL', refused.message);
  assert.equal(await count(), 1);
  await quota();
  await page.evaluate(() => db.refresh());
  assert.equal(await count(), 10);
  await page.evaluate(() => db.close());
});

test('an answer that is cut off is asked for again', async () => {
  const server = await serve('cut');
  await server.run('create table t (a)', 'insert into t values (1)');
  await server.ship();
  let cuts = 0;
  const url = await between(to.url, (path, body) => (/\.ltx$/.test(path) && cuts++ < 2 ? undefined : body));
  const rows = await page.evaluate(async (options) => {
    const db = await walferry.open(options);
    const { rows } = await db.query('select * from t');
    await db.close();
    return rows;
  }, { ...options(server), url });
  assert.deepEqual(rows, [[1]]);
  assert.ok(cuts > 2, `${cuts} requests`);
});

test('mistakes have codes', async () => {
  const server = await serve('mistakes');
  await server.run('create table t (a)');
  await server.ship();
  const codes = {};
  const stranger = await between(to.url, () => Buffer.from('<!doctype html>'));
  for (const [what, given] of Object.entries({
    DENIED: { token: 'wrong' },
    NOT_FOUND: { database: 'nothing' },
    UNREACHABLE: { url: 'http://127.0.0.1:9' },
    PROTOCOL: { url: stranger },
    INVALID: { database: 'Ü' },
  })) {
    const refused = await page.evaluate((options) => walferry.refusal(walferry.open(options)), options(server, given));
    codes[what] = refused.code;
    assert.equal(refused.name, 'WalferryError');
    assert.match(refused.message, /[.?]$/, refused.message);
  }
  for (const [what, code] of Object.entries(codes)) assert.equal(code, what);
  const aborted = await page.evaluate((options) => walferry.refusal(walferry.open({ ...options, signal: AbortSignal.abort() })), options(server));
  assert.equal(aborted.code, 'ABORTED');
});
