// Firefox, headless, with a profile of its own on disk, driven by WebDriver BiDi (w3.org/TR/webdriver-bidi).
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import WebSocket from 'ws';
import { leash } from '../../../scripts/lib/leash.mjs';
import { findFirefox } from '../../../scripts/setup/firefox.mjs';
import { announced } from './announced.mjs';

/** Nothing of its own goes out, and it is asked for nothing. */
const preferences = { 'app.normandy.enabled': false, 'app.update.enabled': false, 'browser.shell.checkDefaultBrowser': false, 'datareporting.policy.dataSubmissionEnabled': false, 'network.captive-portal-service.enabled': false, 'network.connectivity-service.enabled': false, 'services.settings.server': '' };

/** One for the tests of a file; it ends with them. */
export function firefox() {
  const dir = mkdtempSync(join(tmpdir(), 'walferry-firefox-'));
  writeFileSync(join(dir, 'user.js'), Object.entries(preferences).map(([name, value]) => `user_pref('${name}', ${JSON.stringify(value)});\n`).join(''));
  let running;
  after(async () => {
    await running?.kill();
    rmSync(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  });
  return {
    /** Starts it, again after it was killed: the profile is the same. */
    async start() {
      running = await run(dir);
      return running;
    },
  };
}

async function run(dir) {
  const program = findFirefox();
  if (!program) throw new Error('Firefox is needed for these tests: install it, or name it in FIREFOX');
  const child = leash(spawn(program, ['--headless', '--no-remote', '--remote-debugging-port=0', '--profile', dir, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'], detached: true }));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const address = await announced(child, 'BiDi');
  const bidi = await connect(`${address}/session`);
  await bidi.send('session.new', { capabilities: {} });
  await bidi.send('session.subscribe', { events: ['log.entryAdded'] });
  return {
    /** A tab at `url`, with what Playwright's has of it here. Its `complaints` are empty as long as nothing was refused or thrown. */
    async tab(url) {
      const { context } = await bidi.send('browsingContext.create', { type: 'tab' });
      const complaints = [];
      bidi.on('log.entryAdded', ({ source, level, text }) => source.context === context && level === 'error' && complaints.push(text));
      const target = { context };
      const page = {
        complaints,
        goto: (url) => bidi.send('browsingContext.navigate', { context, url, wait: 'complete' }),
        reload: () => bidi.send('browsingContext.reload', { context, wait: 'complete' }),
        close: () => bidi.send('browsingContext.close', { context }),
        /** What the function returns there, for one argument; both as JSON has them. */
        async evaluate(called, argument) {
          const functionDeclaration = `async (json) => JSON.stringify((await (${called})(json === '' ? undefined : JSON.parse(json))) ?? null)`;
          const value = argument === undefined ? '' : JSON.stringify(argument);
          const { type, result, exceptionDetails } = await bidi.send('script.callFunction', { functionDeclaration, awaitPromise: true, target, arguments: [{ type: 'string', value }] });
          if (type === 'exception') throw new Error(exceptionDetails.text);
          return JSON.parse(result.value);
        },
      };
      await page.goto(url);
      return page;
    },
    /** As a crash would: nothing is written any more. */
    async kill() {
      bidi.close();
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // it has ended
      }
      await ended;
    },
  };
}

async function connect(address) {
  const socket = new WebSocket(address);
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  const waiting = new Map();
  const listeners = [];
  let last = 0;
  socket.on('message', (text) => {
    const { id, type, method, params, result, error, message } = JSON.parse(text);
    if (type === 'event') return listeners.forEach((listener) => listener.method === method && listener.told(params));
    const call = waiting.get(id);
    waiting.delete(id);
    if (type === 'success') call?.resolve(result);
    else call?.reject(new Error(`${error}: ${message}`));
  });
  socket.on('close', () => waiting.forEach(({ reject }) => reject(new Error('Firefox has ended'))));
  return {
    send: (method, params) => new Promise((resolve, reject) => {
      last += 1;
      waiting.set(last, { resolve, reject });
      socket.send(JSON.stringify({ id: last, method, params }));
    }),
    on: (method, told) => listeners.push({ method, told }),
    close: () => socket.close(),
  };
}
