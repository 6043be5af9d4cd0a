// Short segments are kept by the database's object, and go into the bucket with the next level: nobody who asks for them knows.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Database } from './support/database.mjs';
import { hex16 } from './support/ltx.mjs';
import { TOKENS, code, worker } from './support/worker.mjs';

const state = await mkdtemp(join(tmpdir(), 'walferry-kept-'));
let running = await worker({ from: 'worker-faults', state });
after(async () => {
  await running.stop();
  await rm(state, { recursive: true, force: true });
});
async function restart(variables) {
  await running.stop();
  running = await worker({ from: 'worker-faults', state, ...(variables && { variables }) });
}
const { put, get, json, objects, send } = new Proxy({}, { get: (_, name) => (...args) => running[name](...args) });
const fault = async (path, options) => {
  const answer = await json('POST', `/v1/-/${path}`, options);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body;
};
const keys = async (db) => (await fault('keys')).filter((key) => key.startsWith(`${db}/`));
const fetched = async (db, name, headers) => {
  const response = await send('GET', `/v1/${db}/ltx/${name}`, { headers });
  return { status: response.status, headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) };
};
/** Too long to be kept. */
const long = (database) => database.next(Object.fromEntries(Array.from({ length: 140 }, (_, index) => [index + 1, database.page(index + 1)])));

async function filled(db, count = 4) {
  const database = new Database();
  const segments = [];
  for (let round = 0; round < count; round++) segments.push(database.next());
  segments.push(long(database), database.next());
  for (const segment of segments) assert.equal((await put(db, segment)).status, 201);
  return { database, segments };
}

test('a short segment makes no object in the bucket, and is served as if it did', async () => {
  const { database, segments } = await filled('served');
  assert.deepEqual(await keys('served'), [`served/000${segments[4].name}`], 'the long one alone is there');
  for (const { name, bytes } of segments) {
    const whole = await fetched('served', name);
    assert.equal(whole.status, 200);
    assert(whole.bytes.equals(bytes));
    const head = await send('HEAD', `/v1/served/ltx/${name}`);
    assert.equal(head.headers.get('Content-Length'), String(bytes.length));
    for (const header of ['ETag', 'Accept-Ranges', 'Cache-Control', 'Content-Type', 'Walferry-Timestamp']) assert.equal(head.headers.get(header), whole.headers.get(header), header);
    assert.match(whole.headers.get('ETag'), /^".+"$/);
    for (const [range, start, end] of [['bytes=0-99', 0, 100], ['bytes=100-', 100, bytes.length], ['bytes=-16', bytes.length - 16, bytes.length], ['bytes=5-999999', 5, bytes.length]]) {
      const part = await fetched('served', name, { Range: range });
      assert.equal(part.status, 206, range);
      assert(part.bytes.equals(bytes.subarray(start, end)), range);
      assert.equal(part.headers.get('Content-Range'), `bytes ${start}-${end - 1}/${bytes.length}`);
    }
    const beyond = await send('GET', `/v1/served/ltx/${name}`, { headers: { Range: `bytes=${bytes.length}-` } });
    assert.equal(beyond.status, 416);
    assert.equal(beyond.headers.get('Content-Range'), `bytes */${bytes.length}`);
    await beyond.arrayBuffer();
  }
  assert.equal((await send('GET', `/v1/served/ltx/0/${hex16(50)}-${hex16(50)}.ltx`)).status, 404);
  assert.equal((await put('served', segments.at(-1))).status, 200, 'sent again, it is confirmed');
  const other = database.copy();
  other.txid -= 1n;
  assert.equal((await put('served', other.next({ 3: other.page(77) }))).status, 409, 'another of its name is not');
  const whole = await send('GET', '/v1/served/db');
  assert.equal(whole.status, 200);
  assert(Buffer.from(await whole.arrayBuffer()).equals(Buffer.concat(database.pages)));
  const map = await send('GET', '/v1/served/map');
  assert.equal(map.status, 200);
  assert.equal(map.headers.get('Walferry-Position'), `${database.position.txid}/${database.position.sum}`);
});

test('it outlives the runtime', async () => {
  const { database, segments } = await filled('outlives');
  await restart();
  assert.deepEqual((await get('/v1/outlives')).body.position, database.position);
  assert.equal((await fetched('outlives', segments[0].name)).status, 200);
  assert.equal((await put('outlives', database.next())).status, 201);
});

for (const end of ['panic', 'hang']) {
  test(`it is there whole, or not at all, when its upload ends by a ${end}`, async () => {
    const db = `cut-${end}`;
    const database = new Database();
    assert.equal((await put(db, database.next())).status, 201);
    const segment = database.next();
    const before = await fault('reached');
    await fault(`arm/kept/${end}`);
    const cutOff = put(db, segment).catch(() => ({ status: 0 }));
    for (let tries = 0; end === 'hang' && (await fault('reached')) <= before; tries++) {
      assert(tries < 200, 'the point is reached');
      await new Promise((later) => setTimeout(later, 25));
    }
    if (end === 'hang') await restart();
    assert([0, 503].includes((await cutOff).status), 'it is not confirmed');
    const retry = await put(db, segment);
    assert([200, 201].includes(retry.status), JSON.stringify(retry.body));
    assert.deepEqual((await get(`/v1/${db}`)).body.position, database.position);
    assert((await fetched(db, segment.name)).bytes.equals(segment.bytes));
    assert.equal((await put(db, database.next())).status, 201);
  });
}

test('who reads the bucket again has it all there first, wherever that is cut off', async () => {
  const { database, segments } = await filled('rebuilt');
  await fault('arm/given_away/panic');
  assert.equal((await json('POST', '/v1/rebuilt/rebuild')).status, 503);
  const rebuilt = await json('POST', '/v1/rebuilt/rebuild');
  assert.equal(rebuilt.status, 200, JSON.stringify(rebuilt.body));
  assert.deepEqual(rebuilt.body.position, database.position);
  assert.deepEqual((await keys('rebuilt')).sort(), segments.map(({ name }) => `rebuilt/000${name}`).sort());
  for (const { name, bytes } of segments) assert((await fetched('rebuilt', name)).bytes.equals(bytes));
  assert.equal((await put('rebuilt', database.next())).status, 201);
});

test('another object of its name in the bucket is in the way then, and named', async () => {
  const { database, segments } = await filled('inway');
  await fault(`plant/inway/000${segments[1].name}`, { body: segments[0].bytes });
  const rebuilt = await json('POST', '/v1/inway/rebuild');
  assert.equal(rebuilt.status, 409);
  assert.equal(code(rebuilt), 'segment_in_the_way');
  assert.match(rebuilt.body.error.message, new RegExp(segments[1].name));
  await fault(`uproot/inway/000${segments[1].name}`);
  assert.deepEqual((await json('POST', '/v1/inway/rebuild')).body.position, database.position);
});

test('one that takes the place of another that was in the bucket is found, once that is missed', async () => {
  const database = new Database();
  assert.equal((await put('instead', database.next())).status, 201);
  const other = database.copy();
  const gone = long(database);
  assert.equal((await put('instead', gone)).status, 201);
  assert.equal((await fetched('instead', gone.name)).status, 200);
  await fault(`uproot/instead/000${gone.name}`);
  assert.equal((await json('POST', '/v1/instead/rebuild')).body.position.txid, hex16(1));
  const { name, bytes } = other.next({ 1: other.page(99) });
  assert.equal(name, gone.name);
  assert.equal((await put('instead', { name, bytes })).status, 201);
  await fetched('instead', name);
  assert((await fetched('instead', name)).bytes.equals(bytes));
});

test('what is kept is bounded: more goes into the bucket', async () => {
  const database = new Database({ pageSize: 16_384 });
  let kept = 0;
  for (let count = 0; count < 350; count++) {
    const pages = [1, 2, 3].map((pgno) => [pgno, database.page(3 * count + pgno)]);
    const segment = database.next(Object.fromEntries(pages));
    assert(segment.bytes.length <= 65_536, `${segment.bytes.length}`);
    assert.equal((await put('bounded', segment)).status, 201);
    kept += segment.bytes.length;
  }
  const bucket = (await keys('bounded')).length;
  assert(kept > 16 << 20, `${kept} bytes were sent`);
  assert(bucket > 5 && bucket < 60, `${bucket} objects`);
  assert.deepEqual((await get('/v1/bounded')).body.position, database.position);
});

test('where an upload was given up, a short one goes into the bucket: whatever came in between', async () => {
  for (const [db, between] of [
    ['late-rebuilt', async () => assert.equal((await json('POST', '/v1/late-rebuilt/rebuild')).status, 200)],
    [
      'late-snapshot',
      async (database) => {
        await get('/v1/late-snapshot');
        await fault('arm/intent_recorded/panic');
        assert.notEqual((await put('late-snapshot', database.snapshot())).status, 201);
        await get('/v1/late-snapshot');
      },
    ],
  ]) {
    const database = new Database();
    assert.equal((await put(db, database.next())).status, 201);
    const other = database.copy();
    await fault('arm/intent_recorded/panic');
    assert.notEqual((await put(db, long(other))).status, 201);
    await between(database);
    const segment = database.next();
    assert.equal((await put(db, segment)).status, 201);
    assert((await keys(db)).includes(`${db}/000${segment.name}`), db);
  }
});

test('a name whose object keeps segments is not attached to another bucket', async () => {
  const { database, segments } = await filled('owned');
  await restart({ ...TOKENS, WALFERRY_ATTACHED: 'owned=BUCKET/elsewhere' });
  const refused = await get('/v1/owned');
  assert.equal(refused.status, 409);
  assert.equal(code(refused), 'name_taken');
  await restart();
  assert.deepEqual((await get('/v1/owned')).body.position, database.position);
  for (const { name, bytes } of segments) assert((await fetched('owned', name)).bytes.equals(bytes));
});

test('a wrong setting is named, and nothing is taken in', async () => {
  await restart({ ...TOKENS, WALFERRY_SHORT_SEGMENTS: 'r2' });
  const answer = await put('settings', new Database().next());
  assert.equal(answer.status, 500);
  assert.match(answer.body.error.message, /WALFERRY_SHORT_SEGMENTS is "r2"; it must be object or bucket/);
  await restart();
  assert.deepEqual(await objects('settings'), []);
});
