// Databases shipped by curl: raw database files and raw bytes of a WAL, of real databases that SQLite writes.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Application } from './support/application.mjs';
import { hex16 } from './support/ltx.mjs';
import { code, worker } from './support/worker.mjs';

const { get, json, send, objects, raw } = await worker({ from: 'worker-faults' });
const folder = mkdtempSync(join(tmpdir(), 'walferry-raw-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const search = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== undefined)).toString();
const putDb = (db, bytes, values = {}) => json('PUT', `/v1/${db}/db?${search(values)}`, { body: bytes });
const postWal = (db, bytes, values) => json('POST', `/v1/${db}/wal?${search(values)}`, { body: bytes });
/** Where in its WAL the Worker says that it stands. */
const place = (answer) => Object.fromEntries([...new URLSearchParams(answer.headers.get('Walferry-Wal'))].map(([name, value]) => [name, Number(value)]));
const restored = async (db) => Buffer.from(await (await send('GET', `/v1/${db}/db`)).arrayBuffer());
const salts = (wal) => ({ salt1: wal.readUInt32BE(16), salt2: wal.readUInt32BE(20) });

/** A database whose file is shipped, and whose WAL has just started. */
async function shipped(name, { pageSize = 4096, sql = [] } = {}) {
  const app = await Application.start(join(folder, `${name}.db`), pageSize);
  await app.run('CREATE TABLE item (id INTEGER PRIMARY KEY, text BLOB)', ...sql, 'PRAGMA wal_checkpoint(TRUNCATE)');
  const first = await putDb(name, app.file(), { ...app.index() });
  assert.equal(first.status, 201, JSON.stringify(first.body));
  return { app, first };
}

/** What the client of the protocol sends: all that is committed, from where the Worker stands. */
async function ship(name, app, known, values = {}) {
  const wal = app.wal();
  const offset = values.offset ?? known.offset;
  return postWal(name, wal.subarray(offset), { ...salts(wal), offset, ...values });
}

test('a database file is the first snapshot, and restores as it is', async () => {
  const { app, first } = await shipped('first');
  assert.equal(first.body.position.txid, hex16(1));
  assert.deepEqual(await restored('first'), app.file());
  const [snapshot] = await objects('first');
  assert.equal(snapshot.level, 9);
  const again = await putDb('first', app.file());
  assert.equal(again.status, 409, JSON.stringify(again.body));
  assert.equal(code(again), 'position_mismatch');
  assert.deepEqual(again.body.error.head, first.body.position);
  await app.end();
});

test('what is committed is shipped by the bytes of the WAL, however often they are sent', async () => {
  const { app, first } = await shipped('follow');
  let known = place(first);
  for (let round = 0; round < 5; round++) {
    await app.run(`INSERT INTO item (text) VALUES (randomblob(${1000 + round * 5000}))`, 'UPDATE item SET text = randomblob(10) WHERE id = 1');
    const values = round === 0 ? { restarted_at: known.end, offset: 0 } : {};
    const sent = await ship('follow', app, known, values);
    assert.equal(sent.status, 201, JSON.stringify(sent.body));
    assert.equal(sent.body.position.txid, hex16(round + 2));
    known = place(sent);
    assert.equal(known.end, app.wal().length);
    for (const offset of [0, 32, known.offset]) {
      const again = await ship('follow', app, known, { offset });
      assert.equal(again.status, 200, JSON.stringify(again.body));
      assert.deepEqual(again.body.position, sent.body.position);
      assert.deepEqual(place(again), known);
    }
    assert.deepEqual(place(await get('/v1/follow/wal')), known);
    assert.deepEqual(await restored('follow'), app.state());
  }
  await app.end();
});

test('growth, VACUUM and shrinking come through the WAL', async () => {
  const { app, first } = await shipped('shrink', { pageSize: 512, sql: ['INSERT INTO item (text) VALUES (zeroblob(300000))', 'INSERT INTO item (text) VALUES (randomblob(100000))'] });
  let known = place(first);
  const steps = ['DELETE FROM item WHERE id = 1', 'VACUUM', 'INSERT INTO item (text) VALUES (zeroblob(500000))', 'CREATE TABLE other AS SELECT id, hex(text) FROM item WHERE id = 2', 'DROP TABLE other', 'VACUUM'];
  for (const [round, sql] of steps.entries()) {
    await app.run(sql);
    const sent = await ship('shrink', app, known, round === 0 ? { restarted_at: known.end, offset: 0 } : {});
    assert.equal(sent.status, 201, `${sql}: ${JSON.stringify(sent.body)}`);
    known = place(sent);
    assert.deepEqual(await restored('shrink'), app.state(), sql);
  }
  await app.end();
});

test('frames of a transaction that is open are no error, and come again', async () => {
  const { app, first } = await shipped('open');
  await app.run('INSERT INTO item (text) VALUES (randomblob(9000))');
  let known = place(await ship('open', app, place(first), { restarted_at: place(first).end, offset: 0 }));
  await app.run('PRAGMA cache_size = 5', 'BEGIN', 'INSERT INTO item (text) SELECT randomblob(3000) FROM (SELECT 1 FROM sqlite_schema, (VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15), (16), (17), (18), (19), (20)))');
  assert(app.wal().length > known.end, 'the cache spilled');
  const open = await ship('open', app, known);
  assert.equal(open.status, 200, JSON.stringify(open.body));
  assert.deepEqual(place(open), known);
  await app.run('COMMIT');
  const done = await ship('open', app, known);
  assert.equal(done.status, 201, JSON.stringify(done.body));
  assert.deepEqual(await restored('open'), app.state());
  await app.end();
});

test('a WAL that started again is taken only from who knows where it ended', async () => {
  const { app, first } = await shipped('restart');
  await app.run('INSERT INTO item (text) VALUES (randomblob(9000))');
  let known = place(await ship('restart', app, place(first), { restarted_at: place(first).end, offset: 0 }));
  await app.run('PRAGMA wal_checkpoint(RESTART)', "INSERT INTO item (text) VALUES ('next')");
  assert.equal(salts(app.wal()).salt1, known.salt1 + 1);
  for (const values of [{ offset: 0 }, { offset: 0, restarted_at: known.end - 4120 }, { offset: 0, restarted_at: 32 }, { offset: known.offset, restarted_at: known.end - 1 }]) {
    const refused = await ship('restart', app, known, values);
    assert.equal(refused.status, 409, JSON.stringify(refused.body));
    assert.equal(code(refused), 'wal_restarted');
    assert.deepEqual(place(refused), known, 'it says what it holds');
    assert.equal(refused.body.error.head.txid, hex16(2));
  }
  const taken = await ship('restart', app, known, { offset: 0, restarted_at: known.end });
  assert.equal(taken.status, 201, JSON.stringify(taken.body));
  assert.deepEqual(await restored('restart'), app.state());
  known = place(taken);

  await app.run('PRAGMA wal_checkpoint(RESTART)', "INSERT INTO item (text) VALUES ('missed')", 'PRAGMA wal_checkpoint(RESTART)', "INSERT INTO item (text) VALUES ('after')");
  const missed = await ship('restart', app, known, { offset: 0, restarted_at: known.end });
  assert.equal(missed.status, 409, 'twice: no client can know what came between');
  assert.equal(code(missed), 'wal_restarted');

  // The file makes up for it: the pages that differ are taken.
  await app.run('PRAGMA wal_checkpoint(TRUNCATE)');
  const { position } = (await get('/v1/restart')).body;
  const resent = await putDb('restart', app.file(), { after: position.txid, ...app.index() });
  assert.equal(resent.status, 201, JSON.stringify(resent.body));
  assert.deepEqual(await restored('restart'), app.file());
  const raws = (await objects('restart')).filter(({ level }) => level === 0);
  assert(raws.at(-1).size < app.file().length / 2, 'not the whole of it');
  await app.run("INSERT INTO item (text) VALUES ('goes on')");
  const goesOn = await ship('restart', app, place(resent), { offset: 0 });
  assert.equal(goesOn.status, 201, JSON.stringify(goesOn.body));
  assert.deepEqual(await restored('restart'), app.state());
  await app.end();
});

test('tampered frames, gaps and foreign bytes change nothing', async () => {
  const { app, first } = await shipped('tamper');
  await app.run('INSERT INTO item (text) VALUES (randomblob(9000))');
  const known = place(await ship('tamper', app, place(first), { restarted_at: place(first).end, offset: 0 }));
  await app.run('INSERT INTO item (text) VALUES (randomblob(9000))');
  const wal = app.wal();
  const before = await get('/v1/tamper');
  const sent = (bytes, values = {}) => postWal('tamper', bytes, { ...salts(wal), offset: known.offset, ...values });
  const flipped = (at) => {
    const bytes = Buffer.from(wal.subarray(known.offset));
    bytes[at] ^= 1;
    return bytes;
  };
  // In the frame that is held: its salts, its checksum.
  for (const at of [8, 15, 16, 23]) {
    const answer = await sent(flipped(at));
    assert.equal(answer.status, 409, JSON.stringify(answer.body));
    assert.equal(code(answer), 'wal_diverged');
    assert.deepEqual(place(answer), known);
  }
  // In the first frame that is new: there the WAL ends.
  for (const at of [4120, 4124, 4128, 4136, 4140, 4144, 4144 + 4095]) {
    const answer = await sent(flipped(at));
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    assert.deepEqual(place(answer), known);
  }
  const gap = await sent(wal.subarray(known.end), { offset: known.end });
  assert.equal(gap.status, 409);
  assert.equal(code(gap), 'wal_gap');
  const shifted = await sent(wal.subarray(known.offset + 24));
  assert.equal(code(shifted), 'wal_diverged');
  const foreign = await sent(wal, { salt1: 1, salt2: 2, offset: 0 });
  assert.equal(code(foreign), 'wal_restarted');
  for (const values of [{ salt1: undefined }, { offset: undefined }, { salt2: 'x' }, { salt1: -1 }, { salt1: 2 ** 32 }, { restarted_at: 'x' }, { frame: 1 }]) {
    const bad = await sent(wal, values);
    assert.equal(bad.status, 400, JSON.stringify([values, bad.body]));
    code(bad);
  }
  const { salt1, salt2 } = salts(wal);
  const unsized = await raw(`/v1/tamper/wal?${search({ salt1, salt2, offset: 0 })}`, { Authorization: 'Bearer the-write-token', 'Transfer-Encoding': 'chunked' }, [wal], 'POST');
  assert.equal(unsized.status, 411);
  const huge = await raw(`/v1/tamper/wal?${search({ salt1, salt2, offset: 0 })}`, { Authorization: 'Bearer the-write-token', 'Content-Length': (100 << 20) + 1 }, [Buffer.alloc((100 << 20) + 1)], 'POST');
  assert.equal(huge.status, 413, JSON.stringify(huge));
  assert.deepEqual((await get('/v1/tamper')).body, before.body);
  assert.equal((await sent(wal.subarray(known.offset))).status, 201);
  assert.deepEqual(await restored('tamper'), app.state());
  await app.end();
});

test('files that are no databases are refused', async () => {
  const { app } = await shipped('valid');
  const file = app.file();
  const changed = (at, byte) => {
    const bytes = Buffer.from(file);
    bytes[at] = byte;
    return bytes;
  };
  for (const bytes of [Buffer.from('x'), Buffer.alloc(4096), changed(0, 0x54), changed(16, 0), changed(16, 0x21), file.subarray(0, -1), changed(31, file[31] + 1)]) {
    const answer = await putDb('invalid', bytes);
    assert.equal(answer.status, 422, JSON.stringify(answer.body));
    assert.equal(code(answer), 'invalid_database');
  }
  const partly = await putDb('invalid', file, { salt1: 1 });
  assert.equal(partly.status, 400);
  assert.deepEqual(await objects('invalid'), []);
  assert.equal((await putDb('invalid', file)).status, 201);
  const unknown = await postWal('invalid', Buffer.alloc(32), { salt1: 1, salt2: 2, offset: 0 });
  assert.equal(unknown.status, 409);
  assert.equal(code(unknown), 'wal_unknown');
  await app.end();
});

test('a file of many parts, and a transaction of many megabytes', { timeout: 120_000 }, async () => {
  const { app, first } = await shipped('large', { sql: ['INSERT INTO item (text) VALUES (randomblob(24000000))'] });
  assert.deepEqual(await restored('large'), app.file());
  let known = place(first);
  await app.run('INSERT INTO item (text) VALUES (randomblob(6000000))', 'INSERT INTO item (text) VALUES (randomblob(6000000))', "INSERT INTO item (text) VALUES ('end')");
  let sent = await ship('large', app, known, { restarted_at: known.end, offset: 0 });
  let count = 0;
  for (; place(sent).end < app.wal().length; count++) {
    assert.equal(sent.status, 201, JSON.stringify(sent.body));
    assert(count < 5);
    sent = await ship('large', app, place(sent));
  }
  assert(count > 0, 'it was too much for one segment');
  assert.deepEqual(await restored('large'), app.state());
  await app.run('INSERT INTO item (text) VALUES (randomblob(30000000))');
  const refused = await ship('large', app, place(sent));
  assert.equal(refused.status, 413, JSON.stringify(refused.body));
  assert.equal(code(refused), 'transaction_too_large');
  await app.end();
});

test('what others shipped in between ends the place in the WAL, and the file brings it back', async () => {
  const { app, first } = await shipped('between');
  const known = place(first);
  await app.run("INSERT INTO item (text) VALUES ('one')");
  assert.equal((await ship('between', app, known, { restarted_at: known.end, offset: 0 })).status, 201);
  await app.run("INSERT INTO item (text) VALUES ('two')", 'PRAGMA wal_checkpoint(TRUNCATE)');
  const { txid } = (await get('/v1/between')).body.position;
  assert.equal((await putDb('between', app.file(), { after: txid })).status, 201, 'without a place in the WAL');
  assert.equal((await get('/v1/between/wal')).headers.get('Walferry-Wal'), null);
  await app.run("INSERT INTO item (text) VALUES ('three')");
  const unknown = await ship('between', app, known, { offset: 0 });
  assert.equal(code(unknown), 'wal_unknown');
  await app.run('PRAGMA wal_checkpoint(TRUNCATE)');
  const again = await putDb('between', app.file(), { after: hex16(BigInt(`0x${txid}`) + 1n), ...app.index() });
  assert.equal(again.status, 201, JSON.stringify(again.body));
  assert.deepEqual(await restored('between'), app.file());
  await app.end();
});

const arm = async (point) => assert.equal((await json('POST', `/v1/-/arm/${point}/panic`)).status, 200);

test('cut off at any point, an upload of a WAL is there whole or not at all, and the next goes on', { timeout: 120_000 }, async () => {
  const { app, first } = await shipped('faults');
  let known = place(first);
  // What is longer goes into the bucket at once.
  for (const [point, size] of [['raw_cut', 9000], ['kept', 9000], ['intent_recorded', 90_000], ['object_created', 90_000], ['committed', 90_000], ['raw_saved', 9000]]) {
    await app.run(`INSERT INTO item (text) VALUES (randomblob(${size}))`, 'UPDATE item SET text = randomblob(5000) WHERE id = 1');
    const again = () => (known.end === 32 ? { restarted_at: known.end, offset: 0 } : {});
    await arm(point);
    const died = await ship('faults', app, known, again());
    assert.equal(died.status, 503, `${point}: ${JSON.stringify(died.body)}`);
    known = place(await get('/v1/faults/wal'));
    const sent = await ship('faults', app, known, again());
    assert([200, 201].includes(sent.status), `${point}: ${JSON.stringify(sent.body)}`);
    known = place(sent);
    assert.equal(known.end, app.wal().length, point);
    assert.deepEqual(await restored('faults'), app.state(), point);
    // The sums of the pages are right, too.
    await app.run('UPDATE item SET text = randomblob(6000) WHERE id = 1');
    const next = await ship('faults', app, known);
    assert.equal(next.status, 201, `${point}: ${JSON.stringify(next.body)}`);
    known = place(next);
    assert.deepEqual(await restored('faults'), app.state(), point);
  }
  await app.end();
});

test('cut off at any point, a database file is there whole or not at all', { timeout: 120_000 }, async () => {
  const app = await Application.start(join(folder, 'faulty-file.db'), 4096);
  await app.run('CREATE TABLE item (id INTEGER PRIMARY KEY, text BLOB)', 'INSERT INTO item (text) VALUES (randomblob(12000000))', 'PRAGMA wal_checkpoint(TRUNCATE)');
  for (const point of ['raw_part', 'raw_cut', 'intent_recorded', 'object_created', 'committed', 'raw_saved']) {
    const db = `file-${point}`;
    await arm(point);
    const died = await putDb(db, app.file(), app.index());
    assert.equal(died.status, 503, `${point}: ${JSON.stringify(died.body)}`);
    const head = await get(`/v1/${db}`);
    if (head.body.position.txid === hex16(0)) {
      assert.deepEqual(await objects(db), [], point);
      assert.equal((await putDb(db, app.file(), app.index())).status, 201, point);
    }
    assert.equal((await objects(db)).length, 1, point);
    const file = app.file();
    assert((await restored(db)).equals(file), point);
    await app.run(`INSERT INTO item (text) VALUES ('${point}')`);
    const known = place(await get(`/v1/${db}/wal`));
    const next = await ship(db, app, known, { offset: 0, restarted_at: known.end });
    assert.equal(next.status, 201, `${point}: ${JSON.stringify(next.body)}`);
    assert((await restored(db)).equals(app.state()), point);
    await app.run('PRAGMA wal_checkpoint(TRUNCATE)');
  }
  await app.end();
});

/** A database file that is sent in parts. */
async function inParts(name, shared) {
  const app = shared ?? (await Application.start(join(folder, `${name}.db`), 4096));
  if (!shared) await app.run('CREATE TABLE item (id INTEGER PRIMARY KEY, text BLOB)', 'INSERT INTO item (text) VALUES (randomblob(16000000))', 'PRAGMA wal_checkpoint(TRUNCATE)');
  const file = app.file();
  const part = (offset, length, values = {}) => putDb(name, file.subarray(offset, offset + length), { offset, size: file.length, ...app.index(), ...values });
  /** From there on, and what the last one is answered. */
  const rest = async (offset, length, values) => {
    for (;;) {
      const answer = await part(offset, length, values);
      if (answer.status !== 202) return answer;
      assert.equal(answer.body.offset, Math.min(offset + length, file.length));
      assert.deepEqual(await objects(name), [], 'nothing is there before the end');
      offset = answer.body.offset;
    }
  };
  return { app, file, part, rest };
}
const offsetOf = (answer) => Number(answer.headers.get('Walferry-Offset'));

test('a database file comes in parts of any length, and its WAL goes on from there', { timeout: 120_000 }, async () => {
  const { app, file, part, rest } = await inParts('parts');
  const done = await rest(0, 3_333_333);
  assert.equal(done.status, 201, JSON.stringify(done.body));
  assert((await restored('parts')).equals(file));
  await app.run("INSERT INTO item (text) VALUES ('next')");
  const known = place(done);
  assert.equal((await ship('parts', app, known, { offset: 0, restarted_at: known.end })).status, 201);
  assert((await restored('parts')).equals(app.state()));
  // The same file, later: of its pages those that differ.
  await app.run('PRAGMA wal_checkpoint(TRUNCATE)', 'UPDATE item SET text = zeroblob(6000000) WHERE id = 1', 'PRAGMA wal_checkpoint(TRUNCATE)');
  assert.equal(code(await part(0, 5_000_000)), 'position_mismatch');
  const { txid } = (await get('/v1/parts')).body.position;
  const smaller = app.file();
  let answer;
  for (let offset = 0; offset < smaller.length; offset += 9_000_000) answer = await putDb('parts', smaller.subarray(offset, offset + 9_000_000), { offset, size: smaller.length, after: txid, ...app.index() });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  assert((await restored('parts')).equals(smaller));
  await app.end();
});

test('a part of a file that breaks off counts as far as it came; what does not go on there is told where to', { timeout: 120_000 }, async () => {
  const { app, file, part, rest } = await inParts('broken');
  assert.equal((await part(0, 7_000_000)).status, 202);
  for (const offset of [0.5e6, 7_000_001, 14_000_000]) {
    const wrong = await part(offset, 1_000_000);
    assert.equal(wrong.status, 409, JSON.stringify(wrong.body));
    assert.deepEqual([code(wrong), offsetOf(wrong)], ['wrong_offset', 7_000_000]);
  }
  // Of another state of the database, or another size: that begins at its start.
  for (const values of [{ frame: 1 }, { size: file.length + 4096 }]) assert.equal(offsetOf(await part(7_000_000, 1_000_000, values)), 0);
  const path = `/v1/broken/db?${search({ offset: 7_000_000, size: file.length, ...app.index() })}`;
  await raw(path, { Authorization: 'Bearer the-write-token', 'Content-Length': 6_000_000 }, [file.subarray(7_000_000, 9_500_000), null]);
  const where = offsetOf(await part(1, 10));
  assert(where >= 7_000_000 && where <= 9_500_000, `${where}`);
  for (const [offset, length, size] of [[0, 100, 99], [where, 0, file.length], [where, 100, where + 99]]) {
    const bad = await part(offset, length, { size });
    assert.equal(bad.status, 400, JSON.stringify([offset, length, size, bad.body]));
    code(bad);
  }
  assert.equal((await putDb('broken', file.subarray(0, 1000), { offset: 0 })).status, 400);
  const done = await rest(where, 4_000_000);
  assert.equal(done.status, 201, JSON.stringify(done.body));
  assert((await restored('broken')).equals(file));
  await app.end();
});

test('cut off at any point, a file in parts goes on or begins again, and is right', { timeout: 120_000 }, async () => {
  const { app, file } = await inParts('parts-faults');
  for (const point of ['raw_part', 'raw_part_taken', 'raw_cut', 'object_created']) {
    const { part, rest } = await inParts(`parts-${point}`, app);
    assert.equal((await part(0, 6_000_000)).status, 202);
    await arm(point);
    // Whoever still sends when the instance dies may see a broken connection instead.
    const died = await rest(6_000_000, 6_000_000).catch((error) => error);
    assert(died.status === 503 || died.message === 'fetch failed', `${point}: ${died.status ?? died.message}`);
    const db = `/v1/parts-${point}`;
    if ((await get(db).catch(() => get(db))).body.position.txid === hex16(0)) {
      assert.equal(offsetOf(await part(12_000_000, 1000)), 0, 'the object has forgotten');
      assert.equal((await rest(0, 6_000_000)).status, 201, point);
    }
    assert((await restored(`parts-${point}`)).equals(file), point);
  }
  await app.end();
});

test('two that send the same file at once do not mix: the later one takes over', { timeout: 120_000 }, async () => {
  const { app, file, part, rest } = await inParts('twice');
  const path = `/v1/twice/db?${search({ offset: 0, size: file.length, ...app.index() })}`;
  let letGo;
  const slow = raw(path, { Authorization: 'Bearer the-write-token', 'Content-Length': 3_000_000 }, [file.subarray(0, 1_000_000), new Promise((go) => (letGo = go)), Buffer.alloc(2_000_000)]);
  await new Promise((later) => setTimeout(later, 200));
  const first = await part(0, 6_000_000);
  letGo();
  assert.equal(first.status, 202, JSON.stringify(first.body));
  const { status, body } = await slow;
  assert.deepEqual([status, body.error.code], [503, 'upload_under_way']);
  assert.equal((await rest(6_000_000, 6_000_000)).status, 201);
  assert((await restored('twice')).equals(file));
  await app.end();
});

test('an upload that hangs up leaves nothing', async () => {
  const app = await Application.start(join(folder, 'hang-up.db'), 4096);
  await app.run('CREATE TABLE item (id INTEGER PRIMARY KEY, text BLOB)', 'INSERT INTO item (text) VALUES (randomblob(300000))', 'PRAGMA wal_checkpoint(TRUNCATE)');
  const file = app.file();
  await raw('/v1/hang-up/db', { Authorization: 'Bearer the-write-token', 'Content-Length': file.length }, [file.subarray(0, 100_000), null]);
  assert.deepEqual(await objects('hang-up'), []);
  const first = await putDb('hang-up', file, app.index());
  assert.equal(first.status, 201);
  await app.run('INSERT INTO item (text) VALUES (randomblob(300000))');
  const wal = app.wal();
  await raw(`/v1/hang-up/wal?${search({ ...salts(wal), offset: 0, restarted_at: 32 })}`, { Authorization: 'Bearer the-write-token', 'Content-Length': wal.length }, [wal.subarray(0, 150_000), null], 'POST');
  assert.deepEqual((await get('/v1/hang-up')).body.position, first.body.position);
  assert.equal((await ship('hang-up', app, place(first), { offset: 0, restarted_at: 32 })).status, 201);
  assert.deepEqual(await restored('hang-up'), app.state());
  await app.end();
});
