// The script that ships a database with sqlite3 and curl, beside an application that writes for real.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { inRoot } from '../../scripts/lib/root.mjs';
import { WRITE, worker } from './support/worker.mjs';

const { url, get, send } = await worker({ from: 'worker-faults' });
const folder = mkdtempSync(join(tmpdir(), 'walferry-ship-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const app = (...args) => ended(spawn('python3', [inRoot('tests', 'support', 'app.py'), ...args.map(String)], { stdio: ['ignore', 'ignore', 'inherit'] }));

function ended(child) {
  return new Promise((resolve, reject) => child.on('error', reject).on('exit', (code, signal) => resolve(code ?? signal)));
}

/** Runs the script until it is stopped, or killed. */
function ship(path, db, settings = {}) {
  const child = spawn(inRoot('examples', 'curl', 'ship.sh'), [path, `${url}/v1/${db}`, '0.05'], { env: { ...process.env, WALFERRY_TOKEN: WRITE, ...settings }, stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  const said = [];
  child.stderr.on('data', (text) => said.push(String(text)));
  const end = ended(child);
  return {
    said: () => said.join(''),
    stop: async (signal = 'SIGTERM') => {
      process.kill(-child.pid, signal); // with its sqlite3
      await end;
    },
  };
}

async function until(what, condition) {
  for (const start = Date.now(); !(await condition()); ) {
    if (Date.now() - start > 60_000) throw new Error(`waited for a minute: ${what}`);
    await new Promise((later) => setTimeout(later, 50));
  }
}

/** Whether all that is committed is with the Worker, as the wal-index tells. */
async function isShipped(path, db) {
  const shm = readFileSync(`${path}-shm`);
  const frames = shm.readUInt32LE(16);
  const pageSize = shm.readUInt16LE(14);
  const place = new URLSearchParams((await get(`/v1/${db}/wal`)).headers.get('Walferry-Wal') ?? '');
  const isHeld = Number(place.get('salt1')) === shm.readUInt32BE(32) && Number(place.get('end')) === 32 + frames * (pageSize + 24);
  // Of a WAL that has not started again yet, nothing is left to send.
  return isHeld || (frames === 0 && Number(place.get('salt1')) + 1 === shm.readUInt32BE(32));
}

async function restoresAs(path, db) {
  assert.equal(await app('finish', path), 0);
  const restored = Buffer.from(await (await send('GET', `/v1/${db}/db`)).arrayBuffer());
  const file = readFileSync(path);
  assert(restored.equals(file), `${db}: ${restored.length} bytes restored, ${file.length} in the file`);
}

for (const [pageSize, vacuum] of [[4096, 'none'], [512, 'incremental']]) {
  test(`what an application writes is shipped by the script: pages of ${pageSize}`, { timeout: 180_000 }, async () => {
    const db = `script-${pageSize}`;
    const path = join(folder, `${db}.db`);
    assert.equal(await app('create', path, pageSize, vacuum), 0);
    const shipping = ship(path, db);
    try {
      await until('the first snapshot', async () => (await get(`/v1/${db}`)).body.position.txid !== '0'.repeat(16));
      assert.equal(await app('write', path, 7, 8), 0);
      await until('all of it', () => isShipped(path, db));
    } catch (error) {
      error.message += shipping.said();
      throw error;
    } finally {
      await shipping.stop();
    }
    const { segments } = (await get(`/v1/${db}`)).body;
    assert(segments > 5, `${segments} segments: it followed the WAL`);
    console.log(`# ${segments} segments; ${shipping.said()}`);
    await restoresAs(path, db);
  });
}

test('a database file that is too large for a request is sent in parts', { timeout: 180_000 }, async () => {
  const path = join(folder, 'parts.db');
  assert.equal(await app('create', path, 4096, 'none'), 0);
  const grow = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); db.execute('CREATE TABLE large AS SELECT randomblob(9000000) AS data')";
  assert.equal(await ended(spawn('python3', ['-c', grow, path], { stdio: 'inherit' })), 0);
  const shipping = ship(path, 'parts', { WALFERRY_PIECE: '2000000' });
  await until('the first snapshot', async () => (await get('/v1/parts')).body.position.txid !== '0'.repeat(16));
  assert.equal(await app('write', path, 3, 2), 0);
  await until('all of it', () => isShipped(path, 'parts'));
  await shipping.stop();
  await restoresAs(path, 'parts');
});

test('killed and started again at any moment, the script goes on or sends what differs', { timeout: 180_000 }, async () => {
  const path = join(folder, 'killed.db');
  assert.equal(await app('create', path, 4096, 'none'), 0);
  const writing = app('write', path, 11, 12);
  let isWriting = true;
  writing.then(() => (isWriting = false));
  const said = [];
  for (let round = 0; isWriting; round++) {
    const shipping = ship(path, 'killed');
    await new Promise((later) => setTimeout(later, 300 + ((round * 437) % 1500)));
    await shipping.stop('SIGKILL');
    said.push(shipping.said());
  }
  assert.equal(await writing, 0);
  const shipping = ship(path, 'killed');
  await until('all of it', () => isShipped(path, 'killed')).catch((error) => {
    error.message += `${said.join('')}, then ${shipping.said()}`;
    throw error;
  }).finally(() => shipping.stop());
  console.log(`# ${said.join('').split('\n').filter(Boolean).length} lines said; ${(await get('/v1/killed')).body.segments} segments`);
  await restoresAs(path, 'killed');
});
