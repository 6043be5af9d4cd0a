// What there is to know of all databases at once, without waking any.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Database } from './support/database.mjs';
import { follow } from './support/follower.mjs';
import { READ, WRITE, code, worker } from './support/worker.mjs';

const { url, put, get, send, log } = await worker({ from: 'worker-faults' });
const pause = (milliseconds) => new Promise((later) => setTimeout(later, milliseconds));

async function metrics() {
  const text = await (await send('GET', '/metrics')).text();
  const samples = text.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => line.match(/^([a-z_]+)(?:\{(.*)\})? (\S+)$/));
  return new Map(samples.map(([, name, labels, value]) => [`${name}{${labels ?? ''}}`, Number(value)]));
}

async function until(what, holds) {
  for (const end = Date.now() + 10_000; ;) {
    const found = await holds();
    if (found) return found;
    assert(Date.now() < end, `waited 10 s: ${what}`);
    await pause(50);
  }
}

test('each database that was uploaded is listed, as it stands', async () => {
  const databases = ['one', 'two', 'three'].map((name) => [name, new Database()]);
  let sent = 0;
  for (const [name, database] of databases) {
    for (let count = 0; count < 3; count++) {
      const segment = database.next(undefined, { timestamp: Date.now() - 1500 });
      sent += name === 'one' ? segment.bytes.length : 0;
      assert.equal((await put(name, segment)).status, 201);
      await pause(120);
    }
  }
  const list = await until('all are at transaction 3', async () => {
    const { status, body } = await get('/v1/');
    assert.equal(status, 200);
    return body.databases.length === 3 && body.databases.every(({ position, uploads }) => position.txid.endsWith('3') && uploads === 3) && body;
  });
  assert.equal(list.next, null);
  assert.deepEqual(list.databases.map(({ name }) => name), ['one', 'three', 'two']);
  const one = list.databases[0];
  assert.deepEqual(one.position, databases[0][1].position);
  assert.deepEqual([one.page_size, one.commit, one.uploaded_bytes, one.refused], [512, 1, sent, {}]);
  assert(Math.abs(one.last_upload - Date.now()) < 10_000);
  assert(one.lag_ms >= 1500 && one.lag_ms < 5000, `${one.lag_ms}`);

  const first = (await get('/v1/?limit=2')).body;
  assert.deepEqual([first.databases.map(({ name }) => name), first.next], [['one', 'three'], 'three']);
  assert.deepEqual((await get('/v1/?limit=2&after=three')).body.databases.map(({ name }) => name), ['two']);
  for (const [path, expected] of [['/v1/?limit=0', 'invalid_number'], ['/v1/?after=A', 'invalid_database_name'], ['/v1/?x=1', 'unknown_parameter'], ['/metrics?x=1', 'unknown_parameter']]) {
    const answer = await get(path);
    assert.equal(answer.status, 400, path);
    assert.equal(code(answer), expected, path);
  }
});

test('metrics tell position, bytes, followers, and uploads that were refused by their reason', async () => {
  const database = new Database();
  await put('counted', database.next());
  const follower = await follow(url, 'counted', READ);
  const rival = database.copy();
  rival.txid += 5n;
  for (let count = 0; count < 2; count++) assert.equal((await put('counted', rival.next())).status, 409);
  const bad = database.copy().next();
  bad.bytes[150] ^= 1;
  assert.equal((await put('counted', bad)).status, 422);
  await pause(150);
  await put('counted', database.next());
  const samples = await until('it is reported', async () => {
    const samples = await metrics();
    return samples.get('walferry_worker_uploads_total{database="counted"}') === 2 && samples;
  });
  const of = (name, labels = '') => samples.get(`walferry_worker_${name}{database="counted"${labels}}`);
  assert.equal(of('txid'), 2);
  assert.equal(of('database_bytes'), 512);
  assert.equal(of('followers'), 1);
  assert(of('objects') >= 2 && of('stored_bytes') > 1000);
  assert.equal(of('refused_uploads_total', ',reason="position_mismatch"'), 2);
  assert.equal(of('refused_uploads_total', ',reason="invalid_segment"'), 1);
  assert.equal(of('upkeep_failures'), 0);
  assert(of('lag_seconds') > 1000, 'that clock is years behind');
  assert.equal(samples.get('walferry_worker_databases{}'), 4);
  follower.close();
  await follower.closed;
  await pause(300);
  await put('counted', database.next());
  await until('it has gone', async () => (await metrics()).get('walferry_worker_followers{database="counted"}') === 0);
});

test('to ask wakes no database, and is for administrators', async () => {
  await send('POST', '/v1/-/panic'); // all objects begin anew
  const before = log();
  const { body } = await get('/v1/');
  assert.equal(body.databases.length, 4);
  assert.equal(log(), before);
  for (const path of ['/v1/', '/metrics']) assert.equal(code(await get(path, { token: READ })), 'admin_token_needed');
  assert.equal((await send('GET', '/metrics', { token: WRITE })).headers.get('Content-Type'), 'text/plain; version=0.0.4; charset=utf-8');
});

test('metrics tell of so many databases at most, and how many they leave out', async () => {
  for (let count = 4; count < 23; count++) assert.equal((await put(`many-${count}`, new Database().next())).status, 201);
  const samples = await until('all have reported', async () => {
    const samples = await metrics();
    return samples.get('walferry_worker_databases{}') === 23 && samples;
  });
  assert.equal(samples.get('walferry_worker_databases_left_out{}'), 3);
  assert.equal([...samples.keys()].filter((name) => name.startsWith('walferry_worker_txid')).length, 20);
});
