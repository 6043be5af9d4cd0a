// docs/browser.md is followed step by step, and docs/browser-api.md is what the types say.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { leash } from '../../scripts/lib/leash.mjs';
import { inRoot } from '../../scripts/lib/root.mjs';
import { browser, tab } from './support/chromium.mjs';
import { folder, pack, run } from './support/packed.mjs';
import { READ, source, worker } from './support/source.mjs';

/** The blocks of a page that are marked: `{ kind, of, text }`. */
function steps(page) {
  const marked = /^<!-- (run|file|page)(?:: (.*?))? -->\n```\w*\n(.*?)^```$/gms;
  return [...page.matchAll(marked)].map(([, kind, of, text]) => ({ kind, of, text }));
}

test('a live database in a page can be followed', async () => {
  const to = await worker();
  const server = await source(to, 'app');
  after(() => server.stop());
  await server.run('create table task (id integer primary key, title text)', "insert into task (title) values ('write'), ('read')");
  await server.ship();
  const { archive } = await pack();
  const dir = folder('live');
  const port = await freePort();
  const env = { ...process.env, PORT: port, APP_DB: server.path };
  const ours = (text) => text.replace('npm install walferry', `npm install --no-audit --no-fund ${archive}`).replace('https://walferry.example.workers.dev', to.url).replace("'…'", `'${READ}'`);

  const chromium = await browser();
  let page;
  const done = { run: 0, file: 0, page: 0 };
  for (const { kind, of, text } of steps(readFileSync(inRoot('docs', 'browser.md'), 'utf8'))) {
    done[kind] += 1;
    if (kind === 'file') writeFileSync(join(dir, of), ours(text));
    else if (kind === 'run' && of === 'in the background') {
      const child = leash(spawn('bash', ['-c', `exec ${text}`], { cwd: dir, env, stdio: 'ignore' }));
      after(() => child.kill());
      await answers(port);
    } else if (kind === 'run') await run('bash', ['-euc', ours(text)], dir, env);
    else {
      page ??= await tab(chromium, `http://127.0.0.1:${port}/`);
      await page.waitForFunction((text) => document.getElementById('tasks').textContent === text, text.trimEnd());
    }
  }
  assert.deepEqual(done, { run: 3, file: 1, page: 2 });
  assert.deepEqual(page.complaints, []);
});

test('the reference is made of the types', async () => {
  const dir = folder('reference');
  await run(inRoot('node_modules', '.bin', 'typedoc'), ['--options', inRoot('scripts', 'docs', 'typedoc.json'), '--out', dir], inRoot());
  const made = `<!-- Made from src/browser/js/walferry.d.ts; do not edit. -->\n\n${readFileSync(join(dir, 'browser-api.md'), 'utf8')}`;
  const page = inRoot('docs', 'browser-api.md');
  if (process.env.WALFERRY_WRITE_DOCS) writeFileSync(page, made);
  assert.equal(readFileSync(page, 'utf8'), made, 'docs/browser-api.md is out of date; run this test with WALFERRY_WRITE_DOCS=1');
});

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function answers(port) {
  for (let tries = 0; tries < 200; tries++) {
    if (await fetch(`http://127.0.0.1:${port}/`).then((answer) => answer.ok, () => false)) return;
    await new Promise((later) => setTimeout(later, 50));
  }
  throw new Error('the page is not served');
}
