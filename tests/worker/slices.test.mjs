// Upkeep of much goes slice by slice: no alarm asks for more than a request may on the free plan.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Database } from './support/database.mjs';
import { BUCKET, worker } from './support/worker.mjs';

/** What the runtime lets a request ask, but for the report to the registry. */
const MOST = 49;
const FAST = { ...BUCKET, WALFERRY_LEVELS: '400ms, 1200ms', WALFERRY_HISTORY_WINDOW: '800ms', WALFERRY_RAW_RETENTION: '200ms', WALFERRY_GRACE: '300ms' };

test('upkeep of many objects asks R2 few times an alarm, and comes to its end', async () => {
  const state = await mkdtemp(join(tmpdir(), 'walferry-slices-'));
  let running = await worker({ from: 'worker-faults', state, variables: BUCKET });
  after(async () => {
    await running.stop();
    await rm(state, { recursive: true, force: true });
  });
  const database = new Database();
  const ship = async () => assert.equal((await running.put('slices', database.next(undefined, { timestamp: Date.now() }))).status, 201);
  for (let count = 0; count < 150; count++) await ship();
  await running.stop();
  running = await worker({ from: 'worker-faults', state, variables: FAST });
  await ship();
  const raw = async () => (await running.objects('slices')).filter(({ level }) => level === 0).length;
  for (const end = Date.now() + 60_000; (await raw()) > 2; await new Promise((later) => setTimeout(later, 100))) assert(Date.now() < end, `${await raw()} raw segments are left`);
  const { alarms, most_of_an_alarm: most } = (await running.json('POST', '/v1/-/counts')).body;
  console.log(`${alarms} alarms; ${most} requests to R2 in the one that made most`);
  assert(most <= MOST, `${most} requests`);
  assert(most >= 30 && alarms > 5, 'there was more to do than one slice does');
  const answer = await running.send('GET', '/v1/slices/db');
  assert(Buffer.from(await answer.arrayBuffer()).equals(Buffer.concat(database.pages)));
});
