// What the Worker accepts, and what it says to what it does not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Database, START } from './support/database.mjs';
import { hex16 } from './support/ltx.mjs';
import { code, worker } from './support/worker.mjs';

const { put, get, objects } = await worker();

test('a chain of segments moves the head', async () => {
  const database = new Database();
  const sent = [];
  for (const changes of [{ 1: database.page(1), 2: database.page(2) }, { 2: database.page(3) }, { 1: database.page(4), 3: database.page(5) }]) {
    const segment = database.next(changes);
    sent.push(segment);
    const answer = await put('chain', segment);
    assert.equal(answer.status, 201, JSON.stringify(answer.body));
    assert.deepEqual(answer.body, { position: database.position });
    assert.equal(answer.headers.get('Walferry-Position'), `${database.position.txid}/${database.position.sum}`);
  }
  const head = await get('/v1/chain');
  assert.equal(head.status, 200);
  assert.deepEqual(head.body, {
    position: database.position,
    page_size: 512,
    commit: 3,
    timestamp: START + 3000,
    segments: 3,
    bytes: sent.reduce((sum, { bytes }) => sum + bytes.length, 0),
  });
});

test('a segment of several transactions, and one that shrinks the database', async () => {
  const database = new Database();
  await put('ranges', database.next({ 1: database.page(1), 2: database.page(2), 3: database.page(3) }, { count: 5n }));
  const answer = await put('ranges', database.next({ 1: database.page(9) }, { commit: 2 }));
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  assert.equal(answer.body.position.txid, hex16(6));
});

test('an empty replica is a replica', async () => {
  const { status, body } = await get('/v1/empty');
  assert.equal(status, 200);
  assert.deepEqual(body, {
    position: { txid: hex16(0), sum: hex16(0) }, page_size: null, commit: 0, timestamp: null, segments: 0, bytes: 0,
  });
});

test('a retry of the same segment is confirmed, another of its name refused', async () => {
  const database = new Database();
  const first = database.next();
  const other = new Database();
  const rival = other.next({ 1: other.page(77) });
  assert.equal((await put('retry', first)).status, 201);
  const again = await put('retry', first);
  assert.equal(again.status, 200);
  assert.deepEqual(again.body, { position: database.position });
  await put('retry', database.next());
  assert.equal((await put('retry', first)).status, 200, 'also when the head has moved on');
  const refused = await put('retry', rival);
  assert.equal(refused.status, 409);
  assert.equal(code(refused), 'position_mismatch');
  assert.deepEqual(refused.body.error.head, database.position);
});

test('a segment that does not follow the head is refused, and told where the head is', async () => {
  const database = new Database();
  await put('follow', database.next());
  const ahead = database.copy();
  ahead.next();
  const gap = await put('follow', ahead.next());
  assert.equal(gap.status, 409);
  assert.equal(code(gap), 'position_mismatch');
  assert.deepEqual(gap.body.error.head, database.position);

  const other = new Database();
  other.next({ 1: other.page(99) });
  const divergent = await put('follow', other.next());
  assert.equal(divergent.status, 409);
  assert.match(divergent.body.error.message, /another state/);

  const late = await put('fresh', new Database().next({ 1: database.page(1) }, { min: 2n, max: 2n }));
  assert.equal(late.status, 409);
  assert.equal((await objects('follow')).length, 1);
  assert.equal((await objects('fresh')).length, 0);
});

test('snapshots go to level 9, of the very state of the head', async () => {
  const database = new Database();
  await put('snapshots', database.next({ 1: database.page(1), 2: database.page(2) }));
  await put('snapshots', database.next());
  const snapshot = database.snapshot();
  const answer = await put('snapshots', snapshot);
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  assert.deepEqual(answer.body, { position: database.position });
  assert.equal((await put('snapshots', snapshot)).status, 200);

  const old = database.snapshot();
  await put('snapshots', database.next());
  assert.equal((await put('snapshots', old)).status, 200, 'a retry, the head having moved on');
  const other = new Database();
  other.next({ 1: other.page(1), 2: other.page(22) });
  other.txid = database.txid;
  assert.equal((await put('snapshots', other.snapshot({ timestamp: START + 9999 }))).status, 409, 'of another database');
  const future = database.copy();
  future.next();
  assert.equal((await put('snapshots', future.snapshot())).status, 409, 'of a state that is not there');
  assert.equal((await objects('snapshots')).length, 4);
});

test('a snapshot starts an empty replica', async () => {
  const database = new Database();
  database.next({ 1: database.page(1), 2: database.page(2) });
  database.next();
  assert.equal((await put('seeded', database.snapshot())).status, 201);
  const next = await put('seeded', database.next());
  assert.equal(next.status, 201, JSON.stringify(next.body));
});

const filled = async (db) => {
  const database = new Database();
  await put(db, database.next({ 1: database.page(1), 2: database.page(2) }));
  return database;
};

for (const [what, status, expected, segment] of [
  ['a timestamp before the head', 422, 'timestamp_decreases', (database) => database.next(undefined, { timestamp: START })],
  ['no database sums', 422, 'invalid_segment', (database) => database.next(undefined, { sums: false })],
  ['pages that the database grew by left out', 422, 'invalid_segment', (database) => {
    const before = database.sum;
    database.pages.push(database.page(3));
    return database.next({ 4: database.page(4) }, { before });
  }],
  ['a page beyond the end', 422, 'invalid_segment', (database) => database.next({ 1: database.page(8), 2: database.page(7) }, { commit: 1 })],
  ['a wrong sum of a whole database', 422, 'invalid_segment', (database) => database.next({ 1: database.page(8), 2: database.page(7) }, { after: 5n })],
  ['another transaction than its name', 422, 'invalid_segment', (database) => ({ ...database.next(), name: `0/${hex16(2)}-${hex16(3)}.ltx` })],
  ['another page size', 422, 'page_size_mismatch', (database) => {
    const other = new Database({ pageSize: 1024 });
    return { ...other.next({ 1: other.page(1) }, { min: 2n, max: 2n, before: database.sum, timestamp: START + 9000 }), name: `0/${hex16(2)}-${hex16(2)}.ltx` };
  }],
  ['a level between', 400, 'level_not_accepted', (database) => ({ ...database.next(), name: `1/${hex16(2)}-${hex16(2)}.ltx` })],
  ['a snapshot level that does not start at 1', 400, 'level_not_accepted', (database) => ({ ...database.next(), name: `9/${hex16(2)}-${hex16(2)}.ltx` })],
  ['nothing', 422, 'invalid_segment', (database) => ({ ...database.next(), bytes: Buffer.alloc(0) })],
  ['bytes of another kind', 422, 'invalid_segment', (database) => ({ ...database.next(), bytes: Buffer.from('hello') })],
  ['bytes after the end', 422, 'invalid_segment', (database) => {
    const next = database.next();
    return { ...next, bytes: Buffer.concat([next.bytes, Buffer.from([0])]) };
  }],
]) {
  test(`refused: ${what}`, async () => {
    const db = `refused-${what.replaceAll(/[^a-z]+/g, '-')}`.slice(0, 60);
    const database = await filled(db);
    const answer = await put(db, segment(database));
    assert.equal(answer.status, status, JSON.stringify(answer.body));
    assert.equal(code(answer), expected);
    assert.equal((await objects(db)).length, 1);
  });
}

test('refused: a first segment with a gap, a wrong order, or a missing page', async () => {
  const database = new Database();
  database.pages = [database.page(1), database.page(2), database.page(3)];
  database.txid = 1n;
  for (const pages of [[1, 2], [1, 3], [2, 1, 3], [1, 1, 2, 3], [1, 2, 3, 4]]) {
    const answer = await put('order', database.segment(0, { min: 1n, pages: pages.map((pgno) => [pgno, database.page(pgno)]) }));
    assert.equal(answer.status, 422, JSON.stringify(answer.body));
    assert.equal(code(answer), 'invalid_segment');
  }
  assert.equal((await objects('order')).length, 0);
  assert.equal((await put('order', database.segment(0, { min: 1n, pages: [1, 2, 3].map((pgno) => [pgno, database.page(pgno)]) }))).status, 201);
});
