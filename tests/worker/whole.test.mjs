// A database by one request, at any moment: for who has nothing but curl.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Database } from './support/database.mjs';
import { hex16 } from './support/ltx.mjs';
import { mapped, planned } from './support/map.mjs';
import { TOKENS, code, worker } from './support/worker.mjs';

const FAST = { ...TOKENS, WALFERRY_LEVELS: '300ms, 900ms', WALFERRY_HISTORY_WINDOW: '600ms', WALFERRY_RAW_RETENTION: '200ms', WALFERRY_GRACE: '300ms' };
const { put, get, send, json, objects, raw } = await worker({ from: 'worker-faults', variables: FAST });
const pause = (milliseconds) => new Promise((later) => setTimeout(later, milliseconds));
const fault = (path, options) => json('POST', `/v1/-/${path}`, options);

async function whole(db, query = '') {
  const answer = await send('GET', `/v1/${db}/db${query}`);
  assert.equal(answer.status, 200, query);
  const bytes = Buffer.from(await answer.arrayBuffer());
  assert.equal(answer.headers.get('Content-Length'), String(bytes.length));
  assert.equal(answer.headers.get('Content-Type'), 'application/vnd.sqlite3');
  return { bytes, position: answer.headers.get('Walferry-Position'), time: Number(answer.headers.get('Walferry-Timestamp')) };
}

test('every state, by transaction and by time, from raw segments, levels and bundles', async () => {
  const database = new Database({ pageSize: 1024 });
  const states = [];
  for (let count = 0; count < 14; count++) {
    const changes = { [1 + (count % 3)]: database.page(count), [count + 4]: database.page(100 + count) };
    for (let page = 1; count === 0 && page <= 3; page++) changes[page] = database.page(page);
    const commit = count === 9 ? 8 : undefined; // it shrinks, and grows again
    if (count > 9) {
      delete changes[count + 4];
      changes[count - 1] = database.page(200 + count);
    }
    if (commit) delete changes[count + 4];
    const timestamp = Date.now();
    const segment = database.next(changes, { timestamp, commit });
    if (count === 0) segment.name = segment.name.replace(/^0/, '9');
    const answer = await put('states', segment);
    assert.equal(answer.status, 201, JSON.stringify(answer.body));
    states.push({ bytes: Buffer.concat(database.pages), txid: database.txid, position: `${database.position.txid}/${database.position.sum}`, time: timestamp });
    await pause(80);
  }
  const check = async () => {
    assert.deepEqual(await whole('states'), { ...pick(states.at(-1)) });
    for (const [at, state] of states.entries()) {
      const end = states[at + 1]?.time ?? state.time + 1000;
      for (const time of [state.time, end - 1]) assert.deepEqual(await whole('states', `?timestamp=${time}`), pick(state));
      for (const read of [planned, mapped]) assert.deepEqual(await read(send, 'states', `timestamp=${end - 1}`), pick(state), read.name);
    }
  };
  await check();
  for (const state of states) assert.deepEqual(await whole('states', `?txid=${hex16(state.txid)}`), pick(state));
  for (const deadline = Date.now() + 10_000; (await objects('states')).filter(({ level }) => level === 0).length > 1;) {
    assert(Date.now() < deadline, JSON.stringify(await objects('states')));
    await pause(100);
  }
  await check();
  assert((await get('/v1/states/ltx?level=10')).body.segments.length > 0, 'states of the past are in bundles');
  for (const { txid, ...state } of states) {
    for (const read of [planned, mapped]) assert.deepEqual(await read(send, 'states', `txid=${hex16(txid)}`), pick(state), read.name);
  }
});
const pick = ({ bytes, position, time }) => ({ bytes, position, time });

test('what cannot be restored is said, before a byte is sent', async () => {
  for (const [path, status, expected] of [
    ['/v1/nothing/db', 404, 'no_plan'],
    [`/v1/states/db?txid=${hex16(99)}`, 404, 'no_plan'],
    ['/v1/states/db?timestamp=1000', 404, 'no_plan'],
    ['/v1/states/db?timestamp=yesterday', 400, 'invalid_timestamp'],
    ['/v1/states/db?txid=5', 400, 'invalid_txid'],
    [`/v1/states/db?txid=${hex16(5)}&timestamp=5000`, 400, 'ambiguous_target'],
    ['/v1/states/db?at=5', 400, 'unknown_parameter'],
    ['/v1/States/db', 400, 'invalid_database_name'],
  ]) {
    const answer = await get(path);
    assert.equal(answer.status, status, path);
    assert.equal(code(answer), expected, path);
  }
  assert.equal((await send('POST', '/v1/states/db', { body: 'x' })).status, 405);
  const started = Date.now();
  const late = await get('/v1/states/db', { headers: { 'Walferry-At-Least': hex16(99) } });
  assert.equal(late.status, 503);
  assert.equal(code(late), 'not_there_yet');
  assert(Date.now() - started > 5000);
});

test('one that is too large is refused, with what to do', async () => {
  const small = await worker({ variables: { ...TOKENS, WALFERRY_MAX_DOWNLOAD_BYTES: '1024' } });
  const database = new Database();
  for (let count = 1; count <= 3; count++) await small.put('large', database.next({ [count]: database.page(count) }));
  assert.equal((await small.send('GET', `/v1/large/db?txid=${hex16(2)}`)).status, 200);
  const answer = await small.get('/v1/large/db');
  assert.equal(answer.status, 413);
  assert.equal(code(answer), 'too_large');
  assert.match(answer.body.error.message, /1536 bytes.*walferry restore/);
});

/** Ships a database of many pages in one segment. */
async function large(db, count) {
  const database = new Database({ pageSize: 65_536 });
  const page = database.page(1);
  const changes = Object.fromEntries(Array.from({ length: count }, (_, index) => [index + 1, page]));
  const segment = database.next(changes);
  segment.name = segment.name.replace(/^0/, '9');
  const headers = { Authorization: 'Bearer the-write-token', 'Content-Length': segment.bytes.length };
  const put = () => raw(`/v1/${db}/ltx/${segment.name}`, headers, [segment.bytes]);
  let answer = await put();
  // Whoever hung up before has his memory until that is noticed, within a minute.
  for (let tries = 0; answer.status === 503 && tries < 70; tries++) {
    await sleep(1000);
    answer = await put();
  }
  assert.equal(answer.status, 201, JSON.stringify(answer));
  return { segment, page };
}

test('a large one takes little memory, and who hangs up ends it', async () => {
  const count = 800;
  const { page } = await large('memory', count);
  await fault('panic');
  await get('/v1/memory');
  const before = (await fault('memory')).body;
  const answer = await send('GET', '/v1/memory/db');
  assert.equal(answer.headers.get('Content-Length'), String(count * page.length));
  let [length, differs] = [0, false];
  for await (const chunk of answer.body) {
    const start = length % page.length;
    const expected = Buffer.concat([page, page, page]).subarray(start, start + Math.min(chunk.length, 2 * page.length));
    differs ||= !expected.equals(Buffer.from(chunk).subarray(0, expected.length));
    length += chunk.length;
  }
  assert.deepEqual([length, differs], [count * page.length, false]);
  const grown = (await fault('memory')).body - before;
  console.log(`# ${(length / 1e6).toFixed(0)} MB sent; wasm memory ${before} + ${grown} bytes`);
  assert(grown <= 24 << 20, `${grown} bytes`);
  // Two fit beside each other: those who left do not count.
  for (let round = 0; round < 4; round++) {
    const controller = new AbortController();
    const answer = await send('GET', '/v1/memory/db').then((answer) => (answer.status === 200 ? answer : null));
    if (answer) await answer.body.cancel();
    controller.abort();
    await pause(300);
  }
  assert.equal((await send('GET', '/v1/memory/db')).status, 200);
});

test('who stops reading gives back what is on its way, when others need it', async () => {
  await fault('panic');
  await get('/v1/memory');
  const before = (await fault('memory')).body;
  const asleep = [];
  for (let round = 0; round < 5; round++) {
    for (let two = 0; two < 2; two++) {
      asleep.push(await send('GET', '/v1/memory/db'));
      assert.equal(asleep.at(-1).status, 200);
    }
    const third = await get('/v1/memory/db');
    assert.deepEqual([third.status, code(third)], [503, 'uploads_busy']);
    await pause(200); // as much is on its way as goes
    await fault('ahead/60000');
  }
  const grown = (await fault('memory')).body - before;
  assert(grown <= 24 << 20, `${grown} bytes of wasm memory for those who do not read`);
  await assert.rejects(asleep[0].arrayBuffer(), 'what was given up breaks off');
  const last = await asleep.at(-1).arrayBuffer();
  assert.equal(String(last.byteLength), asleep.at(-1).headers.get('Content-Length'), 'who reads on in time has it all');
  for (const answer of asleep.slice(1, -1)) await answer.body.cancel().catch(() => {});
});

test('damage that shows late breaks the connection short', async () => {
  const { segment, page } = await large('damaged', 200);
  const bytes = Buffer.from(segment.bytes);
  bytes[bytes.length - 5_000_000] ^= 1;
  await fault(`plant/damaged/000${segment.name}`, { body: bytes });
  const answer = await send('GET', '/v1/damaged/db');
  assert.equal(answer.status, 200);
  await assert.rejects(async () => {
    const bytes = await answer.arrayBuffer();
    assert(bytes.byteLength < 200 * page.length);
  });
  assert.equal((await get('/v1/damaged')).status, 200);
});
