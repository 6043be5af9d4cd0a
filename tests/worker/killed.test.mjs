// workerd is killed (SIGKILL, as by the loss of its machine) within each step of an upload and of upkeep, and starts again on
// what it left: what was confirmed is there, what was not complete is nowhere, and the same client goes on.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Application } from './support/application.mjs';
import { Database } from './support/database.mjs';
import { hex16 } from './support/ltx.mjs';
import { TOKENS, worker } from './support/worker.mjs';

const folder = mkdtempSync(join(tmpdir(), 'walferry-killed-'));
const state = join(folder, 'state');
const FAST = { ...TOKENS, WALFERRY_LEVELS: '400ms, 1200ms, 1h', WALFERRY_HISTORY_WINDOW: '800ms', WALFERRY_RAW_RETENTION: '300ms', WALFERRY_GRACE: '400ms', WALFERRY_SNAPSHOT_INTERVAL: '1h' };
let variables = TOKENS;
const start = () => worker({ from: 'worker-faults', state, variables });
let running = await start();
after(async () => {
  await running.stop();
  rmSync(folder, { recursive: true, force: true });
});
const { get, put, json, send, objects } = new Proxy({}, { get: (_, name) => (...args) => running[name](...args) });
const fault = async (path) => {
  const answer = await json('POST', `/v1/-/${path}`);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body;
};
const keys = async (db) => (await fault('keys')).filter((key) => key.startsWith(`${db}/`));

async function until(what, holds) {
  for (const end = Date.now() + 20_000; ;) {
    const found = await holds();
    if (found) return found;
    assert(Date.now() < end, `waited 20 s: ${what}`);
    await new Promise((later) => setTimeout(later, 25));
  }
}

/** Has `request` come to this point and stay there, kills workerd, and starts it again. */
async function killAt(point, request) {
  const before = await fault('reached');
  await fault(`arm/${point}/hang`);
  const answered = request().then(({ status }) => status, () => 0);
  await until(`${point} is reached`, async () => (await fault('reached')) > before);
  await running.kill();
  assert.equal(await answered, 0, `${point}: nothing is confirmed`);
  running = await start();
}

const search = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== undefined)).toString();
const putDb = (db, bytes, values = {}) => json('PUT', `/v1/${db}/db?${search(values)}`, { body: bytes });
const place = (answer) => Object.fromEntries([...new URLSearchParams(answer.headers.get('Walferry-Wal'))].map(([name, value]) => [name, Number(value)]));
const restored = async (db) => Buffer.from(await (await send('GET', `/v1/${db}/db`)).arrayBuffer());
const ship = (db, app, known) => {
  const wal = app.wal();
  const values = known.end === 32 ? { offset: 0, restarted_at: 32 } : { offset: known.offset };
  return json('POST', `/v1/${db}/wal?${search({ salt1: wal.readUInt32BE(16), salt2: wal.readUInt32BE(20), ...values })}`, { body: wal.subarray(values.offset) });
};

async function application(t, name, bytes) {
  const app = await Application.start(join(folder, `${name}.db`), 4096);
  t.after(() => app.end());
  await app.run('CREATE TABLE item (id INTEGER PRIMARY KEY, text BLOB)', `INSERT INTO item (text) VALUES (randomblob(${bytes}))`, 'PRAGMA wal_checkpoint(TRUNCATE)');
  return app;
}

test('bytes of a WAL are a state of the database, or nothing, and the next ones go on from there', { timeout: 120_000 }, async (t) => {
  const app = await application(t, 'wal', 20_000);
  let confirmed = app.file();
  let known = place(await putDb('wal', confirmed, app.index()));
  // What is longer goes into the bucket at once.
  for (const [point, size] of [['kept', 9000], ['raw_saved', 9000], ['intent_recorded', 90_000]]) {
    await app.run(`INSERT INTO item (text) VALUES (randomblob(${size}))`, 'UPDATE item SET text = randomblob(5000) WHERE id = 1');
    await killAt(point, () => ship('wal', app, known));
    const found = await restored('wal');
    const isThere = found.equals(app.state());
    assert(isThere || found.equals(confirmed), point);
    known = place(await get('/v1/wal/wal'));
    assert.equal(known.end === app.wal().length, isThere, `${point}: the place in the WAL is that of the state`);
    const sent = await ship('wal', app, known);
    assert.equal(sent.status, isThere ? 200 : 201, `${point}: ${JSON.stringify(sent.body)}`);
    // The sums of the pages are right, too.
    await app.run('UPDATE item SET text = randomblob(6000) WHERE id = 1');
    const next = await ship('wal', app, place(sent));
    assert.equal(next.status, 201, `${point}: ${JSON.stringify(next.body)}`);
    confirmed = app.state();
    assert((await restored('wal')).equals(confirmed), point);
    known = place(next);
  }
  // Killed once more where it finds out what the life before has done.
  await app.run('INSERT INTO item (text) VALUES (randomblob(90000))');
  await killAt('object_created', () => ship('wal', app, known));
  await killAt('settling', () => get('/v1/wal'));
  assert((await restored('wal')).equals(app.state()), 'the object is there, and is found');
});

test('a database file that comes in parts is there whole, or not at all, and is taken from its start', { timeout: 120_000 }, async (t) => {
  const app = await application(t, 'file', 11_000_000);
  const file = app.file();
  const send = async (db, from = 0) => {
    for (let offset = from; ;) {
      const answer = await putDb(db, file.subarray(offset, offset + 5_000_000), { offset, size: file.length, ...app.index() });
      if (answer.status !== 202) return answer;
      offset = answer.body.offset;
    }
  };
  for (const point of ['raw_part', 'raw_part_taken', 'completing', 'object_created', 'raw_saved']) {
    const db = `file-${point}`;
    await killAt(point, () => send(db));
    const isThere = ['object_created', 'committed', 'raw_saved'].includes(point);
    assert.equal((await get(`/v1/${db}`)).body.position.txid, hex16(isThere ? 1 : 0), point);
    assert.equal((await objects(db)).length, isThere ? 1 : 0, point);
    assert.deepEqual(await keys(db), isThere ? [`${db}/0009/${hex16(1)}-${hex16(1)}.ltx`] : [], point);
    if (!isThere) {
      const lost = await putDb(db, file.subarray(5_000_000, 6_000_000), { offset: 5_000_000, size: file.length, ...app.index() });
      assert.deepEqual([lost.status, lost.headers.get('Walferry-Offset')], [409, '0'], point);
      assert.equal((await send(db)).status, 201, point);
    }
    assert((await restored(db)).equals(file), point);
    assert.equal(place(await get(`/v1/${db}/wal`)).end, 32, `${point}: its WAL goes on from there`);
  }
});

test('who reads the bucket again, and gives what is kept away first, goes on with it', { timeout: 60_000 }, async () => {
  const database = new Database();
  for (let count = 0; count < 4; count++) assert.equal((await put('rebuilt', database.next())).status, 201);
  for (const point of ['given_away', 'bucket_listed']) {
    await killAt(point, () => json('POST', '/v1/rebuilt/rebuild'));
    assert.deepEqual((await get('/v1/rebuilt')).body.position, database.position, point);
    assert((await restored('rebuilt')).equals(Buffer.concat(database.pages)), point);
    assert.equal((await put('rebuilt', database.next())).status, 201, point);
  }
  assert.deepEqual((await json('POST', '/v1/rebuilt/rebuild')).body.position, database.position);
  assert.equal((await keys('rebuilt')).length, 6);
});

test('whatever is confirmed stays, whenever it comes', { timeout: 120_000 }, async () => {
  for (let round = 0; round < 3; round++) {
    const db = `any-${round}`;
    const database = new Database();
    const states = [database.position];
    let confirmed = 0;
    const last = new Promise((resolve) => setTimeout(resolve, 50 + 60 * round)).then(() => running.kill());
    try {
      for (;;) {
        // Some are kept, some go into the bucket.
        const segment = database.next(Object.fromEntries(Array.from({ length: states.length % 4 ? 1 : 140 }, (_, page) => [page + 1, database.page(1000 * states.length + page)])));
        states.push(database.position);
        const answer = await put(db, segment);
        assert.equal(answer.status, 201, JSON.stringify(answer.body));
        confirmed = states.length - 1;
      }
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
    }
    await last;
    running = await start();
    const { position } = (await get(`/v1/${db}`)).body;
    assert(position.txid >= hex16(confirmed), `${confirmed} were confirmed, ${position.txid} are there`);
    assert.deepEqual(position, states[Number(`0x${position.txid}`)] ?? states[0]);
    const whole = await send('GET', `/v1/${db}/db`);
    assert.equal(whole.status, position.txid === hex16(0) ? 404 : 200);
    await whole.arrayBuffer();
  }
});

const POINTS = ['upkeep_created', 'upkeep_committed', 'upkeep_leaving'];

test('short segments on their way into levels and bundles are in one place at least', { timeout: 120_000 }, async () => {
  await running.stop();
  variables = FAST;
  running = await start();
  for (const point of POINTS) {
    const db = point.replace('_', '-');
    const database = new Database();
    for (let page = 1; page <= 8; page++) database.pages.push(database.page(1000 + page));
    database.txid = 1n;
    assert.equal((await put(db, database.snapshot({ timestamp: Date.now() }))).status, 201);
    const before = await fault('reached');
    await fault(`arm/${point}/hang`);
    for (let count = 0; count < 4; count++) assert.equal((await put(db, database.next(undefined, { timestamp: Date.now() }))).status, 201);
    await until(`${point} is reached`, async () => (await fault('reached')) > before);
    await running.kill();
    running = await start();
    assert.deepEqual((await get(`/v1/${db}`)).body.position, database.position, point);
    const expected = Buffer.concat(database.pages);
    assert((await restored(db)).equals(expected), point);
    // Each moment, too.
    await until(`${point}: it is in order`, async () => {
      const listed = await objects(db);
      return listed.filter(({ level }) => level === 0).length <= 1 && !listed.some(({ level }) => level === 1);
    });
    for (let txid = 1; txid <= 5; txid++) assert.equal((await send('GET', `/v1/${db}/db?txid=${hex16(txid)}`)).status, 200, `${point}: transaction ${txid}`);
    assert((await restored(db)).equals(expected), point);
    const rebuilt = await json('POST', `/v1/${db}/rebuild`);
    assert.deepEqual(rebuilt.body.position, database.position, point);
    assert((await restored(db)).equals(expected), point);
    assert.equal((await put(db, database.next(undefined, { timestamp: Date.now() }))).status, 201, point);
  }
});
