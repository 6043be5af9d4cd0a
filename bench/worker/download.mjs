// A database by one request, `GET /v1/{db}/db`: what it takes of workerd, the simulation of R2 included.
//
//   npm run build && npm run bench:worker          GIB=1 in the environment; some minutes
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { walferry } from '../../scripts/lib/root.mjs';
import { shop } from '../../tests/browser/support/shop.mjs';
import { source } from '../../tests/browser/support/source.mjs';
import { READ, WRITE, worker } from '../../tests/worker/support/worker.mjs';
import { cpu, memory } from '../processes.mjs';

const GIB = Number(process.env.GIB ?? 1);
const ROUNDS = Number(process.env.ROUNDS ?? 3);

for (const codec of ['deflate', 'lz4']) {
  test(`${GIB} GiB, packed as ${codec}`, { timeout: 1_800_000 }, async () => {
    const to = await worker();
    const server = await source(to, codec);
    try {
      await server.run(...shop(Math.round((GIB * 2 ** 30) / 178)));
      const expected = await server.content();
      const url = `${to.url}/v1/${codec}`;
      execFileSync(walferry, ['replicate', '--once', '--codec', codec, server.path, url], { env: { ...process.env, WALFERRY_TOKEN: WRITE, LOG_LEVEL: 'warn' } });
      const pid = workerd();
      for (let round = 0; round < ROUNDS; round++) {
        const before = cpu(pid);
        const answer = await fetch(`${url}/db`, { headers: { Authorization: `Bearer ${READ}` } });
        assert.equal(answer.status, 200);
        const hash = createHash('sha256');
        for await (const bytes of answer.body) hash.update(bytes);
        const took = cpu(pid) - before;
        assert.equal(hash.digest('hex'), expected.sha256);
        console.log(`${codec}: ${(expected.size / 2 ** 30).toFixed(2)} GiB, identical: ${took.toFixed(1)} s of CPU, ${(took / (expected.size / 2 ** 30)).toFixed(1)} s a GiB; at most ${(memory(pid).peak / 2 ** 20).toFixed(0)} MiB`);
      }
    } finally {
      await server.stop();
    }
  });
}

/** The one workerd that this process has started. */
function workerd() {
  const children = (pid) => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
  const all = readdirSync('/proc/self/task').flatMap((task) => readFileSync(`/proc/self/task/${task}/children`, 'utf8').trim().split(' ').filter(Boolean));
  const found = all.flatMap((pid) => [pid, ...children(pid)]).filter((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'workerd');
  assert.equal(found.length, 1, 'one workerd runs');
  return found[0];
}
