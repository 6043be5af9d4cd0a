// A part of a bucket that the real Litestream fills, served as a database. Litestream ships to a folder; what is in there is
// put into R2 key by key, under the names that it would have given it in a bucket.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Database } from './support/database.mjs';
import { follow } from './support/follower.mjs';
import { decodeMap } from './support/map.mjs';
import { READ, TOKENS, code, worker } from './support/worker.mjs';

const litestream = process.env.LITESTREAM_0_5_17;
assert(litestream, 'LITESTREAM_0_5_17 names the program: run the tests by `npm test -- worker`');

const FAST = { WALFERRY_LEVELS: '300ms, 900ms', WALFERRY_HISTORY_WINDOW: '300ms', WALFERRY_RAW_RETENTION: '100ms', WALFERRY_GRACE: '100ms', WALFERRY_SNAPSHOT_INTERVAL: '1s' };
const variables = { ...TOKENS, ...FAST, WALFERRY_ATTACHED: 'legacy = BUCKET/old/app.db, away=NOWHERE/x' };
const { get, put, send, json, url } = await worker({ from: 'worker-faults', variables });
const pause = (milliseconds) => new Promise((later) => setTimeout(later, milliseconds));
const fault = async (path, options) => {
  const answer = await json('POST', `/v1/-/${path}`, options);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body;
};

const folder = mkdtempSync(join(tmpdir(), 'walferry-attached-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const [db, replica] = [join(folder, 'app.db'), join(folder, 'replica')];

function sql(...statements) {
  const program = 'import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], isolation_level=None)\nfor sql in sys.argv[2:]: db.execute(sql)';
  const done = spawnSync('python3', ['-c', program, db, ...statements], { encoding: 'utf8' });
  assert.equal(done.status, 0, done.stderr);
}

const levels = () => readdirSync(join(replica, 'ltx')).flatMap((level) => readdirSync(join(replica, 'ltx', level)).map((name) => ({ level: Number(level), name })));
const known = new Set();

/** Lets Litestream ship what is committed, and brings what is new into R2. */
async function ship() {
  const child = spawn(litestream, ['replicate', db, `file://${replica}`], { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  await pause(2500);
  child.kill('SIGTERM');
  await ended;
  for (const { level, name } of levels()) {
    const key = `old/app.db/${level.toString(16).padStart(4, '0')}/${name}`;
    if (known.has(key)) continue;
    known.add(key);
    await fault(`plant/${key}`, { body: readFileSync(join(replica, 'ltx', String(level), name)) });
  }
}

/** What Litestream itself makes of it. */
function restored() {
  const out = join(folder, `restored-${Math.random()}.db`);
  const done = spawnSync(litestream, ['restore', '-o', out, `file://${replica}`], { encoding: 'utf8' });
  assert.equal(done.status, 0, done.stderr);
  return readFileSync(out);
}

async function until(what, holds) {
  for (const end = Date.now() + 20_000; ;) {
    const found = await holds();
    if (found) return found;
    assert(Date.now() < end, `waited 20 s: ${what}`);
    await pause(50);
  }
}

const whole = async (query = '') => Buffer.from(await (await send('GET', `/v1/legacy/db${query}`)).arrayBuffer());

test('a prefix that Litestream fills is a database like any other, to those who read', async () => {
  sql('pragma journal_mode = wal', 'create table t (id integer primary key, x)', "insert into t (x) values (hex(randomblob(3000)))");
  await ship();
  const { body: head, headers } = await get('/v1/legacy');
  assert.match(head.position.txid, /^0{15}[1-9a-f]$/);
  assert.equal(head.position.sum, null, 'Litestream promises no sum');
  assert.equal(headers.get('Walferry-Position'), `${head.position.txid}/-`);
  assert.equal(head.page_size, 4096);
  const listed = (await get('/v1/legacy/ltx')).body.segments;
  assert.equal(listed.length, levels().length);
  assert(listed.every(({ timestamp }) => timestamp > 1.7e12), 'what no metadata tell is read');
  const expected = restored();
  assert(expected.equals(await whole()), 'the database by one request is what Litestream restores');
  const plan = (await get('/v1/legacy/plan')).body.segments;
  assert.equal(plan.at(-1).max_txid, head.position.txid);
  const [{ level, min_txid: min, max_txid: max, size }] = plan;
  const bytes = await send('GET', `/v1/legacy/ltx/${level}/${min}-${max}.ltx`, { token: READ, headers: { Range: 'bytes=0-99' } });
  assert.deepEqual([bytes.status, bytes.headers.get('Content-Range')], [206, `bytes 0-99/${size}`]);
  const map = decodeMap(Buffer.from(await (await send('GET', '/v1/legacy/map')).arrayBuffer()));
  assert.deepEqual([map.places.length, map.position], [expected.length / 4096, `${head.position.txid}/-`]);
});

test('what Litestream ships next is seen by who reads, and told to who follows', async () => {
  const before = (await get('/v1/legacy')).body.position;
  const follower = await follow(url, 'legacy', READ);
  assert.deepEqual(await follower.next(), { position: before });
  const time = Date.now();
  sql('insert into t (x) values (2)', 'create table u (y)');
  await ship();
  const head = await until('the head moves', async () => {
    const { body } = await get('/v1/legacy');
    return body.position.txid > before.txid && body;
  });
  const now = restored();
  assert(now.equals(await whole()));
  const past = await send('GET', `/v1/legacy/db?timestamp=${time}`);
  assert.equal(past.status, 200);
  assert.equal(past.headers.get('Walferry-Position'), `${before.txid}/-`);
  let told;
  do told = await follower.next();
  while (told.position.txid < head.position.txid);
  assert.deepEqual(told, { position: head.position });
  follower.close();
});

test('it is only read: uploads are refused, upkeep keeps its hands off', async () => {
  const segment = new Database().next();
  const refused = await put('legacy', segment);
  assert.equal(refused.status, 403);
  assert.equal(code(refused), 'attached');
  assert.match(refused.body.error.message, /only read/);
  assert.equal((await json('POST', '/v1/legacy/rebuild', { token: READ })).status, 403);
  // Longer than any window of upkeep.
  await pause(1500);
  await get('/v1/legacy');
  assert.deepEqual((await fault('keys')).sort(), [...known].sort());
});

test('a binding that is not there is said to be missing; databases beside it are as ever', async () => {
  const away = await get('/v1/away');
  assert.equal(away.status, 500);
  assert.match(away.body.error.message, /no R2 bucket.*NOWHERE/);
  assert.equal((await put('beside', new Database().next())).status, 201);
});
