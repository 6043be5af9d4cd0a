// The head is held by a Durable Object: what becomes of uploads that are cut off at any step, and of an object that has
// forgotten everything.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Database } from './support/database.mjs';
import { BUCKET, code, worker } from './support/worker.mjs';

const state = await mkdtemp(join(tmpdir(), 'walferry-head-'));
after(async () => {
  await running.stop();
  await rm(state, { recursive: true, force: true });
});
let running = await worker({ from: 'worker-faults', state, variables: BUCKET });

async function restart() {
  await running.stop();
  running = await worker({ from: 'worker-faults', state, variables: BUCKET });
}
const { put, get, json, objects } = new Proxy({}, { get: (_, name) => (...args) => running[name](...args) });
const fault = async (path, options) => {
  const answer = await json('POST', `/v1/-/${path}`, options);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body;
};
const keys = async (db) => (await fault('keys')).filter((key) => key.startsWith(`${db}/`)).length;

async function reached(count) {
  for (let tries = 0; (await fault('reached')) < count; tries++) {
    assert(tries < 200, 'the point is reached');
    await new Promise((later) => setTimeout(later, 25));
  }
}

/** So large that it streams into R2. */
const large = (database) => database.next(Object.fromEntries(Array.from({ length: 2200 }, (_, index) => [index + 1, database.page(index + 1)])));

for (const [point, isThere] of [['intent_recorded', false], ['object_created', true], ['committed', true]]) {
  for (const [size, make] of [['short', (database) => database.next()], ['long', large]]) {
    test(`cut off at ${point}, a ${size} upload is whole or nothing, and its retry succeeds`, async () => {
      const db = `${point}-${size}`;
      const database = new Database();
      assert.equal((await put(db, database.next())).status, 201);
      const earlier = database.copy();
      const segment = make(database);
      await fault(`arm/${point}/hang`);
      const cutOff = put(db, segment).catch((error) => ({ status: 0, error }));
      await reached(1);
      await restart();
      const answer = await cutOff;
      assert([0, 503].includes(answer.status), `it is not confirmed: ${answer.status}`);

      const head = await get(`/v1/${db}`);
      assert.deepEqual(head.body.position, (isThere ? database : earlier).position);
      assert.equal((await objects(db)).length, isThere ? 2 : 1);
      assert.equal(await keys(db), isThere ? 2 : 1, 'nothing is left in the bucket that is not listed');
      const retry = await put(db, segment);
      assert.equal(retry.status, isThere ? 200 : 201, JSON.stringify(retry.body));
      assert.equal((await put(db, database.next())).status, 201);
      assert.equal((await get(`/v1/${db}`)).body.segments, 3);
    });

    test(`a panic at ${point} of a ${size} upload loses nothing, and holds nobody up`, async () => {
      const db = `panic-${point}-${size}`;
      const database = new Database();
      assert.equal((await put(db, database.next())).status, 201);
      const segment = make(database);
      await fault(`arm/${point}/panic`);
      const died = await put(db, segment);
      assert.equal(died.status, 503, JSON.stringify(died.body));
      const started = performance.now();
      const retry = await put(db, segment);
      assert([200, 201].includes(retry.status), JSON.stringify(retry.body));
      assert(performance.now() - started < 10_000);
      assert.deepEqual((await get(`/v1/${db}`)).body.position, database.position);
      assert.equal(await keys(db), 2);
    });
  }
}

test('cut off while it settles, the object settles again', async () => {
  const database = new Database();
  await put('settling', database.next());
  const segment = database.next();
  await fault('arm/object_created/panic');
  assert.equal((await put('settling', segment)).status, 503);
  await fault('arm/settling/panic');
  assert.equal((await get('/v1/settling')).status, 503);
  assert.deepEqual((await get('/v1/settling')).body.position, database.position);
});

test('an object that another life left, and that goes on from the head, is the head', async () => {
  const database = new Database();
  await put('late', database.next());
  const rival = database.copy();
  const [orphan, mine] = [database.next(), rival.next({ 1: rival.page(99) })];
  // It arrives in R2 when nobody waits for it any more.
  await fault(`plant/late/000${orphan.name}`, { body: orphan.bytes });
  assert.equal((await objects('late')).length, 1);
  const refused = await put('late', mine);
  assert.equal(refused.status, 409, JSON.stringify(refused.body));
  assert.equal(code(refused), 'position_mismatch');
  assert.deepEqual(refused.body.error.head, database.position);
  assert.equal((await put('late', orphan)).status, 200);
  assert.equal((await objects('late')).length, 2);
});

test('one that does not go on from it stands in the way, and is named', async () => {
  const database = new Database();
  await put('way', database.next());
  const other = new Database();
  other.next({ 1: other.page(50) });
  const stranger = other.next();
  await fault(`plant/way/000${stranger.name}`, { body: stranger.bytes });
  const refused = await put('way', database.next());
  assert.equal(refused.status, 409);
  assert.equal(code(refused), 'segment_in_the_way');
  assert(refused.body.error.message.includes(stranger.name));
  await fault(`uproot/way/000${stranger.name}`);
  assert.equal((await put('way', database.copy().next())).status, 409, 'still another state');
});

test('an object that has forgotten everything rebuilds from R2, wherever it is cut off', async () => {
  const database = new Database();
  const sent = [database.next({ 1: database.page(1), 2: database.page(2) })];
  while (database.txid < 6n) sent.push(database.next());
  const snapshot = database.snapshot();
  sent.push(snapshot, database.next());
  for (const segment of sent) assert.equal((await put('forgot', segment)).status, 201);
  const [head, list] = [await get('/v1/forgot'), await objects('forgot')];
  for (const end of ['panic', 'hang']) {
    await fault(`arm/bucket_listed/${end}`);
    const cutOff = json('POST', '/v1/forgot/rebuild').catch((error) => ({ status: 0, error }));
    if (end === 'hang') {
      await reached(1);
      await restart();
    }
    assert.notEqual((await cutOff).status, 200);
    assert.deepEqual((await get('/v1/forgot')).body, head.body);
    assert.deepEqual(await objects('forgot'), list);
  }
  assert.equal((await put('forgot', database.next())).status, 201);
});

test('a rebuild takes what continues the chain, refuses gaps and forks, and leaves the rest out', async () => {
  const database = new Database();
  const sent = Array.from({ length: 5 }, () => database.next());
  const rebuild = () => json('POST', '/v1/rebuilt/rebuild');
  for (const { name, bytes } of sent.slice(0, 4)) await fault(`plant/rebuilt/000${name}`, { body: bytes });
  assert.deepEqual((await rebuild()).body.segments, 4);
  await fault(`plant/rebuilt/000${sent[4].name}`, { body: sent[4].bytes });
  const adopted = await rebuild();
  assert.deepEqual(adopted.body.position, database.position, 'an orphan that continues it is adopted');

  await fault(`uproot/rebuilt/000${sent[2].name}`);
  const broken = await rebuild();
  assert.equal(broken.status, 503);
  assert.equal(code(broken), 'replica_broken');
  assert.match(broken.body.error.message, /gap.*restore|Bring back/i);

  // A snapshot bridges it; what is before the gap still leads somewhere.
  const snapshot = sent[3] && (() => { const early = new Database(); for (let count = 0; count < 4; count++) early.next(); return early.snapshot(); })();
  await fault(`plant/rebuilt/000${snapshot.name}`, { body: snapshot.bytes });
  const bridged = await rebuild();
  assert.equal(bridged.status, 200, JSON.stringify(bridged.body));
  assert.deepEqual(bridged.body.position, database.position);

  const other = new Database();
  for (let count = 0; count < 7; count++) other.next({ 1: other.page(1000 + count) });
  const foreign = other.snapshot();
  await fault(`plant/rebuilt/000${foreign.name}`, { body: foreign.bytes });
  const forked = await rebuild();
  assert.equal(forked.status, 503);
  assert.equal(code(forked), 'replica_forked');
  await fault(`uproot/rebuilt/000${foreign.name}`);

  const litter = new Database();
  for (let count = 0; count < 3; count++) litter.next({ 1: litter.page(500 + count) });
  const stray = { ...litter.next({ 1: litter.page(77) }), level: 1 };
  await fault(`plant/rebuilt/000${stray.name.replace(/^0/, '1')}`, { body: stray.bytes });
  const clean = await rebuild();
  assert.equal(clean.status, 200, JSON.stringify(clean.body));
  assert.equal((await objects('rebuilt')).some(({ level }) => level === 1), false, 'a stray of another history is not listed');
});
