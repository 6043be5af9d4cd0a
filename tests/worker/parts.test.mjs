// Segments that are too large for one request come in parts: resumable, and invisible until the last one is there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Database } from './support/database.mjs';
import { code, worker } from './support/worker.mjs';

const { get, put, json, objects, raw, send } = await worker({ from: 'worker-faults' });
const PART = 5 << 20;

/** One that takes three parts and a bit. */
function large() {
  const database = new Database({ pageSize: 65_536 });
  const pages = Object.fromEntries(Array.from({ length: 250 }, (_, index) => [index + 1, database.page(index + 1)]));
  return [database, database.next(pages)];
}
const [database, segment] = large();
const { bytes, name } = segment;
assert(bytes.length > 3 * PART && bytes.length < 4 * PART);

const part = (db, offset, { content = bytes.subarray(offset, offset + PART), size = bytes.length, to = name } = {}) =>
  json('PUT', `/v1/${db}/ltx/${to}?offset=${offset}&size=${size}`, { body: content });

async function nothingThere(db) {
  assert.deepEqual(await objects(db), []);
  assert.equal((await send('GET', `/v1/${db}/ltx/${name}`)).status, 404);
}

async function ship(db, from = 0) {
  let answer;
  for (let offset = from; offset < bytes.length; offset += PART) {
    answer = await part(db, offset);
    assert.equal(answer.status, offset + PART < bytes.length ? 202 : 201, JSON.stringify(answer.body));
    assert.equal(answer.headers.get('Walferry-Offset'), String(Math.min(offset + PART, bytes.length)));
    if (answer.status === 202) await nothingThere(db);
  }
  return answer;
}

test('a segment in parts is there when its last part is', async () => {
  const answer = await ship('whole');
  assert.deepEqual(answer.body, { position: database.position });
  const [info] = await objects('whole');
  assert.deepEqual([info.size, (await get('/v1/whole')).body.position], [bytes.length, database.position]);
  const stored = await send('GET', `/v1/whole/ltx/${name}`);
  assert(Buffer.from(await stored.arrayBuffer()).equals(bytes));
  assert(stored.headers.get('Walferry-Timestamp'));
  assert.equal((await put('whole', { name, bytes })).status, 200, 'the same in one piece is a retry');
  assert.equal((await part('whole', 0)).status, 409, 'in parts it is said to be there');
  assert.equal((await put('whole', database.copy().next({ 1: database.page(7) }))).status, 201);
});

test('a part that breaks off is sent again; one out of place is told where to go on', async () => {
  assert.equal((await part('resumed', 0)).status, 202);
  for (const offset of [PART * 2, 1, PART - 1]) {
    const wrong = await part('resumed', offset, { content: bytes.subarray(0, PART) });
    assert.equal(wrong.status, 409);
    assert.equal(code(wrong), 'wrong_offset');
    assert.equal(wrong.headers.get('Walferry-Offset'), String(PART));
  }
  for (const length of [0, 1000, PART - 1]) {
    const headers = { Authorization: 'Bearer the-write-token', 'Content-Length': PART };
    await raw(`/v1/resumed/ltx/${name}?offset=${PART}&size=${bytes.length}`, headers, [bytes.subarray(PART, PART + length), null]);
    await new Promise((later) => setTimeout(later, 100));
    const where = await part('resumed', 0 + PART * 3, { content: bytes.subarray(PART * 3) });
    assert.equal(where.headers.get('Walferry-Offset'), String(PART), JSON.stringify(where.body));
  }
  await ship('resumed', PART);
});

test('an object that has forgotten says so, and the segment comes again from its start', async () => {
  assert.equal((await part('forgotten', 0)).status, 202);
  assert.equal((await json('POST', '/v1/-/arm/part_taken/panic')).status, 200);
  assert.equal((await part('forgotten', PART)).status, 503);
  const where = await part('forgotten', PART * 2);
  assert.equal(where.status, 409);
  assert.equal(where.headers.get('Walferry-Offset'), '0');
  await nothingThere('forgotten');
  await ship('forgotten');
});

for (const [point, retry] of [['intent_recorded', 201], ['object_created', 200], ['committed', 200]]) {
  test(`a panic at ${point} of the last part leaves all or nothing`, async () => {
    const db = `last-${point}`;
    for (let offset = 0; offset + PART < bytes.length; offset += PART) assert.equal((await part(db, offset)).status, 202);
    await json('POST', `/v1/-/arm/${point}/panic`);
    const died = await part(db, PART * 3);
    assert.equal(died.status, 503, JSON.stringify(died.body));
    assert.equal((await objects(db)).length, retry === 200 ? 1 : 0);
    assert.equal((await put(db, { name, bytes })).status, retry);
    assert.deepEqual((await get(`/v1/${db}`)).body.position, database.position);
  });
}

test('what is wrong is refused at the part where it shows, and the next upload starts afresh', async () => {
  for (const at of [50, 200, PART + 12_345, bytes.length - 20, bytes.length - 1]) {
    const damaged = Buffer.from(bytes);
    damaged[at] ^= 1;
    let answer;
    for (let offset = 0; offset < bytes.length; offset += PART) {
      answer = await part('damaged', offset, { content: damaged.subarray(offset, offset + PART) });
      if (answer.status >= 400) break;
    }
    assert([400, 409, 422].includes(answer.status), `byte ${at}: ${answer.status}`);
    code(answer);
    await nothingThere('damaged');
  }
  await ship('damaged');
});

test('parts that are too short, too long, uneven or misplaced are refused', async () => {
  for (const [query, content] of [
    [`offset=0&size=${bytes.length}`, bytes.subarray(0, PART - 1)],
    [`offset=0&size=${PART}`, bytes.subarray(0, PART + 1)],
    ['offset=0&size=0', bytes.subarray(0, PART)],
    [`offset=0&size=${2 ** 53}`, bytes.subarray(0, PART)],
    [`offset=0`, bytes.subarray(0, PART)],
    [`size=${bytes.length}`, bytes.subarray(0, PART)],
    [`offset=-1&size=${bytes.length}`, bytes.subarray(0, PART)],
    [`offset=0&size=1e9`, bytes.subarray(0, PART)],
    [`offset=0&size=${bytes.length}&x=1`, bytes.subarray(0, PART)],
  ]) {
    const answer = await json('PUT', `/v1/uneven/ltx/${name}?${query}`, { body: content });
    assert.equal(answer.status, 400, `${query}: ${JSON.stringify(answer.body)}`);
    code(answer);
  }
  assert.equal((await part('uneven', 0)).status, 202);
  assert.equal((await part('uneven', PART, { content: bytes.subarray(PART, 2 * PART + 1) })).status, 400);
  await nothingThere('uneven');
});

test('meanwhile the replica moves: the last part is refused, and told where the head is', async () => {
  for (let offset = 0; offset + PART < bytes.length; offset += PART) assert.equal((await part('overtaken', offset)).status, 202);
  const other = new Database();
  const first = other.next({ 1: other.page(1) }, { count: 2n });
  assert.equal((await put('overtaken', first)).status, 201);
  const refused = await part('overtaken', PART * 3);
  assert.equal(refused.status, 409, JSON.stringify(refused.body));
  assert.deepEqual(refused.body.error.head, other.position);
  assert.equal((await objects('overtaken')).length, 1);
});

test('two uploads of one database in parts: the second waits for the first', async () => {
  assert.equal((await part('two', 0)).status, 202);
  const other = `9/${name.slice(2)}`;
  const busy = await part('two', 0, { to: other });
  assert.equal(busy.status, 503);
  assert.equal(code(busy), 'upload_under_way');
  await ship('two', PART);
});
