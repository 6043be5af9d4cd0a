// What costs nothing: names that are only asked for, buckets that nobody reads, followers of a database that rests.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Database } from './support/database.mjs';
import { follow } from './support/follower.mjs';
import { READ, TOKENS, worker } from './support/worker.mjs';

const variables = { ...TOKENS, WALFERRY_ATTACHED: 'legacy = BUCKET/old/app.db' };
const { get, put, json, url } = await worker({ from: 'worker-faults', variables });
const pause = (milliseconds) => new Promise((later) => setTimeout(later, milliseconds));
const fault = async (path, options) => {
  const answer = await json('POST', `/v1/-/${path}`, options);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body;
};
const listed = async () => (await get('/v1/')).body.databases.map(({ name }) => name);
// At most so often a bucket is looked at, in this build.
const INTERVAL = 300;

/** Reads twenty times at once; the bucket is looked at once an interval. */
async function isLookedAtOnce(path) {
  await pause(INTERVAL + 50);
  await fault('counts');
  const start = performance.now();
  const answers = await Promise.all(Array.from({ length: 20 }, () => get(path, { token: READ })));
  const most = 1 + Math.floor((performance.now() - start) / INTERVAL);
  assert(answers.every(({ status }) => status === 200));
  const { r2_list: lists = 0, object_requests: requests } = await fault('counts');
  assert.equal(requests, 20);
  assert(lists >= 1 && lists <= most, `${lists} listings, and ${most} would do`);
}

test('a name that is only asked for is neither listed nor looked after, and soon answered from memory', async () => {
  await isLookedAtOnce('/v1/nobody');
  const follower = await follow(url, 'nobody', READ);
  assert.deepEqual((await follower.next()).position.txid, '0'.repeat(16));
  await pause(200);
  await get('/v1/nobody');
  await pause(200);
  assert.deepEqual(await listed(), []);
  assert.equal(await fault('alarm/nobody'), null);

  // From the first write on it is a database like any other.
  const database = new Database();
  const segment = database.next();
  assert.equal((await put('nobody', segment)).status, 201);
  assert.deepEqual(await follower.next(), segment.bytes);
  assert.deepEqual((await get('/v1/nobody')).body.position, database.position);
  for (const end = Date.now() + 10_000; (await listed())[0] !== 'nobody'; await pause(50)) assert(Date.now() < end, 'it is not listed');
  assert.equal(typeof (await fault('alarm/nobody')), 'number');
  follower.close();
});

// The tables that the objects of databases have, one list for each.
const TABLES = `
import glob, json, sqlite3, sys
tables = []
for path in glob.glob(sys.argv[1] + '/**/*-Database/*.sqlite', recursive=True):
    names = [name for name, in sqlite3.connect(path).execute("select name from sqlite_master where type = 'table'")]
    tables.append(sorted(name for name in names if not name.startswith('_cf_')))
print(json.dumps([names for names in tables if names]))`;

test('a name that is only asked for leaves nothing in the storage of its object', async () => {
  const state = await mkdtemp(join(tmpdir(), 'walferry-quiet-'));
  after(() => rm(state, { recursive: true, force: true }));
  const tables = () => JSON.parse(execFileSync('python3', ['-c', TABLES, state], { encoding: 'utf8' }));
  let running = await worker({ from: 'worker-faults', state, variables });
  for (const path of ['', '/ltx', '/plan', '/map', '/db', '/wal', '/ltx/0/0000000000000001-0000000000000001.ltx']) {
    const { status } = await running.send('GET', `/v1/asked${path}`, { token: READ });
    assert(status === 200 || status === 403 || status === 404 || status === 409, `${path}: ${status}`);
  }
  await running.stop();
  assert.deepEqual(tables(), []);
  running = await worker({ from: 'worker-faults', state, variables });
  assert.equal((await running.put('asked', new Database().next())).status, 201);
  await running.stop();
  assert.deepEqual(tables(), [['notes', 'objects', 'page_sums']], 'the test looks where things are');
});

test('an attached bucket is looked at once an interval while it is read, and not at all while it is not', async () => {
  const segment = new Database().next();
  await fault(`plant/old/app.db/000${segment.name}`, { body: segment.bytes });
  assert.match((await get('/v1/legacy')).body.position.txid, /1$/);
  await isLookedAtOnce('/v1/legacy');
  await pause(4 * INTERVAL);
  assert.deepEqual(await fault('counts'), {});
});

test('followers of a database that rests make no request, no alarm and no write', async () => {
  const database = new Database();
  await put('rests', database.next());
  const followers = await Promise.all([1, 2, 3].map(() => follow(url, 'rests', READ)));
  for (const follower of followers) await follower.next();
  await pause(200);
  await fault('counts');
  await pause(2000);
  assert.deepEqual(await fault('counts'), {});
  const segment = database.next();
  await put('rests', segment);
  for (const follower of followers) {
    assert.deepEqual(await follower.next(), segment.bytes);
    follower.close();
  }
});
