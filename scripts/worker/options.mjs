// What Miniflare is told about the Worker: read from wrangler.toml by wrangler itself, so that there is one truth. Loading
// wrangler takes over a second, so its answer is kept until wrangler.toml changes.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { devNull } from 'node:os';
import { dirname } from 'node:path';
import { inRoot, root } from '../lib/root.mjs';

const kept = inRoot('build', 'worker-options.json');

export async function workerOptions() {
  const key = createHash('sha256')
    .update(root)
    .update(readFileSync(inRoot('wrangler.toml')))
    .update(readFileSync(inRoot('package-lock.json')))
    .update(readFileSync(new URL(import.meta.url)))
    .digest('hex');
  if (existsSync(kept)) {
    const last = JSON.parse(readFileSync(kept, 'utf8'));
    if (last.key === key) return last.options;
  }
  const options = await askWrangler();
  mkdirSync(dirname(kept), { recursive: true });
  // Another Worker may start at the same moment and read it.
  const next = `${kept}.${process.pid}`;
  writeFileSync(next, JSON.stringify({ key, options }, null, 1));
  renameSync(next, kept);
  return options;
}

async function askWrangler() {
  process.env.WRANGLER_SEND_METRICS = 'false';
  process.env.WRANGLER_SEND_ERROR_REPORTS = 'false';
  const { unstable_getMiniflareWorkerOptions: read } = await import('wrangler');
  // Naming files of variables, even empty ones, keeps it from looking for .dev.vars and .env: secrets come from the
  // environment of whoever starts the Worker.
  const { log } = console;
  // What it has to say is not the line of JSON that our output is.
  console.log = console.error;
  try {
    const { workerOptions, main } = read(inRoot('wrangler.toml'), undefined, { envFiles: [devNull] });
    return { ...workerOptions, scriptPath: main, modules: true };
  } finally {
    console.log = log;
  }
}
