// What upkeep makes of a large database is longer than one request of R2 takes: it goes there in parts, in several slices, and
// whatever it is cut off in, it comes out whole and leaves no part behind. Real SQLite, real time.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Application } from './support/application.mjs';
import { TOKENS, WRITE, worker } from './support/worker.mjs';

const folder = mkdtempSync(join(tmpdir(), 'walferry-upkeep-parts-'));
const state = join(folder, 'state');
const variables = { ...TOKENS, WALFERRY_LEVELS: '500ms, 1h', WALFERRY_HISTORY_WINDOW: '1h', WALFERRY_SNAPSHOT_INTERVAL: '1s' };
const start = () => worker({ from: 'worker-faults', state, variables });
let running = await start();
after(async () => {
  await running.stop();
  rmSync(folder, { recursive: true, force: true });
});
const { json, send, objects } = new Proxy({}, { get: (_, name) => (...args) => running[name](...args) });
const fault = async (path) => {
  const answer = await json('POST', `/v1/-/${path}`);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body;
};
const restored = async (db) => Buffer.from(await (await send('GET', `/v1/${db}/db`)).arrayBuffer());
/** What R2 needs one upload for. */
const PART = 5 << 20;

async function until(what, holds) {
  for (const end = Date.now() + 60_000; ;) {
    // A connection may be reset by who has much to do.
    const found = await holds().catch((error) => assert(error instanceof TypeError, error));
    if (found) return found;
    assert(Date.now() < end, `waited a minute: ${what}`);
    await new Promise((later) => setTimeout(later, 50));
  }
}

/** Uploads in parts that R2, as Miniflare keeps it, has neither completed nor aborted. */
function unfinished() {
  const files = readdirSync(state, { recursive: true }).filter((file) => /\/r2\/.*\.sqlite$/.test(file));
  const program = `
import sqlite3, sys
for path in sys.argv[1:]:
    db = sqlite3.connect(path)
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = '_mf_multipart_uploads'").fetchall():
        print(*[f'{key} {state}' for key, state in db.execute('SELECT key, state FROM _mf_multipart_uploads')], sep='\\n')`;
  const done = spawnSync('python3', ['-c', program, ...files.map((file) => join(state, file))], { encoding: 'utf8' });
  assert.equal(done.status, 0, done.stderr);
  const uploads = done.stdout.trim().split('\n').filter(Boolean);
  assert(uploads.length > 0, 'there have been some');
  return uploads.filter((upload) => upload.endsWith(' 0'));
}

/** Sends a body on a connection of its own, for workerd may reset one that carried so much; again, if there is no room yet. */
async function upload(method, path, body) {
  await until(`${method} ${path}`, async () => {
    const answer = await running.raw(path, { Authorization: `Bearer ${WRITE}`, 'Content-Length': body.length }, [body], method);
    assert(answer.error || [200, 201, 409, 503].includes(answer.status), JSON.stringify(answer));
    // 409 is the answer to a file that is there, if the first one was not heard.
    return !answer.error && answer.status !== 503;
  });
}

/** A database of 11 MB, and two transactions of 5.6 MB each: one alone takes two parts. */
async function shipped(t, db) {
  const app = await Application.start(join(folder, `${db}.db`), 4096);
  t.after(() => app.end());
  await app.run('CREATE TABLE item (id INTEGER PRIMARY KEY, text BLOB)', 'INSERT INTO item VALUES (1, 1), (2, randomblob(5600000)), (3, randomblob(5600000))', 'PRAGMA wal_checkpoint(TRUNCATE)');
  await upload('PUT', `/v1/${db}/db?${new URLSearchParams(app.index())}`, app.file());
  let query = 'offset=0&restarted_at=32';
  for (const id of [2, 3]) {
    await app.run(`UPDATE item SET text = randomblob(5600000) WHERE id = ${id}`);
    const wal = app.wal();
    const offset = Number(new URLSearchParams(query).get('offset'));
    await upload('POST', `/v1/${db}/wal?salt1=${wal.readUInt32BE(16)}&salt2=${wal.readUInt32BE(20)}&${query}`, wal.subarray(offset));
    const place = await until('it tells the place', async () => (await json('GET', `/v1/${db}/wal`)).headers.get('Walferry-Wal'));
    query = `offset=${new URLSearchParams(place).get('offset')}`;
  }
  return app;
}

const madeOf = async (db) => (await objects(db)).filter(({ level, max_txid: max }) => level > 0 && Number(`0x${max}`) > 1);

for (const point of ['upkeep_part', 'upkeep_noted', 'upkeep_created']) {
  test(`killed at ${point}, workerd makes it all in its next life`, { timeout: 180_000 }, async (t) => {
    const db = point.replace('_', '-');
    const before = await fault('reached');
    await fault(`arm/${point}/hang`);
    const app = await shipped(t, db);
    await until(`${point} is reached`, async () => (await fault('reached')) > before);
    await running.kill();
    running = await start();
    const made = await until('a level and a snapshot are made', async () => {
      const made = await madeOf(db);
      return made.some(({ level }) => level === 9) && made.some(({ level }) => level === 1) && made;
    });
    for (const { size, level } of made) assert(size > PART + (64 << 10), `level ${level}: ${size} bytes take two parts`);
    assert((await restored(db)).equals(app.state()));
    const { position } = (await json('GET', `/v1/${db}`)).body;
    const rebuilt = await json('POST', `/v1/${db}/rebuild`);
    assert.equal(rebuilt.status, 200, JSON.stringify(rebuilt.body));
    assert.deepEqual(rebuilt.body.position, position);
    assert((await restored(db)).equals(app.state()));
  });
}

test('no part is left behind in R2', async () => {
  await running.stop();
  assert.deepEqual(unfinished(), []);
  running = await start();
});
