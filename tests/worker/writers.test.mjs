// Several writers at once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Database } from './support/database.mjs';
import { code, worker } from './support/worker.mjs';

const { put, get, objects } = await worker();
const statuses = (answers) => answers.map(({ status }) => status).sort();

test('one segment sent many times at once is created once', async () => {
  const segment = new Database().next();
  const answers = await Promise.all(Array.from({ length: 30 }, () => put('same', segment)));
  assert.deepEqual(statuses(answers), [...Array(29).fill(200), 201], JSON.stringify(answers.map(({ body }) => body)));
  assert.equal((await objects('same')).length, 1);
});

test('of different segments of one name, one wins', async () => {
  const base = new Database();
  await put('rivals', base.next());
  const segments = Array.from({ length: 20 }, (_, index) => {
    const database = base.copy();
    return database.next({ 1: database.page(100 + index) });
  });
  const answers = await Promise.all(segments.map((segment) => put('rivals', segment)));
  assert.deepEqual(statuses(answers), [201, ...Array(19).fill(409)], JSON.stringify(answers.map(({ body }) => body)));
  const winner = segments[answers.findIndex(({ status }) => status === 201)];
  assert.deepEqual((await get('/v1/rivals')).body.position, winner.position);
  for (const answer of answers.filter(({ status }) => status === 409)) {
    assert.equal(code(answer), 'position_mismatch');
    assert.deepEqual(answer.body.error.head, winner.position);
  }
});

test('the same for segments that stream into R2', async () => {
  const base = new Database({ pageSize: 4096 });
  const large = (database, seed) => database.next(Object.fromEntries(Array.from({ length: 300 }, (_, index) => [index + 1, database.page(seed + index)])));
  const segment = large(base, 0);
  assert(segment.bytes.length > 1 << 20);
  const same = await Promise.all(Array.from({ length: 8 }, () => put('large', segment)));
  assert.deepEqual(statuses(same), [...Array(7).fill(200), 201], JSON.stringify(same.map(({ body }) => body)));

  const rivals = await Promise.all(Array.from({ length: 6 }, (_, index) => put('large', large(base.copy(), 1000 * (index + 1)))));
  assert.deepEqual(statuses(rivals), [201, ...Array(5).fill(409)], JSON.stringify(rivals.map(({ body }) => body)));
  assert.equal((await objects('large')).length, 2);
});

// Their names differ, so create-if-absent does not part them.
test('of overlapping segments of different names, one wins at most, and retries come to an end', async () => {
  for (let round = 0; round < 5; round++) {
    const db = `overlap-${round}`;
    const base = new Database();
    await put(db, base.next());
    const segments = Array.from({ length: 6 }, (_, index) => {
      const database = base.copy();
      return database.next({ 1: database.page(100 + index) }, { count: BigInt(index + 1) });
    });
    const ship = async (segment) => {
      for (let attempt = 0; ; attempt++) {
        const answer = await put(db, segment);
        if (answer.status !== 503 || attempt === 20) return answer;
        assert(['replica_contended', 'replica_forked'].includes(code(answer)), answer.body.error.code);
        await new Promise((later) => setTimeout(later, Math.random() * 100 * (attempt + 1)));
      }
    };
    const answers = await Promise.all(segments.map(ship));
    assert.deepEqual(statuses(answers), [201, ...Array(5).fill(409)], JSON.stringify(answers.map(({ body }) => body)));
    const winner = segments[answers.findIndex(({ status }) => status === 201)];
    const head = await get(`/v1/${db}`);
    assert.equal(head.status, 200, JSON.stringify(head.body));
    assert.deepEqual(head.body.position, winner.position);
    assert.equal((await objects(db)).length, 2);
    const database = base.copy();
    assert.equal((await put(db, database.next())).status, 409);
  }
});

test('of first segments and first snapshots at once, one wins', async () => {
  for (let round = 0; round < 5; round++) {
    const db = `first-${round}`;
    const contenders = Array.from({ length: 6 }, (_, index) => {
      const database = new Database();
      const first = database.next({ 1: database.page(100 + index) }, { count: BigInt(1 + (index >> 1)) });
      return index % 2 ? first : database.snapshot();
    });
    const ship = async (segment) => {
      for (let attempt = 0; ; attempt++) {
        const answer = await put(db, segment);
        if (answer.status !== 503 || attempt === 30) return answer;
        await new Promise((later) => setTimeout(later, Math.random() * 100 * (attempt + 1)));
      }
    };
    const answers = await Promise.all(contenders.map(ship));
    assert.deepEqual(statuses(answers), [201, ...Array(5).fill(409)], JSON.stringify(answers.map(({ body }) => body)));
    const winner = contenders[answers.findIndex(({ status }) => status === 201)];
    assert.deepEqual((await get(`/v1/${db}`)).body.position, winner.position);
    assert.equal((await objects(db)).length, 1);
  }
});

test('many databases at once do not disturb each other', async () => {
  const ship = async (index) => {
    const database = new Database();
    for (let count = 0; count < 5; count++) {
      const answer = await put(`many-${index}`, database.next({ 1: database.page(index * 100 + count) }));
      assert.equal(answer.status, 201, JSON.stringify(answer.body));
    }
    assert.deepEqual((await get(`/v1/many-${index}`)).body.position, database.position);
  };
  await Promise.all(Array.from({ length: 20 }, (_, index) => ship(index)));
});
