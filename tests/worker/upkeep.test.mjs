// Upkeep by alarm, on real workerd and with real time: levels, bundles, snapshots and deletions, wherever it is cut off.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Database } from './support/database.mjs';
import { hex16 } from './support/ltx.mjs';
import { TOKENS, code, worker } from './support/worker.mjs';

const FAST = {
  ...TOKENS,
  WALFERRY_LEVELS: '400ms, 1200ms, 1h',
  WALFERRY_HISTORY_WINDOW: '800ms',
  WALFERRY_RAW_RETENTION: '300ms',
  WALFERRY_GRACE: '400ms',
  WALFERRY_SNAPSHOT_INTERVAL: '1h',
};
const state = await mkdtemp(join(tmpdir(), 'walferry-upkeep-'));
const start = (variables = FAST) => worker({ from: 'worker-faults', state, variables });
let running = await start();
after(async () => {
  await running.stop();
  await rm(state, { recursive: true, force: true });
});
async function restart(variables) {
  await running.stop();
  running = await start(variables);
}
const { put, get, json, objects } = new Proxy({}, { get: (_, name) => (...args) => running[name](...args) });
const fault = async (path, options) => {
  const answer = await json('POST', `/v1/-/${path}`, options);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body;
};
const keys = async (db) => (await fault('keys')).filter((key) => key.startsWith(`${db}/`));
const pause = (milliseconds) => new Promise((later) => setTimeout(later, milliseconds));
const bundles = async (db) => (await get(`/v1/${db}/ltx?level=10`)).body.segments;
const at = (level) => (segment) => segment.level === level;

async function until(what, holds) {
  for (const end = Date.now() + 20_000; ;) {
    const found = await holds();
    if (found) return found;
    assert(Date.now() < end, `waited 20 s: ${what}`);
    await pause(50);
  }
}

/** Ships what is now. */
async function ship(db, database, changes) {
  const segment = database.next(changes, { timestamp: Date.now() });
  for (let attempt = 0; ; attempt++) {
    const answer = await put(db, segment);
    if (answer.status === 201 || answer.status === 200) return segment;
    assert(attempt < 20 && answer.status === 503, JSON.stringify(answer.body));
    await pause(20);
  }
}

async function first(db, database = new Database()) {
  for (let page = 1; page <= 8; page++) database.pages.push(database.page(1000 + page));
  database.txid = 1n;
  assert.equal((await put(db, database.snapshot({ timestamp: Date.now() }))).status, 201);
  return database;
}

/** The bucket is what is listed, and the head counts it. */
async function isTidy(db) {
  const listed = [...await objects(db), ...await bundles(db)];
  const [names, there] = [listed.map(keyOf).map((key) => `${db}/${key}`), await keys(db)];
  assert.deepEqual(there.filter((key) => !names.includes(key)), [], 'all that is in the bucket is listed');
  // What is not there is kept by the object.
  for (const [at, name] of names.entries()) assert(there.includes(name) || listed[at].level === 0, `${name} is nowhere`);
  for (const segment of listed) assert.equal((await running.send('GET', `/v1/${db}/ltx/${nameOf(segment)}`)).status, 200);
  const { body } = await get(`/v1/${db}`);
  assert.deepEqual([body.segments, body.bytes], [listed.length, listed.reduce((sum, { size }) => sum + size, 0)]);
}
/** One raw segment alone is in no bundle: that would be another copy. */
const isSettled = (listed) => listed.filter(at(0)).length <= 1 && !listed.some(at(1));
const nameOf = ({ level, min_txid: min, max_txid: max }) => `${level}/${min}-${max}.${level === 10 ? 'bundle' : 'ltx'}`;
const keyOf = ({ level, min_txid: min, max_txid: max }) => `${level.toString(16).padStart(4, '0')}/${min}-${max}.${level === 10 ? 'bundle' : 'ltx'}`;

test('raw segments become levels and bundles, and go; then there is no alarm', async () => {
  const database = await first('levels');
  for (let count = 0; count < 12; count++) {
    await ship('levels', database);
    await pause(100);
  }
  const settled = await until('only the levels are left', async () => {
    const listed = await objects('levels');
    return isSettled(listed) && listed;
  });
  assert(settled.some(at(2)) && settled.filter(at(9)).length === 1, JSON.stringify(settled));
  const held = await bundles('levels');
  assert(held.length >= 1);
  const exact = [...held, ...settled.filter(at(0))];
  for (let txid = 2; txid <= 13; txid++) {
    assert(exact.some(({ min_txid: min, max_txid: max }) => min <= hex16(txid) && hex16(txid) <= max), `transaction ${txid} is in a bundle, or raw`);
  }
  assert.deepEqual((await get('/v1/levels')).body.position, database.position);
  await isTidy('levels');
  // Only what becomes of level 3 is due, in an hour.
  const next = await fault('alarm/levels');
  assert(next > Date.now() + 60_000 || next === null, `${next - Date.now()}`);
  // It goes on from there.
  await ship('levels', database);
  assert.deepEqual((await get('/v1/levels')).body.position, database.position);
});

test('a database that nobody writes has no alarm', async () => {
  await first('idle');
  await until('there is nothing to wait for', async () => (await fault('alarm/idle')) === null);
  assert.equal((await get('/v1/idle')).status, 200);
  assert.equal(await fault('alarm/idle'), null);
});

const POINTS = ['upkeep_begun', 'upkeep_noted', 'upkeep_created', 'upkeep_committed', 'upkeep_leaving', 'upkeep_deleted'];

for (const end of ['panic', 'hang']) {
  test(`whatever it does when it ends by a ${end}, it is done in the next life`, async () => {
    const databases = [];
    for (const point of POINTS) {
      const db = `cut-${end}-${point}`;
      const database = await first(db);
      databases.push([db, database]);
      const before = await fault('reached');
      await fault(`arm/${point}/${end}`);
      for (let count = 0; count < 4; count++) {
        await ship(db, database);
        await pause(60);
      }
      if (end === 'hang') {
        await until(`${point} is reached`, async () => (await fault('reached')) > before);
        await restart();
      }
    }
    for (const [db, database] of databases) {
      await until(`${db} is in order`, async () => {
        const listed = await objects(db);
        return isSettled(listed) && listed.some(at(2)) && (await bundles(db)).length > 0;
      });
      assert.deepEqual((await get(`/v1/${db}`)).body.position, database.position);
      await isTidy(db);
      const rebuilt = await json('POST', `/v1/${db}/rebuild`);
      assert.equal(rebuilt.status, 200, JSON.stringify(rebuilt.body));
      assert.deepEqual(rebuilt.body.position, database.position);
      await isTidy(db);
      await ship(db, database);
    }
  });
}

test('an alarm that fails over and over waits longer, says why, and recovers', async () => {
  const database = await first('fails');
  const way = `fails/0001/${hex16(2)}-${hex16(3)}.ltx`;
  await ship('fails', database);
  // What upkeep will make is in the bucket already, and it is something else.
  for (let max = 2; max < 8; max++) await fault(`plant/${way.replace(hex16(3), hex16(max))}`, { body: 'nothing that anyone wants' });
  await ship('fails', database);
  const { upkeep } = await until('ten failures', async () => {
    const { body } = await get('/v1/fails');
    return body.upkeep?.failures >= 10 && body;
  });
  assert.match(upkeep.error, /An object 1\/.* is in the bucket that is not of this replica/);
  assert((await fault('alarm/fails')) - Date.now() > 20, 'it waits');
  assert.equal((await put('fails', database.next(undefined, { timestamp: Date.now() }))).status, 201, 'uploads go on');
  for (let max = 2; max < 8; max++) await fault(`uproot/${way.replace(hex16(3), hex16(max))}`);
  await until('it recovers', async () => (await objects('fails')).some(at(1)) && !(await get('/v1/fails')).body.upkeep);
  assert.deepEqual((await get('/v1/fails')).body.position, database.position);
});

test('a damaged segment ends no upkeep: it is left aside, and nothing that could replace it goes', async () => {
  const database = await first('damaged');
  const segments = [];
  await restart({ ...FAST, WALFERRY_SHORT_SEGMENTS: 'bucket' });
  await fault('arm/upkeep_begun/hang');
  for (let count = 0; count < 4; count++) segments.push(await ship('damaged', database));
  const bytes = Buffer.from(segments[1].bytes);
  bytes[200] ^= 1;
  await fault(`plant/damaged/000${segments[1].name}`, { body: bytes });
  await restart();
  await until('the rest is merged', async () => (await objects('damaged')).some((segment) => segment.level >= 1 && segment.min_txid === hex16(4)));
  const raw = (await objects('damaged')).filter(at(0));
  assert(raw.some((segment) => segment.min_txid === hex16(3)), JSON.stringify(raw));
});

test('wrong settings stop upkeep, and nothing else; the sentence names the variable', async () => {
  await restart({ ...FAST, WALFERRY_LEVELS: '30s, 10s' });
  const database = await first('settings');
  await ship('settings', database);
  const { upkeep } = await until('it is said', async () => {
    const { body } = await get('/v1/settings');
    return body.upkeep && body;
  });
  assert.match(upkeep.error, /WALFERRY_LEVELS is "30s, 10s"; it must be/);
  await restart();
  await until('it recovers', async () => (await objects('settings')).some(at(1)));
});

test('snapshots are made where the bytes are, and what is older than the retention goes', async () => {
  await restart({ ...FAST, WALFERRY_SNAPSHOT_INTERVAL: '700ms', WALFERRY_RETENTION: '1s', WALFERRY_GRACE: '300ms' });
  const database = await first('snapshots');
  let newest;
  for (let count = 0; count < 20; count++) {
    newest = await ship('snapshots', database, { [(count % 8) + 1]: database.page(5000 + count), [9 + count]: database.page(7000 + count) });
    await pause(150);
  }
  const last = await until('all that is left is one snapshot', async () => {
    const listed = await objects('snapshots');
    return listed.length === 1 && listed[0];
  });
  assert.deepEqual([last.level, last.min_txid, last.max_txid], [9, hex16(1), hex16(21)]);
  assert.deepEqual(await bundles('snapshots'), []);
  const bytes = Buffer.from(await (await running.send('GET', `/v1/snapshots/ltx/9/${hex16(1)}-${hex16(21)}.ltx`)).arrayBuffer());
  const expected = database.snapshot();
  assert.equal(bytes.length, expected.bytes.length);
  assert.deepEqual(bytes.subarray(100, -16), expected.bytes.subarray(100, -16), 'each page as it is now');
  await isTidy('snapshots');
  assert.equal((await put('snapshots', newest)).status, 200, 'who has heard no answer for so long sends it again');
  await isTidy('snapshots');
  assert.equal(await fault('alarm/snapshots'), null);
  assert.equal(code(await get(`/v1/snapshots/plan?txid=${hex16(5)}`)), 'no_plan');
  await ship('snapshots', database);
});
