// The promise, as a page sees it: two applications write with everything SQLite offers, one dies inside a commit, walferry
// is killed and started again, the page follows all along; in the end it holds the source, byte for byte.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { leash } from '../../scripts/lib/leash.mjs';
import { inRoot } from '../../scripts/lib/root.mjs';
import { browser, tab } from './support/chromium.mjs';
import { ask } from './support/console.mjs';
import { READ, replicate, worker } from './support/source.mjs';

const dir = mkdtempSync(join(tmpdir(), 'walferry-spine-'));
after(() => rmSync(dir, { recursive: true, force: true }));
const to = await worker();
const context = await browser();

const script = inRoot('tests', 'support', 'app.py');
const dying = join(dir, 'die_in_fsync.so');
const compiled = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-w', '-o', dying, inRoot('tests', 'support', 'die_in_fsync.c'), '-ldl']);
assert.equal(compiled.status, 0, 'a C compiler is needed for the tests');

function app(args, env = {}) {
  const { status, signal } = spawnSync('python3', [script, ...args], { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...env } });
  return signal ?? status;
}

for (const [pageSize, autoVacuum] of [['512', 'full'], ['4096', 'none'], ['65536', 'incremental']]) {
  test(`pages of ${pageSize} bytes, auto_vacuum ${autoVacuum}`, async () => {
    const database = `spine-${pageSize}`;
    const path = join(dir, `${database}.db`);
    const replica = `${to.url}/v1/${database}`;
    assert.equal(app(['create', path, pageSize, autoVacuum]), 0);
    let ferry = replicate(path, replica, ['--sync-interval', '50ms']);
    await ferry.started;

    const page = await tab(context, `${to.url}/#db=${database}&token=${READ}`);
    await page.locator('#workbench').waitFor();
    // The page's own first question is answered, so that ours is not asked into it.
    await page.locator('#result [role=gridcell]').first().waitFor();
    await ask(page, 'pragma integrity_check');
    await page.locator('#result [role=gridcell]', { hasText: /^ok$/ }).waitFor();
    // Following, without the page's pause between two looks; each look asks the same question again.
    const seen = new Set();
    let following = true;
    const follow = (async () => {
      while (following) {
        await page.locator('#refresh:enabled').click();
        await page.locator('#refresh:enabled').waitFor();
        seen.add(await page.locator('#position-txid').getAttribute('title'));
        assert.deepEqual(await page.locator('#result [role=gridcell]').allTextContents(), ['ok']);
      }
    })();

    const writers = ['1', '2'].map((seed) => {
      const child = leash(spawn('python3', [script, 'write', path, seed, '6'], { stdio: ['ignore', 'inherit', 'inherit'] }));
      return new Promise((resolve) => child.once('exit', resolve));
    });
    for (let round = 0; round < 3; round++) {
      await sleep(900 + 311 * round);
      await ferry.kill();
      await sleep(300 * round);
      assert.equal(app(['commit', path, 'never committed'], { LD_PRELOAD: dying, DIE_IN_SYNC: '1', APP_SYNCHRONOUS: 'full' }), 'SIGKILL', 'it dies inside its commit');
      ferry = replicate(path, replica, ['--sync-interval', '50ms']);
    }
    assert.deepEqual(await Promise.all(writers), [0, 0], 'the applications met no error');
    // It follows several states, however busy the machine is.
    while (seen.size <= 3) {
      const before = seen.size;
      assert.equal(app(['commit', path, 'one more']), 0);
      while (seen.size === before) await Promise.race([follow, sleep(50)]);
    }
    assert.equal(app(['commit', path, 'the last row']), 0);
    await ferry.stop();
    following = false;
    await follow;
    assert.equal(app(['finish', path]), 0);

    await page.locator('#refresh').click();
    await page.locator('#refresh:enabled').waitFor();
    const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#export').click()]);
    const copy = readFileSync(await download.path());
    const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
    assert.equal(sha256(copy), sha256(readFileSync(path)));
    assert.deepEqual(page.complaints, []);
    await page.close();
  });
}
