// What a database costs that is written every second: operations are counted, of R2, of the object and of its storage. Time runs
// ten times faster here: a segment every tenth of a second, and windows a tenth as long as those that hold where nothing is said.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Database } from './support/database.mjs';
import { TOKENS, worker } from './support/worker.mjs';

const variables = { ...TOKENS, WALFERRY_LEVELS: '3s, 30s, 6m', WALFERRY_HISTORY_WINDOW: '30s', WALFERRY_RAW_RETENTION: '30s', WALFERRY_GRACE: '6m' };
const pause = (milliseconds) => new Promise((later) => setTimeout(later, milliseconds));
const SEGMENTS = Number(process.env.WALFERRY_COST_SEGMENTS ?? 330);

// A month of seconds. Prices of 2025 in dollars, for a million; what the paid plan's 5 dollars include goes to the first databases.
const MONTH = 30 * 24 * 3600;
const PRICES = { r2_put: 4.5, r2_list: 4.5, r2_get: 0.36, r2_head: 0.36, rows_written: 1, rows_read: 0.001, object_requests: 0.15, worker_requests: 0.3 };
const INCLUDED = { r2_put: 1e6, r2_list: 0, r2_get: 10e6, r2_head: 10e6, rows_written: 50e6, rows_read: 25e9, object_requests: 1e6, worker_requests: 10e6 };
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

/** Ships a segment every tenth of a second, until the windows have closed; what each cost. */
async function shipped(place) {
  const { put, json, get } = await worker({ from: 'worker-faults', variables: { ...variables, WALFERRY_SHORT_SEGMENTS: place } });
  const counts = async () => (await json('POST', '/v1/-/counts')).body;
  const database = new Database({ pageSize: 4096 });
  // From the middle of a window on, so that the same number of them closes each time.
  await pause((45_000 - (Date.now() % 30_000)) % 30_000);
  assert.equal((await put('cost', database.next({ 1: database.page(1), 2: database.page(2) }))).status, 201);
  await counts();
  for (let count = 0, start = Date.now(); count < SEGMENTS; count++) {
    const answer = await put('cost', database.next({ 1: database.page(count + 2) }, { timestamp: Date.now() }));
    assert.equal(answer.status, 201, JSON.stringify(answer.body));
    await pause(Math.max(0, start + (count + 1) * 100 - Date.now()));
  }
  // The windows close.
  for (const end = Date.now() + 60_000; (await get('/v1/cost/ltx?level=10')).body.segments.length === 0; await pause(50)) assert(Date.now() < end);
  const seen = { r2_put: 0, r2_get: 0, r2_head: 0, r2_list: 0, ...(await counts()) };
  const each = Object.fromEntries(Object.entries({ ...seen, worker_requests: SEGMENTS }).map(([what, count]) => [what, count / SEGMENTS]));
  const month = Object.fromEntries(Object.entries(each).map(([what, count]) => [what, (count * MONTH * (PRICES[what] ?? 0)) / 1e6]));
  const beyond = Object.entries(each).map(([what, count]) => (Math.max(0, count * MONTH - (INCLUDED[what] ?? 0)) * (PRICES[what] ?? 0)) / 1e6);
  console.log(`# ${place}, for each of ${SEGMENTS} segments: ${Object.entries(each).map(([what, count]) => `${what} ${count.toFixed(2)}`).join(', ')}`);
  console.log(`# ${place}, dollars a month at one a second: ${Object.entries(month).map(([what, dollars]) => `${what} ${dollars.toFixed(2)}`).join(', ')}; ${sum(beyond).toFixed(2)} beyond what the plan includes`);
  return { ...each, dollars: sum(beyond) };
}

test('a segment costs next to nothing in the object, and a write to R2 in the bucket', { timeout: 200_000 }, async () => {
  const [object, bucket] = await Promise.all(['object', 'bucket'].map(shipped));
  assert(bucket.r2_put >= 1 && bucket.r2_put < 1.1, `${bucket.r2_put} writes`);
  assert(bucket.r2_get + bucket.r2_head < 2, `${bucket.r2_get + bucket.r2_head} reads`);
  assert(bucket.rows_written < 4.5, `${bucket.rows_written} rows written`);
  assert(object.r2_put < 0.1, `${object.r2_put} writes`);
  assert(object.r2_get + object.r2_head < 0.5, `${object.r2_get + object.r2_head} reads`);
  assert(object.rows_written < 5, `${object.rows_written} rows written`);
  for (const { object_requests: requests } of [object, bucket]) assert(requests < 1.1, `${requests} requests to the object`);
  assert(object.dollars < 1 && object.dollars < bucket.dollars, `${object.dollars} and ${bucket.dollars} dollars`);
});
