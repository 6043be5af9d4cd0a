// Chromium for tests, driven by Playwright.
import { chromium } from 'playwright-core';
import { findChromium } from '../../scripts/setup/chromium.mjs';
import { temporaryFolder } from './worker.mjs';

const args = [
  ...['--headless', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
];

/**
 * Starts a browser with a profile of its own, closed after the test or suite `t`, and returns its context. Not a plain
 * `newContext()`: that is incognito, where OPFS is slow and cannot grow large.
 */
export async function testBrowser(t, { profile = temporaryFolder(t, 'profile') } = {}) {
  const executablePath = findChromium();
  if (!executablePath) throw new Error('There is no Chromium: run `node scripts/setup.mjs --tests`.');
  const context = await chromium.launchPersistentContext(profile, { executablePath, chromiumSandbox: false, args });
  t.after(() => context.close());
  return context;
}
