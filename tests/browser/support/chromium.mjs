// Chromium, headless, with storage of its own on disk (a plain context would be incognito, where OPFS is another thing).
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { chromium } from 'playwright-core';
import { leash } from '../../../scripts/lib/leash.mjs';
import { findChromium } from '../../../scripts/setup/chromium.mjs';
import { announced } from './announced.mjs';

const args = ['--headless', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** Starts one for the tests of a file; it ends with them. */
export async function browser(options = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'walferry-chromium-'));
  const context = await chromium.launchPersistentContext(dir, { executablePath: findChromium(), chromiumSandbox: false, args, ...options });
  context.setDefaultTimeout(20_000);
  after(async () => {
    await context.close();
    rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  });
  return context;
}

/**
 * One that is not told to keep every tab in front, as Playwright does: tabs behind others are hidden, can be frozen, and go
 * into the back/forward cache.
 */
export async function bareBrowser() {
  const dir = mkdtempSync(join(tmpdir(), 'walferry-chromium-'));
  const all = [...args, '--no-sandbox', '--remote-debugging-port=0', `--user-data-dir=${dir}`, 'about:blank'];
  const child = leash(spawn(findChromium(), all, { stdio: ['ignore', 'ignore', 'pipe'], detached: true }));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const address = await announced(child, 'DevTools');
  const connected = await chromium.connectOverCDP(address, { noDefaults: true });
  const [context] = connected.contexts();
  context.setDefaultTimeout(20_000);
  after(async () => {
    const devtools = await connected.newBrowserCDPSession();
    await devtools.send('Browser.close').catch(() => {});
    await ended;
    // What it has started may outlive it, and write.
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // nothing did
    }
    rmSync(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  });
  return context;
}

/** A new tab whose complaints are kept: `complaints` is empty as long as nothing was refused or thrown. */
export async function tab(context, url) {
  const page = await context.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  if (url) await page.goto(url);
  return Object.assign(page, { complaints });
}
