// Listings, plans, and the bytes of segments.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Database, START } from './support/database.mjs';
import { hex16 } from './support/ltx.mjs';
import { READ, code, worker } from './support/worker.mjs';

const { get, put, send } = await worker();

// 1-1, 2-4, 5-5 … 9-9, then a snapshot 1-9, then 10-10.
const database = new Database();
const sent = [database.next({ 1: database.page(1), 2: database.page(2) }), database.next(undefined, { count: 3n })];
while (database.txid < 9n) sent.push(database.next());
const snapshot = database.snapshot();
const last = database.next();
for (const segment of [...sent, snapshot, last]) assert.equal((await put('app', segment)).status, 201);
const position = `${database.position.txid}/${database.position.sum}`;

const names = ({ body }) => body.segments.map(({ level, min_txid, max_txid }) => `${level}/${min_txid}-${max_txid}.ltx`);
const level0 = [...sent, last].map(({ name }) => name);

test('a listing tells of each segment what there is to know', async () => {
  const answer = await get('/v1/app/ltx?level=0', { token: READ });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('Walferry-Position'), position);
  assert.deepEqual(names(answer), level0);
  assert.equal(answer.body.next, null);
  assert.deepEqual(answer.body.segments[1], {
    level: 0, min_txid: hex16(2), max_txid: hex16(4), size: sent[1].bytes.length, timestamp: START + 4000,
  });
});

test('without a level it lists all; after a transaction, what reaches beyond it', async () => {
  assert.deepEqual(names(await get('/v1/app/ltx')), [...level0, snapshot.name]);
  assert.deepEqual(names(await get('/v1/app/ltx?level=9')), [snapshot.name]);
  assert.deepEqual(names(await get('/v1/app/ltx?level=3')), []);
  for (const [after, first] of [[0, 0], [1, 1], [2, 1], [3, 1], [4, 2], [5, 3], [8, 6], [9, 7], [10, 8], [1000, 8]]) {
    assert.deepEqual(names(await get(`/v1/app/ltx?level=0&after=${hex16(after)}`)), level0.slice(first), `after ${after}`);
    const all = [...level0.slice(first), ...(after < 9 ? [snapshot.name] : [])];
    assert.deepEqual(names(await get(`/v1/app/ltx?after=${hex16(after)}`)), all, `all after ${after}`);
  }
});

test('a listing comes in pages', async () => {
  for (const limit of [1, 2, 3, 100]) {
    const found = [];
    let cursor = '';
    for (let pages = 0; cursor !== null; pages++) {
      assert(pages < 20);
      const answer = await get(`/v1/app/ltx?after=${hex16(2)}&limit=${limit}&cursor=${encodeURIComponent(cursor)}`);
      assert.equal(answer.status, 200);
      assert(answer.body.segments.length <= limit);
      found.push(...names(answer));
      cursor = answer.body.next;
    }
    assert.deepEqual(found, [...level0.slice(1), snapshot.name]);
  }
});

test('a plan leads to the newest state, a transaction, a time, or on from a state at hand', async () => {
  const plan = async (query) => {
    const answer = await get(`/v1/app/plan${query}`);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    assert.equal(answer.headers.get('Walferry-Position'), position);
    return names(answer);
  };
  const time = (txid) => new Date(START + txid * 1000);
  assert.deepEqual(await plan(''), [snapshot.name, last.name]);
  assert.deepEqual(await plan(`?txid=${hex16(9)}`), [snapshot.name]);
  assert.deepEqual(await plan(`?txid=${hex16(6)}`), level0.slice(0, 4));
  assert.deepEqual(await plan(`?timestamp=${START + 6999}`), level0.slice(0, 4));
  assert.deepEqual(await plan(`?timestamp=${time(6).toISOString()}`), level0.slice(0, 4));
  assert.deepEqual(await plan(`?timestamp=${encodeURIComponent(time(6 + 3600).toISOString().replace('Z', '+01:00'))}`), level0.slice(0, 4));
  assert.deepEqual(await plan(`?from=${hex16(5)}&txid=${hex16(8)}`), level0.slice(3, 6));
  assert.deepEqual(await plan(`?from=${hex16(9)}`), [last.name]);
  assert.deepEqual(await plan(`?from=${hex16(3)}&txid=${hex16(6)}`), level0.slice(1, 4));
  assert.deepEqual(await plan(`?from=${hex16(10)}`), []);
});

test('where no plan leads, the sentence says why', async () => {
  for (const [query, why] of [
    [`?txid=${hex16(3)}`, /cannot be restored/],
    [`?txid=${hex16(11)}`, /cannot be restored/],
    [`?txid=${hex16(4)}&from=${hex16(5)}`, /./],
    [`?timestamp=${START}`, /as old as that/],
  ]) {
    const answer = await get(`/v1/app/plan${query}`);
    assert.equal(answer.status, 404, query);
    assert.equal(code(answer), 'no_plan');
    assert.match(answer.body.error.message, why);
  }
  const empty = await get('/v1/empty/plan');
  assert.equal(empty.status, 404);
  assert.match(empty.body.error.message, /empty/);
  const beyond = await get(`/v1/app/plan?from=${hex16(11)}`);
  assert.equal(beyond.status, 409);
  assert.equal(code(beyond), 'position_mismatch');
});

test('parameters are checked before use', async () => {
  for (const [path, expected] of [
    ['/v1/app?x=1', 'unknown_parameter'],
    ['/v1/app/plan?tixd=1', 'unknown_parameter'],
    ['/v1/app/ltx?level=0&level=0', 'repeated_parameter'],
    ['/v1/app/ltx?level=13', 'invalid_level'],
    ['/v1/app/ltx?level=010', 'invalid_level'],
    ['/v1/app/ltx?after=5', 'invalid_txid'],
    ['/v1/app/ltx?after=000000000000000G', 'invalid_txid'],
    ['/v1/app/ltx?limit=0', 'invalid_number'],
    ['/v1/app/ltx?cursor=0000', 'invalid_cursor'],
    ['/v1/app/ltx?limit=1001', 'invalid_number'],
    ['/v1/app/ltx?limit=-1', 'invalid_number'],
    ['/v1/app/plan?txid=1', 'invalid_txid'],
    ['/v1/app/plan?from=-1', 'invalid_txid'],
    ['/v1/app/plan?timestamp=yesterday', 'invalid_timestamp'],
    ['/v1/app/plan?timestamp=2026-01-31', 'invalid_timestamp'],
    ['/v1/app/plan?timestamp=2026-13-31T00:00:00Z', 'invalid_timestamp'],
    ['/v1/app/plan?timestamp=-5', 'invalid_timestamp'],
    [`/v1/app/plan?timestamp=5&txid=${hex16(1)}`, 'ambiguous_target'],
  ]) {
    const answer = await get(path);
    assert.equal(answer.status, 400, path);
    assert.equal(code(answer), expected, path);
  }
});

const path = `/v1/app/ltx/${snapshot.name}`;
const size = snapshot.bytes.length;

test('a segment comes whole, with what a cache and a client need to know', async () => {
  const answer = await send('GET', path, { token: READ });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('Content-Length'), String(size));
  assert.equal(answer.headers.get('Accept-Ranges'), 'bytes');
  assert.match(answer.headers.get('Cache-Control'), /private.*immutable/);
  assert.match(answer.headers.get('ETag'), /^"[^"]+"$/);
  assert.equal(answer.headers.get('Walferry-Timestamp'), String(START + 9000));
  assert.deepEqual(Buffer.from(await answer.arrayBuffer()), snapshot.bytes);

  const head = await send('HEAD', path, { token: READ });
  assert.equal(head.status, 200);
  assert.equal(head.headers.get('Content-Length'), String(size));
  assert.equal(head.headers.get('ETag'), answer.headers.get('ETag'));
  assert.equal(head.headers.get('Walferry-Timestamp'), String(START + 9000));
  assert.equal((await send('HEAD', path.replace(hex16(9), hex16(8)), { token: READ })).status, 404);
});

test('a segment comes in ranges', async () => {
  for (const [range, start, end] of [
    ['bytes=0-0', 0, 1],
    ['bytes=0-99', 0, 100],
    ['bytes=100-299', 100, 300],
    [`bytes=${size - 16}-`, size - 16, size],
    ['bytes=-16', size - 16, size],
    [`bytes=-${size + 5}`, 0, size],
    [`bytes=7-${size + 1000}`, 7, size],
    ['bytes=7-18446744073709551615', 7, size],
    ['bytes=0-', 0, size],
  ]) {
    const answer = await send('GET', path, { headers: { Range: range } });
    assert.equal(answer.status, 206, range);
    assert.equal(answer.headers.get('Content-Range'), `bytes ${start}-${end - 1}/${size}`);
    assert.equal(answer.headers.get('Content-Length'), String(end - start));
    assert.equal(answer.headers.get('Cache-Control'), 'no-store', 'a browser that keeps parts would ask for what is between them, piece by piece');
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), snapshot.bytes.subarray(start, end), range);
  }
  for (const range of [`bytes=${size}-`, `bytes=${size}-${size + 5}`, 'bytes=99999999999999999999-', 'bytes=-0']) {
    const answer = await get(path, { headers: { Range: range } });
    assert.equal(answer.status, 416, range);
    assert.equal(answer.headers.get('Content-Range'), `bytes */${size}`);
    assert.equal(code(answer), 'range_not_satisfiable');
  }
  for (const range of ['bytes=5-2', 'bytes=-', 'bytes=a-b', 'bytes=0-1,5-6', 'lines=1-2', 'bytes=+1-2']) {
    const answer = await get(path, { headers: { Range: range } });
    assert.equal(answer.status, 400, range);
    assert.equal(code(answer), 'invalid_range');
  }
  const missing = await get(path.replace(hex16(9), hex16(8)), { headers: { Range: 'bytes=0-1' } });
  assert.equal(missing.status, 404);
});
