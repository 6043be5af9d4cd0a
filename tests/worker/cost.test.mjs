// What a database costs that is written every second: operations are counted, of R2, of the object and of its storage. Time runs
// ten times faster here: a segment every tenth of a second, and windows a tenth as long as those that hold where nothing is said.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Database } from './support/database.mjs';
import { TOKENS, worker } from './support/worker.mjs';

const variables = { ...TOKENS, WALFERRY_LEVELS: '3s, 30s, 6m', WALFERRY_HISTORY_WINDOW: '30s', WALFERRY_RAW_RETENTION: '30s', WALFERRY_GRACE: '6m' };
const { put, json, get } = await worker({ from: 'worker-faults', variables });
const pause = (milliseconds) => new Promise((later) => setTimeout(later, milliseconds));
const counts = async () => (await json('POST', '/v1/-/counts')).body;
const SEGMENTS = Number(process.env.WALFERRY_COST_SEGMENTS ?? 330);

// A month of seconds. Prices of 2025 in dollars, for a million; what the paid plan's 5 dollars include goes to the first databases.
const MONTH = 30 * 24 * 3600;
const PRICES = { r2_put: 4.5, r2_list: 4.5, r2_get: 0.36, r2_head: 0.36, rows_written: 1, rows_read: 0.001, object_requests: 0.15, worker_requests: 0.3 };

test('a segment is one write to R2, three rows, and a little for its upkeep', async () => {
  const database = new Database({ pageSize: 4096 });
  assert.equal((await put('cost', database.next({ 1: database.page(1), 2: database.page(2) }))).status, 201);
  await counts();
  for (let count = 0, start = Date.now(); count < SEGMENTS; count++) {
    const answer = await put('cost', database.next({ 1: database.page(count + 2) }, { timestamp: Date.now() }));
    assert.equal(answer.status, 201, JSON.stringify(answer.body));
    await pause(Math.max(0, start + (count + 1) * 100 - Date.now()));
  }
  // The windows close.
  for (const end = Date.now() + 60_000; (await get('/v1/cost/ltx?level=10')).body.segments.length === 0; await pause(500)) assert(Date.now() < end);
  const seen = { r2_head: 0, r2_list: 0, ...(await counts()) };
  const each = Object.fromEntries(Object.entries({ ...seen, worker_requests: SEGMENTS }).map(([what, count]) => [what, count / SEGMENTS]));
  const month = Object.fromEntries(Object.entries(each).map(([what, count]) => [what, (count * MONTH * (PRICES[what] ?? 0)) / 1e6]));
  console.log(`# for each of ${SEGMENTS} segments: ${Object.entries(each).map(([what, count]) => `${what} ${count.toFixed(2)}`).join(', ')}`);
  console.log(`# dollars a month at one a second: ${Object.entries(month).map(([what, dollars]) => `${what} ${dollars.toFixed(2)}`).join(', ')}; ${Object.values(month).reduce((a, b) => a + b).toFixed(2)} in all`);
  assert(each.r2_put < 1.1 && each.r2_put >= 1, `${each.r2_put} writes`);
  assert(each.r2_get + each.r2_head < 2, `${each.r2_get + each.r2_head} reads`);
  assert(each.rows_written < 4.5, `${each.rows_written} rows written`);
  assert(each.object_requests < 1.1, `${each.object_requests} requests to the object`);
});
