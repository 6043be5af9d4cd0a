// No byte of a segment can be changed unnoticed, and what is refused leaves nothing behind.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Database } from './support/database.mjs';
import { code, worker } from './support/worker.mjs';

const { put, get, objects, raw } = await worker();

const FIELDS = {
  magic: [0, 4], flags: [4, 8], page_size: [8, 12], commit: [12, 16], min_txid: [16, 24], max_txid: [24, 32], timestamp: [32, 40],
  checksum_before: [40, 48], wal_offset: [48, 56], wal_size: [56, 64], salts: [64, 72], node: [72, 80], tag: [80, 84], sum_before: [84, 92], sum_after: [92, 100],
};

/** What is there afterwards must be what was there before. */
async function refusedWithoutTrace(db, segment, why, before) {
  const answer = await put(db, segment);
  assert(answer.status >= 400 && answer.status < 500, `${why}: ${answer.status} ${JSON.stringify(answer.body)}`);
  code(answer);
  assert.deepEqual(await objects(db), before, why);
}

for (const [kind, prepare] of [
  ['a first segment', async () => [new Database(), []]],
  ['a later segment', async (db) => {
    const database = new Database();
    await put(db, database.next({ 1: database.page(1), 2: database.page(2) }));
    return [database, await objects(db)];
  }],
]) {
  const db = kind.replaceAll(' ', '-');

  test(`${kind}: every bit of every header field counts`, async () => {
    const [database, before] = await prepare(`${db}-header`);
    const good = database.next({ 1: database.page(5), 2: database.page(6) });
    for (const [field, [start, end]] of Object.entries(FIELDS)) {
      for (let at = start; at < end; at++) {
        for (const bit of [0, 7]) {
          const bytes = Buffer.from(good.bytes);
          bytes[at] ^= 1 << bit;
          await refusedWithoutTrace(`${db}-header`, { ...good, bytes }, `${field}, byte ${at}, bit ${bit}`, before);
        }
      }
    }
    assert.equal((await put(`${db}-header`, good)).status, 201);
  });

  test(`${kind}: every byte behind it counts, and every length`, async () => {
    const [database, before] = await prepare(`${db}-body`);
    const good = database.next({ 1: database.page(5), 2: database.page(6) });
    for (let at = 100; at < good.bytes.length; at += at > good.bytes.length - 80 ? 1 : 7) {
      const bytes = Buffer.from(good.bytes);
      bytes[at] ^= 1 + (at % 255);
      await refusedWithoutTrace(`${db}-body`, { ...good, bytes }, `byte ${at}`, before);
    }
    for (let length = 0; length < good.bytes.length; length += length > good.bytes.length - 80 ? 1 : 13) {
      await refusedWithoutTrace(`${db}-body`, { ...good, bytes: good.bytes.subarray(0, length) }, `cut to ${length}`, before);
    }
    assert.equal((await put(`${db}-body`, good)).status, 201);
  });
}

// Of several chunks, and beyond the size that is held in memory.
const large = () => {
  const database = new Database({ pageSize: 4096 });
  const changes = Object.fromEntries(Array.from({ length: 700 }, (_, index) => [index + 1, database.page(index + 1)]));
  return [database, database.next(changes)];
};

test('a large segment: a sample of its bytes, and cuts', async () => {
  const [, good] = large();
  assert(good.bytes.length > 2 << 20);
  const positions = Array.from({ length: 24 }, (_, index) => Math.floor((good.bytes.length - 1) * (index / 23)));
  for (const at of [...positions, good.bytes.length - 17, good.bytes.length - 20]) {
    const bytes = Buffer.from(good.bytes);
    bytes[at] ^= 0x10;
    await refusedWithoutTrace('large', { ...good, bytes }, `byte ${at}`, []);
  }
  for (const length of [(1 << 20) + 1, good.bytes.length >> 1, good.bytes.length - 17, good.bytes.length - 16, good.bytes.length - 1]) {
    await refusedWithoutTrace('large', { ...good, bytes: good.bytes.subarray(0, length) }, `cut to ${length}`, []);
  }
  const longer = Buffer.concat([good.bytes, Buffer.alloc(1)]);
  await refusedWithoutTrace('large', { ...good, bytes: longer }, 'longer', []);
  assert.equal((await put('large', good)).status, 201);
  assert.equal((await put('large', good)).status, 200);
});

const authorization = { Authorization: 'Bearer the-write-token' };

test('without Content-Length it is 411', async () => {
  const segment = new Database().next();
  const answer = await raw(`/v1/unknown-length/ltx/${segment.name}`, { ...authorization, 'Transfer-Encoding': 'chunked' }, [segment.bytes]);
  assert.equal(answer.status, 411);
  assert.equal(code(answer), 'length_required');
  assert.equal((await objects('unknown-length')).length, 0);
});

test('what is larger than the limit is 413, before it is sent', async () => {
  const segment = new Database().next();
  const answer = await raw(`/v1/too-large/ltx/${segment.name}`, { ...authorization, 'Content-Length': (100 << 20) + 1 }, [segment.bytes, null]);
  // Whoever hangs up may not see the answer; who waits does.
  if (!answer.error) assert.equal(code(answer), 'too_large');
  assert.equal((await objects('too-large')).length, 0);
});

for (const [kind, make] of [['small', () => [null, new Database().next()]], ['large', large]]) {
  test(`a client that hangs up in a ${kind} segment leaves nothing, and the next is served`, async () => {
    const [, { name, bytes }] = make();
    for (const part of [0, 50, 150, bytes.length >> 1, bytes.length - 16, bytes.length - 1]) {
      const headers = { ...authorization, 'Content-Length': bytes.length };
      await raw(`/v1/hang-up-${kind}/ltx/${name}`, headers, [bytes.subarray(0, part), null]);
    }
    await new Promise((later) => setTimeout(later, 300));
    assert.deepEqual(await objects(`hang-up-${kind}`), []);
    assert.equal((await put(`hang-up-${kind}`, { name, bytes })).status, 201);
  });
}

test('a segment that comes byte by byte is as good as any', async () => {
  const { name, bytes } = new Database().next();
  const pieces = [bytes.subarray(0, 1), bytes.subarray(1, 99), bytes.subarray(99, 101), bytes.subarray(101, -17), bytes.subarray(-17, -1), bytes.subarray(-1)];
  const answer = await raw(`/v1/pieces/ltx/${name}`, { ...authorization, 'Content-Length': bytes.length }, pieces);
  assert.equal(answer.status, 201, JSON.stringify(answer));
  const stored = await get('/v1/pieces');
  assert.equal(stored.body.bytes, bytes.length);
});
