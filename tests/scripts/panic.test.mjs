// After a panic in the Worker the next request is served, and those that were in flight are told.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { testWorker, writeToken } from '../support/worker.mjs';

suite('a panic in the Worker', async () => {
  let url;
  const send = (method, path) => fetch(url + path, { method, headers: { Authorization: `Bearer ${writeToken}` }, signal: AbortSignal.timeout(10_000) });
  const get = (path) => send('GET', path);
  const panic = () => send('POST', '/v1/-/panic');

  test('answers 503 with a sentence, and the next request is served', async (t) => {
    ({ url } = await testWorker(t, { faults: true }));
    for (let round = 0; round < 5; round++) {
      const died = await panic();
      assert.equal(died.status, 503);
      assert.equal(died.headers.get('retry-after'), '1');
      assert.equal((await died.json()).error.code, 'worker_restarted');
      const next = await get('/v1/nothing-here');
      assert.notEqual(next.status, 503);
      assert.notEqual((await next.json()).error?.code, 'worker_restarted');
    }
  });

  test('leaves no request of others without an answer', async (t) => {
    ({ url } = await testWorker(t, { faults: true }));
    const paths = Array.from({ length: 60 }, (_, i) => (i % 9 === 4 ? '/v1/-/panic' : `/v1/db-${i}`));
    const statuses = await Promise.all(paths.map(async (path) => (await (path.endsWith('panic') ? panic() : get(path))).status));
    for (const [at, status] of statuses.entries()) {
      assert.ok(paths[at].endsWith('panic') ? status === 503 : [200, 404, 503].includes(status), `${paths[at]}: ${status}`);
    }
    assert.notEqual((await get('/v1/db-1')).status, 503);
  });
});
