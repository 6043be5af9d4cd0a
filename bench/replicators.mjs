// How each replicator is called. Both with their defaults.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { finish, start } from './processes.mjs';

export const walferry = (program) => ({
  name: 'walferry',
  replicate: (database, replica, options) => start(program, ['replicate', database, replica.url], { ...options, env: replica.env }),
  replicateAll: (pairs, { dir, ...options }) => start(program, ['replicate', '-config', configured(pairs, dir)], { ...options, env: pairs[0].replica.env }),
  restore: (replica, out) => finish(program, ['restore', '-o', out, replica.url], { env: replica.env }),
});

export const litestream = (program) => ({
  name: 'litestream',
  replicate: (database, replica, options) => start(program, ['replicate', database, replica.url], { ...options, env: replica.env }),
  replicateAll: (pairs, { dir, ...options }) => start(program, ['replicate', '-config', configured(pairs, dir)], { ...options, env: pairs[0].replica.env }),
  restore: (replica, out) => finish(program, ['restore', '-o', out, replica.url], { env: replica.env }),
});

// Both read the same file.
function configured(pairs, dir) {
  const file = join(dir, 'replicate.yml');
  const entries = pairs.map(({ database, replica }) => `  - path: ${database}\n    replicas:\n      - url: ${replica.url}\n`);
  writeFileSync(file, `dbs:\n${entries.join('')}`);
  return file;
}
