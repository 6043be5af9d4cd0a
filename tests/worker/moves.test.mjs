// A replica that moves while a raw file is on its way: what comes goes on from where it began, or is refused with the head. Nothing
// of two states is mixed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Database } from './support/database.mjs';
import { hex16 } from './support/ltx.mjs';
import { databaseFile, wal } from './support/wal.mjs';
import { BUCKET, code, worker } from './support/worker.mjs';

// What is in the bucket can be taken out of it behind the Worker's back.
const { get, put, json, raw, send, objects } = await worker({ from: 'worker-faults', variables: BUCKET });
const fault = async (path, options) => {
  const answer = await json('POST', `/v1/-/${path}`, options);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body;
};
const rebuild = (db) => json('POST', `/v1/${db}/rebuild`);
const restored = async (db) => {
  const answer = await send('GET', `/v1/${db}/db`);
  const bytes = Buffer.from(await answer.arrayBuffer());
  assert.equal(answer.status, 200, String(bytes.subarray(0, 300)));
  return bytes;
};
const raws = (db, txid) => `${db}/0000/${hex16(txid)}-${hex16(txid)}.ltx`;
const HALF = 1_000_000;

/** A file of so many pages of 512 bytes, no two alike. */
function file(pages, seed) {
  const noise = new Database();
  const bytes = databaseFile(512, pages);
  for (let page = 1; page < pages; page++) noise.page(seed + page).copy(bytes, 512 * page);
  return bytes;
}
const path = (db, bytes, offset, after) => `/v1/${db}/db?offset=${offset}&size=${bytes.length}${after ? `&after=${hex16(after)}` : ''}`;
const part = (db, bytes, offset, after) => json('PUT', path(db, bytes, offset, after), { body: bytes.subarray(offset, offset + HALF) });
async function inParts(db, bytes, after, offset = 0) {
  for (;;) {
    const answer = await part(db, bytes, offset, after);
    if (answer.status !== 202) return answer;
    offset = answer.body.offset;
  }
}

/** Moves on by bytes of a WAL: this page becomes that. */
const zero = 'salt1=0&salt2=0&frame=0&checksum1=0&checksum2=0';
async function move(db, pages, pgno, fill) {
  const bytes = wal(512, [7, 8], [[pgno, Buffer.alloc(512, fill), pages]]);
  const answer = await json('POST', `/v1/${db}/wal?salt1=7&salt2=8&offset=0&restarted_at=32`, { body: bytes });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return answer.body.position;
}

function moved(answer, position) {
  assert.deepEqual([answer.status, code(answer)], [409, 'position_mismatch'], JSON.stringify(answer.body));
  assert.deepEqual(answer.body.error.head, position, 'it says where the replica stands');
}

test('another writer continues between two parts: they are refused, and the file is taken after that', async () => {
  const [one, two] = [file(4000, 1), file(4000, 5000)];
  assert.equal((await json('PUT', `/v1/continued/db?${zero}`, { body: one })).status, 201);
  assert.equal((await part('continued', two, 0, 1)).status, 202);
  const position = await move('continued', 4000, 3000, 9);
  moved(await part('continued', two, HALF, 1), position);
  moved(await part('continued', two, 0, 1), position);
  const expected = Buffer.from(one);
  expected.fill(9, 512 * 2999, 512 * 3000);
  assert((await restored('continued')).equals(expected), 'nothing of the file is there');
  const misplaced = await part('continued', two, HALF, 2);
  assert.deepEqual([misplaced.status, misplaced.headers.get('Walferry-Offset')], [409, '0'], 'nor remembered');
  assert.equal((await inParts('continued', two, 2)).status, 201);
  assert((await restored('continued')).equals(two));
});

test('somebody else makes the first snapshot between two parts of one', async () => {
  const [one, two] = [file(4000, 1), file(3000, 5000)];
  assert.equal((await part('first', one, 0)).status, 202);
  const first = await json('PUT', '/v1/first/db', { body: two });
  assert.equal(first.status, 201);
  moved(await part('first', one, HALF), first.body.position);
  assert((await restored('first')).equals(two));
  assert.equal((await objects('first')).length, 1);
});

test('a history that is replaced between two parts, by one that ends at the same transaction', async () => {
  const database = new Database();
  const pages = Object.fromEntries(Array.from({ length: 4000 }, (_, at) => [at + 1, database.page(at + 1)]));
  assert.equal((await put('replaced', database.next(pages))).status, 201);
  const [other, third] = [database.copy(), file(4000, 5000)];
  assert.equal((await put('replaced', database.next({ 5: database.page(77) }))).status, 201);
  assert.equal((await part('replaced', third, 0, 2)).status, 202);
  await fault(`uproot/${raws('replaced', 2)}`);
  assert.equal((await rebuild('replaced')).body.position.txid, hex16(1));
  assert.equal((await put('replaced', other.next({ 6: other.page(78) }))).status, 201);
  moved(await part('replaced', third, HALF, 2), other.position);
  assert((await restored('replaced')).equals(Buffer.concat(other.pages)));
  assert.equal((await inParts('replaced', third, 2)).status, 201);
  assert((await restored('replaced')).equals(third));
});

for (const kind of ['in one request', 'in parts']) {
  test(`a history that moves on and is set back while a file comes ${kind}: no page is held against the wrong state`, async () => {
    const db = kind.replaceAll(' ', '-');
    // The sums of its pages are in three blocks.
    const [one, two] = [file(9000, 1), file(9000, 1)];
    two.fill(5, 512 * 6999, 512 * 7000);
    assert.equal((await json('PUT', `/v1/${db}/db?${zero}`, { body: one })).status, 201);
    let goOn;
    const rest = new Promise((go) => (goOn = go));
    const authorization = { Authorization: 'Bearer the-write-token' };
    const slow = kind === 'in parts'
      ? part(db, two, 0, 1).then((begun) => rest.then(() => (assert.equal(begun.status, 202), inParts(db, two, 1, HALF))))
      : raw(`/v1/${db}/db?after=${hex16(1)}`, { ...authorization, 'Content-Length': two.length }, [two.subarray(0, HALF), rest, two.subarray(HALF)]);
    await new Promise((later) => setTimeout(later, 300));
    await move(db, 9000, 7000, 5);
    await fault(`uproot/${raws(db, 2)}`);
    assert.equal((await rebuild(db)).body.position.txid, hex16(1));
    goOn();
    const answer = await slow;
    assert([201, 409, 503].includes(answer.status), JSON.stringify(answer.body));
    assert((await restored(db)).equals(answer.status === 201 ? two : one), 'it is proven when it is restored');
    if (answer.status !== 201) assert.equal((await inParts(db, two, 1)).status, 201);
    assert((await restored(db)).equals(two));
    assert.equal((await get(`/v1/${db}`)).body.position.txid, hex16(2));
  });
}
