// Faults: a panic, a bucket that others write to, uploads that hang, a restart. On a build whose faults can be asked for.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { inRoot } from '../../scripts/lib/root.mjs';
import { Database, START } from './support/database.mjs';
import { hex16 } from './support/ltx.mjs';
import { BUCKET, code, worker } from './support/worker.mjs';

// The bucket is the question: all segments go there at once.
const { put, get, json, objects, raw, send } = await worker({ from: 'worker-faults', variables: BUCKET });
const plant = (key, bytes, headers) => json('POST', `/v1/-/plant/${key}`, { body: bytes, headers });
const uproot = (key) => json('POST', `/v1/-/uproot/${key}`);
const rebuild = (db) => json('POST', `/v1/${db}/rebuild`);
const authorization = { Authorization: 'Bearer the-write-token' };

test('after a panic the next request is served, and nothing is lost', async () => {
  const database = new Database();
  for (let round = 0; round < 3; round++) {
    assert.equal((await put('panic', database.next())).status, 201);
    const died = await json('POST', '/v1/-/panic');
    assert.equal(died.status, 503, JSON.stringify(died.body));
    code(died);
    const head = await get('/v1/panic');
    assert.equal(head.status, 200, JSON.stringify(head.body));
    assert.deepEqual(head.body.position, database.position);
  }
});

test('requests beside a panic are answered, one way or the other', async () => {
  const writers = Array.from({ length: 10 }, async (_, index) => {
    const database = new Database();
    for (let count = 0; count < 10; count++) {
      const segment = database.next();
      for (let attempt = 0; ; attempt++) {
        assert(attempt < 30);
        const { status, body } = await put(`beside-${index}`, segment);
        if (status === 201 || status === 200) break;
        assert.equal(status, 503, JSON.stringify(body));
        await new Promise((later) => setTimeout(later, 20));
      }
    }
    return [`/v1/beside-${index}`, database.position];
  });
  for (let count = 0; count < 4; count++) {
    await new Promise((later) => setTimeout(later, 60));
    assert.equal((await send('POST', '/v1/-/panic')).status, 503);
  }
  for (const [path, position] of await Promise.all(writers)) assert.deepEqual((await get(path)).body.position, position);
});

test('the Worker that is deployed has no such faults', async () => {
  const wasm = readFileSync(inRoot('build', 'worker', 'index_bg.wasm'));
  const faulty = readFileSync(inRoot('build', 'worker-faults', 'index_bg.wasm'));
  for (const trace of ['a panic was asked for', 'conformance', 'There is no such fault', 'intent_recorded', 'object_created', 'bucket_listed']) {
    assert(faulty.includes(trace), `the test looks for what there is: ${trace}`);
    assert(!wasm.includes(trace), trace);
  }
  const deployed = await worker();
  const answer = await deployed.json('POST', '/v1/-/panic');
  assert.equal(answer.status, 404);
  assert.equal(code(answer), 'unknown_route');
});

test('the store on R2 conforms', async () => {
  const answer = await json('POST', '/v1/-/conformance/conformance');
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  assert.equal((await objects('conformance')).length, 3);
});

test('segments that others put are read from themselves', async () => {
  const database = new Database();
  for (let count = 0; count < 3; count++) {
    const { name, bytes } = database.next(undefined, { sums: false });
    await plant(`foreign/000${name}`, bytes);
  }
  const head = await get('/v1/foreign');
  assert.equal(head.status, 200, JSON.stringify(head.body));
  assert.deepEqual(head.body.position, { txid: hex16(3), sum: null });
  assert.equal(head.headers.get('Walferry-Position'), `${hex16(3)}/-`);
  assert.equal(head.body.page_size, 512);
  assert.equal(head.body.timestamp, START + 3000);
  assert.equal((await get('/v1/foreign/plan')).body.segments.length, 3);

  const next = database.copy().next();
  const refused = await put('foreign', next);
  assert.equal(refused.status, 409);
  assert.match(refused.body.error.message, /no database sum.*snapshot/);
  assert.equal((await put('foreign', database.snapshot())).status, 201, 'a snapshot makes the state provable');
  assert.equal((await put('foreign', next)).status, 201);
});

test('their times are told by their metadata, or by themselves', async () => {
  const database = new Database();
  for (let count = 0; count < 3; count++) {
    const { name, bytes } = database.next(undefined, { sums: false });
    await plant(`times/000${name}`, bytes, count < 2 ? { 'Litestream-Timestamp': new Date(START + 1000 * (count + 1)).toISOString().replace('Z', '000001Z') } : {});
  }
  assert.deepEqual((await objects('times')).map(({ timestamp }) => timestamp), [START + 1000, START + 2000, START + 3000]);
  for (const [time, segments] of [[START + 1999, 1], [START + 2000, 2], [START + 2999, 2], [START + 3000, 3]]) {
    const plan = await get(`/v1/times/plan?timestamp=${time}`);
    assert.equal(plan.status, 200, JSON.stringify(plan.body));
    assert.equal(plan.body.segments.length, segments);
  }
});

test('where a request may ask R2 fifty times, a rebuild of more comes to its end by several', async () => {
  const count = 110;
  const database = new Database();
  for (let txid = 1; txid <= count; txid++) {
    const { name, bytes } = database.next();
    await plant(`free/000${name}`, bytes);
  }
  assert.equal((await json('POST', '/v1/-/afford/50')).status, 200);
  let refused = 0;
  for (;;) {
    const head = await get('/v1/free');
    if (head.status === 200) {
      assert.deepEqual([head.body.position, head.body.segments], [database.position, count]);
      break;
    }
    assert.equal(head.status, 503, JSON.stringify(head.body));
    assert((refused += 1) < 5, 'it does not get on');
  }
  assert.equal((await json('POST', '/v1/-/afford/1000000')).status, 200);
  assert.equal(refused, 2);
});

test('a replica of more segments than R2 lists at once', async () => {
  const count = 1050;
  const database = new Database();
  const segments = Array.from({ length: count }, () => database.next());
  const rest = segments.entries();
  await Promise.all(Array.from({ length: 16 }, async () => {
    for (const [, { name, bytes }] of rest) assert.equal((await plant(`long/000${name}`, bytes)).status, 200);
  }));
  const bytes = segments.reduce((sum, segment) => sum + segment.bytes.length, 0);
  // One request does not read so many: each goes on where the last one ended.
  const partial = await get('/v1/long');
  assert.equal(partial.status, 503);
  assert.equal(code(partial), 'replica_large');
  for (let round = 0; round < 2; round++) {
    const head = await get('/v1/long');
    assert.equal(head.status, 200, JSON.stringify(head.body));
    assert.deepEqual(head.body.position, database.position);
    assert.deepEqual([head.body.segments, head.body.bytes], [count, bytes]);
  }
  assert.equal((await put('long', database.next())).status, 201);
  const plan = await get('/v1/long/plan');
  assert.equal(plan.body.segments.length, count + 1);
  const first = await get('/v1/long/ltx');
  assert.equal(first.body.segments.length, 1000);
  const second = await get(`/v1/long/ltx?cursor=${encodeURIComponent(first.body.next)}`);
  assert.equal(second.body.segments.length, count + 1 - 1000);
  assert.equal(second.body.next, null);
  assert.equal((await get(`/v1/long/ltx?after=${hex16(count - 1)}`)).body.segments.length, 2);
  assert.equal((await get(`/v1/long/ltx?after=${hex16(5)}`)).body.segments[0].min_txid, hex16(6));
});

test('what is not a segment is passed over', async () => {
  const database = new Database();
  assert.equal((await put('litter', database.next())).status, 201);
  const name = (txid) => `${hex16(txid)}-${hex16(txid)}.ltx`;
  for (const key of ['note.txt', `0000/${name(2)}.tmp`, '0000/x', `000a/${name(2)}`, `0/${name(2)}`, '0000', `00/00/${name(2)}`, `0000/${hex16(1)}-`]) {
    assert.equal((await plant(`litter/${key}`, 'x')).status, 200);
  }
  assert.equal((await objects('litter')).length, 1);
  assert.equal((await get('/v1/litter')).body.segments, 1);
  assert.equal((await get('/v1/litter/ltx?limit=1')).status, 200);
  assert.equal((await put('litter', database.next())).status, 201);
});

test('an object that is no segment is said to be none', async () => {
  await plant(`broken/0000/${hex16(1)}-${hex16(1)}.ltx`, 'this is no segment, whatever its name says '.repeat(5));
  const answer = await get('/v1/broken');
  assert.equal(answer.status, 503);
  assert.match(answer.body.error.message, /is no segment/);
});

test('two histories are noticed when the bucket is read, and named', async () => {
  const database = new Database();
  await put('forked', database.next());
  const [one, other] = [database.copy(), database.copy()];
  const [mine, theirs] = [one.next(undefined, { count: 2n }), other.next({ 1: other.page(50) })];
  assert.equal((await put('forked', mine)).status, 201);
  await plant(`forked/000${theirs.name}`, theirs.bytes);
  assert.equal((await objects('forked')).length, 2, 'what was not committed is not listed');
  assert.equal((await send('GET', `/v1/forked/ltx/${theirs.name}`)).status, 404, 'and not served');
  for (const answer of [await rebuild('forked'), await get('/v1/forked'), await get('/v1/forked/plan'), await put('forked', one.next())]) {
    assert.equal(answer.status, 503, JSON.stringify(answer.body));
    assert.equal(code(answer), 'replica_forked');
    assert.match(answer.body.error.message, /two histories/);
    assert(answer.body.error.message.includes(theirs.name) && answer.body.error.message.includes(mine.name));
  }
  await uproot(`forked/000${theirs.name}`);
  assert.equal((await get('/v1/forked')).status, 200);
});

test('a replica that is emptied behind the back of the Worker is empty, once it looks', async () => {
  const database = new Database();
  const segments = [database.next(), database.next()];
  for (const segment of segments) await put('emptied', segment);
  for (const { name } of segments) await uproot(`emptied/000${name}`);
  assert.equal((await rebuild('emptied')).body.position.txid, hex16(0));
  const again = new Database();
  assert.equal((await put('emptied', again.next({ 1: again.page(9) }))).status, 201);

  // The object looks when it wakes: here, after a panic.
  const other = new Database();
  const first = other.next();
  await put('emptied-2', first);
  await uproot(`emptied-2/000${first.name}`);
  await json('POST', '/v1/-/panic');
  const next = await put('emptied-2', other.next());
  assert.equal(next.status, 409, JSON.stringify(next.body));
  assert.equal(next.body.error.head.txid, hex16(0));
  assert.deepEqual(await objects('emptied-2'), []);
});

test('uploads that take too much memory together are told to come again', async () => {
  const database = new Database({ pageSize: 4096 });
  const segment = database.next(Object.fromEntries(Array.from({ length: 400 }, (_, index) => [index + 1, database.page(index + 1)])));
  assert(segment.bytes.length > 1 << 20);
  const headers = { ...authorization, 'Content-Length': segment.bytes.length };
  let release;
  const held = new Promise((resolve) => (release = resolve));
  const slow = Array.from({ length: 12 }, (_, index) =>
    raw(`/v1/slow-${index}/ltx/${segment.name}`, headers, [segment.bytes.subarray(0, 50_000), held, segment.bytes.subarray(50_000)]));
  await new Promise((later) => setTimeout(later, 1000));
  const busy = await put('slow-12', segment);
  assert.equal(busy.status, 503, JSON.stringify(busy.body));
  assert.equal(code(busy), 'uploads_busy');
  assert(Number(busy.headers.get('Retry-After')) > 0);
  assert.equal((await get('/v1/slow-12')).status, 200, 'reading goes on');
  release();
  for (const answer of await Promise.all(slow)) assert.equal(answer.status, 201, JSON.stringify(answer));
  assert.equal((await put('slow-12', segment)).status, 201);
});

test('clients that hang up give back what they took', async () => {
  const database = new Database({ pageSize: 4096 });
  const segment = database.next(Object.fromEntries(Array.from({ length: 400 }, (_, index) => [index + 1, database.page(index + 1)])));
  const headers = { ...authorization, 'Content-Length': segment.bytes.length };
  for (let count = 0; count < 30; count++) {
    await raw(`/v1/hang-up/ltx/${segment.name}`, headers, [segment.bytes.subarray(0, 50_000 + count * 1000), null]);
  }
  assert.equal((await put('hang-up', segment)).status, 201);
});

test('an upload takes little memory, however large it is', async () => {
  const memory = async () => (await json('POST', '/v1/-/memory')).body;
  // First, for it takes so long that connections at rest are closed meanwhile.
  const database = new Database({ pageSize: 65_536 });
  const page = database.page(1);
  const segment = database.next(Object.fromEntries(Array.from({ length: 1500 }, (_, index) => [index + 1, page])));
  await new Promise((later) => setTimeout(later, 50));
  await json('POST', '/v1/-/panic'); // a new instance, with the least memory
  await get('/v1/memory');
  const before = await memory();
  assert(segment.bytes.length > 98e6);
  const started = performance.now();
  // On a connection of its own: workerd sometimes resets the one that carried so long a body once it has answered, and
  // fetch() would send the next request on that.
  const answer = await raw(`/v1/memory/ltx/${segment.name}`, { ...authorization, 'Content-Length': segment.bytes.length }, [segment.bytes]);
  assert.equal(answer.status, 201, JSON.stringify(answer));
  const grown = (await memory()) - before;
  console.log(`# ${(segment.bytes.length / 1e6).toFixed(0)} MB taken in within ${((performance.now() - started) / 1000).toFixed(1)} s; wasm memory ${before} + ${grown} bytes`);
  assert(grown <= 8 << 20, `${grown} bytes`);
});

test('everything is still there after a restart', async () => {
  const state = await mkdtemp(join(tmpdir(), 'walferry-state-'));
  try {
    const database = new Database();
    let running = await worker({ state });
    const first = database.next();
    await running.put('kept', first);
    await running.put('kept', database.next());
    await running.stop();
    running = await worker({ state });
    assert.deepEqual((await running.get('/v1/kept')).body.position, database.position);
    const bytes = await running.send('GET', `/v1/kept/ltx/${first.name}`);
    assert.deepEqual(Buffer.from(await bytes.arrayBuffer()), first.bytes);
    assert.equal((await running.put('kept', first)).status, 200);
    assert.equal((await running.put('kept', database.next())).status, 201);
    await running.stop();
  } finally {
    await rm(state, { recursive: true, force: true });
  }
});
