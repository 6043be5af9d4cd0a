// Who dies without a word gives back what he held, after a minute: the memory of a file in parts, the lock of a database. And who
// was thought dead and is not changes nothing any more.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Database } from './support/database.mjs';
import { hex16 } from './support/ltx.mjs';
import { BUCKET, TOKENS, code, worker } from './support/worker.mjs';
import { databaseFile, wal } from './support/wal.mjs';

const MINUTE = 60_000;
const running = await worker({ from: 'worker-faults', variables: TOKENS });
const faults = (json) => async (path) => {
  const answer = await json('POST', `/v1/-/${path}`);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body;
};

async function until(what, holds) {
  for (const end = Date.now() + 20_000; !(await holds());) {
    assert(Date.now() < end, `waited 20 s: ${what}`);
    await new Promise((later) => setTimeout(later, 20));
  }
}

const FILE = databaseFile(4096, 300);
FILE.fill(7, 8192);
const HALF = 600_000;
const { get, json, objects, raw, send } = running;
const fault = faults(json);
const path = (db, offset) => `/v1/${db}/db?offset=${offset}&size=${FILE.length}`;
const part = (db, offset, end = offset + HALF) => json('PUT', path(db, offset), { body: FILE.subarray(offset, end) });
const authorization = { Authorization: 'Bearer the-write-token' };
const restored = async (db) => Buffer.from(await (await send('GET', `/v1/${db}/db`)).arrayBuffer());
const offsetOf = (answer) => Number(answer.headers.get('Walferry-Offset'));

test('a sender that dies gives its memory to the next one, when its lease is over; one that lives keeps it', async () => {
  // The memory of two files is there.
  assert.equal((await part('dies', 0)).status, 202);
  const died = raw(path('dies', HALF), { ...authorization, 'Content-Length': 500_000 }, [FILE.subarray(HALF, HALF + 100_000), null]);
  assert.equal((await part('lives', 0)).status, 202);
  await died;
  const early = await part('next', 0);
  assert.deepEqual([early.status, code(early)], [503, 'uploads_busy']);
  assert(Number(early.headers.get('Retry-After')) > 0);
  await fault(`ahead/${MINUTE - 5000}`);
  assert.equal((await part('lives', HALF, HALF + 100_000)).status, 202, 'it shows that it lives');
  assert.equal((await part('next', 0)).status, 503, 'not before its time');
  await fault('ahead/5000');
  assert.equal((await part('next', 0)).status, 202);
  const late = await part('dies', HALF);
  assert.deepEqual([late.status, code(late), offsetOf(late)], [409, 'wrong_offset', 0], 'what it had sent is forgotten');
  assert.deepEqual([(await part('dies', 0)).status, (await objects('dies')).length], [503, 0]);
  assert.equal((await part('lives', HALF + 100_000, FILE.length)).status, 201);
  assert.equal((await part('next', HALF, FILE.length)).status, 201);
  assert.equal((await part('dies', 0)).status, 202);
  assert.equal((await part('dies', HALF, FILE.length)).status, 201);
  for (const db of ['dies', 'lives', 'next']) assert((await restored(db)).equals(FILE), db);
});

test('a sender that is slow beyond its lease is told so, and what it still sends is not mixed into what the next one sends', async () => {
  let goOn;
  const rest = new Promise((go) => (goOn = go));
  const slow = raw(path('slow', 0), { ...authorization, 'Content-Length': HALF }, [FILE.subarray(0, 300_000), rest, Buffer.alloc(HALF - 300_000, 1)]);
  await until('it has begun', async () => offsetOf(await part('slow', FILE.length - 1)) > 0);
  await fault(`ahead/${MINUTE}`);
  assert.equal((await part('other-1', 0)).status, 202);
  assert.equal((await part('other-2', 0)).status, 202, 'its memory is gone');
  goOn();
  const answer = await slow;
  assert.deepEqual([answer.status, answer.body.error.code], [503, 'upload_under_way']);
  assert.equal(offsetOf(await part('slow', HALF)), 0);
  for (const db of ['other-1', 'other-2']) assert.equal((await part(db, HALF, FILE.length)).status, 201);
  assert.equal((await part('slow', 0)).status, 202);
  assert.equal((await part('slow', HALF, FILE.length)).status, 201);
  assert((await restored('slow')).equals(FILE));
});

test('two senders of one file: when one dies, the other goes on where it came to', async () => {
  assert.equal((await part('relay', 0)).status, 202);
  await raw(path('relay', HALF), { ...authorization, 'Content-Length': 500_000 }, [FILE.subarray(HALF, HALF + 200_000), null]);
  const where = offsetOf(await part('relay', 1));
  assert(where >= HALF && where <= HALF + 200_000, `${where}`);
  assert.equal((await part('relay', where, FILE.length)).status, 201);
  assert((await restored('relay')).equals(FILE));
});

for (const [kind, variables, long] of [['an object of the bucket', BUCKET, false], ['a segment that is kept', TOKENS, true]]) {
  test(`who holds the lock for too long loses it to ${kind}, and finds out before it changes anything`, async () => {
    const { put, get, json, send, objects } = await worker({ from: 'worker-faults', variables });
    const fault = faults(json);
    for (const [point, isThere] of [['intent_recorded', false], ['object_created', true]]) {
      const db = point.replace('_', '-');
      const database = new Database();
      const pages = long ? 140 : 1;
      assert.equal((await put(db, database.next({ 1: database.page(9) }))).status, 201);
      const other = database.copy();
      const slow = database.next(Object.fromEntries(Array.from({ length: pages }, (_, at) => [at + 1, database.page(at + 1)])));
      const quick = other.next({ 1: other.page(77) });
      const before = await fault('reached');
      await fault(`arm/${point}/wait`);
      const answered = put(db, slow);
      await until(`${point} is reached`, async () => (await fault('reached')) > before);
      await fault(`ahead/${MINUTE}`);
      const answer = await put(db, quick);
      const winner = isThere ? database : other;
      assert.equal(answer.status, isThere ? 409 : 201, `${point}: ${JSON.stringify(answer.body)}`);
      await fault('go_on');
      const late = await answered;
      assert([503, 409, 200].includes(late.status) && (isThere || late.status !== 200), `${point}: ${late.status} ${JSON.stringify(late.body)}`);
      assert.deepEqual((await get(`/v1/${db}`)).body.position, winner.position, point);
      const expected = Buffer.concat(winner.pages);
      for (let round = 0; round < 2; round++) {
        const whole = await send('GET', `/v1/${db}/db`);
        assert.equal(whole.status, 200, `${point}: ${await whole.clone().text()}`);
        assert(Buffer.from(await whole.arrayBuffer()).equals(expected), point);
        const rebuilt = await json('POST', `/v1/${db}/rebuild`);
        assert.equal(rebuilt.status, 200, `${point}: ${JSON.stringify(rebuilt.body)}`);
        assert.deepEqual(rebuilt.body.position, winner.position);
      }
      assert.equal((await put(db, winner.next({ 1: winner.page(5) }))).status, 201, point);
      assert.equal((await objects(db)).length, 3);
    }
  });
}

test('parts that are completed too late take the place of nothing', async () => {
  const zero = 'salt1=0&salt2=0&frame=0&checksum1=0&checksum2=0';
  assert.equal((await json('PUT', `/v1/late/db?${zero}`, { body: databaseFile(4096, 1) })).status, 201);
  const post = (salt, frames) => json('POST', `/v1/late/wal?salt1=${salt}&salt2=2&offset=0&restarted_at=32`, { body: wal(4096, [salt, 2], frames) });
  const noise = new Database({ pageSize: 4096 });
  const long = Array.from({ length: 1500 }, (_, at) => [at + 1, noise.page(at + 1), at === 1499 ? 1500 : 0]);
  const before = await fault('reached');
  await fault('arm/completing/wait');
  const slow = post(5, long);
  await until('all its parts are sent', async () => (await fault('reached')) > before);
  await fault(`ahead/${MINUTE}`);
  const quick = await post(6, [[1, Buffer.alloc(4096, 2), 1]]);
  assert.equal(quick.status, 201, JSON.stringify(quick.body));
  await fault('go_on');
  const late = await slow;
  assert.equal(late.status, 503, JSON.stringify(late.body));
  assert.deepEqual((await json('POST', '/v1/late/rebuild')).body.position, quick.body.position);
  assert((await restored('late')).equals(Buffer.alloc(4096, 2)));
});

test('bytes of a WAL that wait too long for the lock do not go in after others', async () => {
  const zero = 'salt1=0&salt2=0&frame=0&checksum1=0&checksum2=0';
  assert.equal((await json('PUT', `/v1/wal/db?${zero}`, { body: databaseFile(512, 1) })).status, 201);
  const bytes = (salt, fill) => wal(512, [salt, 2], [[1, Buffer.alloc(512, fill), 1]]);
  const post = (salt, fill) => json('POST', `/v1/wal/wal?salt1=${salt}&salt2=2&offset=0&restarted_at=32`, { body: bytes(salt, fill) });
  const before = await fault('reached');
  await fault('arm/raw_cut/wait');
  const slow = post(5, 1);
  await until('it is cut', async () => (await fault('reached')) > before);
  const quick = await post(6, 2);
  assert.equal(quick.status, 201, JSON.stringify(quick.body));
  await fault('go_on');
  const late = await slow;
  assert.deepEqual([late.status, code(late), late.body.error.head.txid], [409, 'position_mismatch', hex16(2)]);
  assert((await restored('wal')).equals(Buffer.alloc(512, 2)));
  assert.deepEqual((await get('/v1/wal')).body.position, quick.body.position);
  assert.match((await get('/v1/wal/wal')).headers.get('Walferry-Wal'), /salt1=6/);
});
