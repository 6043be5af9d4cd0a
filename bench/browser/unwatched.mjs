// A tab that nobody watches. Playwright has Chromium tell of all that is fetched, and for that the tab keeps it, up to 100 MB: no
// use where memory is measured.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import WebSocket from 'ws';
import { leash } from '../../scripts/lib/leash.mjs';
import { findChromium } from '../../scripts/setup/chromium.mjs';
import { announced } from '../../tests/browser/support/announced.mjs';

/** Opens one: `evaluate` runs a function in it, `kept` is what its process has of memory, in bytes, and `close` ends its Chromium. */
export async function unwatched(url) {
  const dir = mkdtempSync(join(tmpdir(), 'walferry-chromium-'));
  const args = ['--headless', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--no-sandbox', '--remote-debugging-port=0', `--user-data-dir=${dir}`, url];
  const child = leash(spawn(findChromium(), args, { stdio: ['ignore', 'ignore', 'pipe'] }));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const address = await announced(child, 'DevTools');
  const browser = await connected(address);
  const targets = await (await fetch(`http://${new URL(address).host}/json`)).json();
  const page = await connected(targets.find(({ type }) => type === 'page').webSocketDebuggerUrl);
  const tab = {
    page,
    async evaluate(what, argument) {
      const expression = `(${what})(${JSON.stringify(argument)})`;
      const { result, exceptionDetails } = await page.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
      if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
      return result.value;
    },
    async kept() {
      const { processInfo } = await browser.send('SystemInfo.getProcessInfo');
      const all = processInfo.filter(({ type }) => type === 'renderer');
      return Math.max(...all.map(({ id }) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${id}/status`, 'utf8'))[1]) * 1024));
    },
    async close() {
      await browser.send('Browser.close');
      await ended;
      rmSync(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
  const isThere = (url) => document.readyState === 'complete' && location.href.startsWith(url);
  while (!(await tab.evaluate(isThere, url).catch(() => false))) await new Promise((later) => setTimeout(later, 20));
  return tab;
}

async function connected(address) {
  const socket = new WebSocket(address, { perMessageDeflate: false });
  const waiting = new Map();
  socket.on('message', (text) => {
    const { id, result, error } = JSON.parse(text);
    const { resolve, reject } = waiting.get(id) ?? {};
    if (error) reject?.(new Error(error.message));
    else resolve?.(result);
  });
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  let last = 0;
  return {
    send: (method, params = {}) => new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject });
      socket.send(JSON.stringify({ id: last, method, params }));
    }),
  };
}
