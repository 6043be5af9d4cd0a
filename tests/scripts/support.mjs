// What the tests of the scripts share.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const writeToken = 'test-write-token-0123456789abcdef';
export const readToken = 'test-read-token-0123456789abcdef';

/** A folder that goes with the test; in memory where that is possible, for the simulated R2 syncs every write. */
export function temporaryFolder(t, name) {
  const dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), `walferry-${name}-`));
  t.after(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));
  return dir;
}
