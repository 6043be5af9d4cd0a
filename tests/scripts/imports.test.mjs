// In a fresh clone nothing is installed yet: the first command must load to install it.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { inRoot } from '../../scripts/lib/root.mjs';

test('no script needs a package to be loaded', () => {
  const files = readdirSync(inRoot('scripts'), { recursive: true }).filter((file) => file.endsWith('.mjs'));
  assert.ok(files.length > 20, files.join());
  for (const file of files) {
    const imported = [...readFileSync(join(inRoot('scripts'), file), 'utf8').matchAll(/^(?:import|export) .*?from '([^']+)'/gm)].map(([, from]) => from);
    for (const from of imported) assert.match(from, /^(node:|\.)/, `${file} imports ${from}`);
  }
});
