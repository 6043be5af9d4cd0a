// The Worker for tests written in JavaScript: on workerd, with tokens of its own and an empty R2.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startWorker } from '../../scripts/worker/start.mjs';

export const writeToken = 'test-write-token-0123456789abcdef';
export const readToken = 'test-read-token-0123456789abcdef';

/**
 * Starts one and returns `{ url, state, stop }`; it is stopped after the test or suite `t`. With `faults`, the Worker that
 * fails on demand. Given the `state` of an earlier one, it goes on with what that left.
 */
export async function testWorker(t, { faults = false, state = temporaryFolder(t, 'worker'), variables = {} } = {}) {
  const worker = await startWorker({
    state,
    variables: { WALFERRY_WRITE_TOKEN: writeToken, WALFERRY_READ_TOKEN: readToken, ...variables },
    from: faults ? 'worker-faults' : 'worker',
  });
  let stopped;
  const stop = () => (stopped ??= worker.stop());
  t.after(stop);
  return { url: worker.url, state, stop };
}

/** A folder that goes with the test; in memory where that is possible, for the simulated R2 syncs every write. */
export function temporaryFolder(t, name) {
  const dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), `walferry-${name}-`));
  t.after(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));
  return dir;
}
