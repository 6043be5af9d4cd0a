// A replica with more segments than an answer is made of: upkeep works it off, and the newest state is planned all the while.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Database } from './support/database.mjs';
import { hex16 } from './support/ltx.mjs';
import { TOKENS, worker } from './support/worker.mjs';

const FAST = { ...TOKENS, WALFERRY_LEVELS: '400ms, 1200ms, 1h', WALFERRY_HISTORY_WINDOW: '800ms', WALFERRY_GRACE: '400ms', WALFERRY_SNAPSHOT_INTERVAL: '1h' };
const MOST = 20;
const state = await mkdtemp(join(tmpdir(), 'walferry-many-'));
let running = await worker({ from: 'worker-faults', state });
after(async () => {
  await running.stop();
  await rm(state, { recursive: true, force: true });
});
async function restart(variables) {
  await running.stop();
  running = await worker({ from: 'worker-faults', state, variables });
  await most();
}
const most = async () => assert.equal((await running.json('POST', `/v1/-/most/${MOST}`)).status, 200);
const raw = async () => (await running.objects('many')).filter(({ level }) => level === 0).length;

async function until(what, holds) {
  for (const end = Date.now() + 30_000; ;) {
    if (await holds()) return;
    assert(Date.now() < end, `waited 30 s: ${what}`);
    await new Promise((later) => setTimeout(later, 50));
  }
}

test('more segments than are looked at once are worked off, though nothing ever expires', async () => {
  const database = new Database();
  const ship = async () => assert.equal((await running.put('many', database.next(undefined, { timestamp: Date.now() }))).status, 201);
  const isServed = async () => {
    const answer = await running.send('GET', '/v1/many/db');
    assert.equal(answer.status, 200);
    assert(Buffer.from(await answer.arrayBuffer()).equals(Buffer.concat(database.pages)));
  };
  for (let count = 0; count < 2 * MOST; count++) await ship();
  await most();
  assert.equal((await running.get('/v1/many/plan')).status, 503);

  await restart({ ...FAST, WALFERRY_RAW_RETENTION: '7d' });
  await ship();
  await until('levels lead to the newest state', async () => (await running.get('/v1/many/plan')).status === 200);
  assert(await raw() > 2 * MOST);
  await isServed();
  const past = await running.get(`/v1/many/plan?txid=${hex16(5)}`);
  assert.equal(past.status, 503, 'of the past, any of them may matter');
  assert.match(past.body.error.message, /more than 20 segments/);

  await restart({ ...FAST, WALFERRY_RAW_RETENTION: '300ms', WALFERRY_RETENTION: 'forever' });
  await ship();
  await until('all but what comes next is held twice elsewhere', async () => (await raw()) <= 2);
  await isServed();
  const { body } = await running.get('/v1/many');
  assert.equal(body.upkeep, undefined, JSON.stringify(body.upkeep));
  for (const txid of [2, 5, 17]) {
    assert.equal((await running.get(`/v1/many/plan?txid=${hex16(txid)}`)).status, 200, `transaction ${txid} is in the history`);
  }
});
