// What is deployed: its size, and that wrangler takes it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { inRoot, root } from '../../scripts/lib/root.mjs';

test('the wasm is small', (t) => {
  const wasm = readFileSync(inRoot('build', 'worker', 'index_bg.wasm'));
  const packed = gzipSync(wasm, { level: 9 }).length;
  t.diagnostic(`${(wasm.length / 1000).toFixed(1)} kB raw, ${(packed / 1000).toFixed(1)} kB gzip`);
  // The aim is 300 kB. What reads JSON by generated code, or formats floating point, is 15 kB each.
  assert(packed <= 295_000, `${packed} bytes`);
});

test('wrangler would deploy it, with the page beside it', () => {
  assert(existsSync(inRoot('build', 'site')), 'build the page first: npm run build browser');
  const out = mkdtempSync(join(tmpdir(), 'walferry-deploy-'));
  try {
    const result = spawnSync(inRoot('node_modules', '.bin', 'wrangler'), ['deploy', '--dry-run', '--outdir', out], {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, WRANGLER_SEND_METRICS: 'false', WRANGLER_SEND_ERROR_REPORTS: 'false', CI: '1', NO_COLOR: '1', XDG_CONFIG_HOME: out },
      timeout: 120_000,
    });
    const said = `${result.stdout}${result.stderr}`;
    assert.equal(result.status, 0, said);
    assert.match(said, /env\.BUCKET \(walferry\)\s+R2 Bucket/);
    assert.match(said, /env\.DATABASES \(Database\)\s+Durable Object/);
    assert(existsSync(join(out, 'index.js')), said);
    assert(existsSync(join(out, 'index_bg.wasm')), 'the wasm goes with it');
    assert.deepEqual(readFileSync(join(out, 'index_bg.wasm')), readFileSync(inRoot('build', 'worker', 'index_bg.wasm')));
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});
