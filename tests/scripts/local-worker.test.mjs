// `npm run worker`: what it prints, when it ends, and that workerd never outlives it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inRoot } from '../../scripts/lib/root.mjs';
import { readToken, temporaryFolder, writeToken } from './support.mjs';

const tokens = { WALFERRY_WRITE_TOKEN: writeToken, WALFERRY_READ_TOKEN: readToken };
const byNode = ['node', inRoot('scripts', 'worker.mjs')];
const byNpm = ['npm', 'run', '--silent', 'worker', '--'];

function worker(t, { by = byNode, args = ['--port', '0'], state = temporaryFolder(t, 'state'), env = tokens, stdin = 'ignore' } = {}) {
  const [program, ...rest] = [...by, ...args, '--state', state, '--no-build'];
  const child = spawn(program, rest, { cwd: inRoot(), env: { ...process.env, WALFERRY_WRITE_TOKEN: '', WALFERRY_READ_TOKEN: '', ...env }, stdio: [stdin, 'pipe', 'pipe'] });
  after(() => child.kill('SIGKILL'));
  child.said = '';
  child.stderr.on('data', (bytes) => (child.said += bytes));
  return child;
}

async function url(child) {
  for await (const line of createInterface(child.stdout)) return JSON.parse(line).url;
  throw new Error(`it ended without a word on standard output: ${child.said}`);
}

const answers = (at) => fetch(`${at}/v1/none`, { signal: AbortSignal.timeout(2000) }).then(() => true, () => false);

async function silent(at) {
  for (let tries = 0; tries < 50; tries++) {
    if (!(await answers(at))) return true;
    await sleep(100);
  }
  return false;
}

test('prints its URL as one line of JSON when it answers', async (t) => {
  const child = worker(t);
  const at = await url(child);
  assert.match(at, /^http:\/\/127\.0\.0\.1:\d+$/);
  const answer = await fetch(`${at}/v1/none`, { headers: { Authorization: `Bearer ${readToken}` } });
  assert.equal(answer.headers.get('content-type'), 'application/json');
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [0, null]);
  assert.ok(await silent(at));
});

test('stays while standard input is nothing, ends when it was a pipe and closes', async (t) => {
  const child = worker(t, { stdin: 'pipe' });
  const at = await url(child);
  await sleep(700);
  assert.ok(await answers(at));
  child.stdin.end();
  assert.deepEqual(await once(child, 'exit'), [0, null]);
  assert.ok(await silent(at));
});

test('leaves no workerd when it is killed with -9', async (t) => {
  const child = worker(t);
  const at = await url(child);
  child.kill('SIGKILL');
  assert.ok(await silent(at));
});

for (const [name, by] of [['itself', byNode], ['npm', byNpm]]) {
  test(`ends with whoever started ${name}, killed with -9`, async (t) => {
    const state = temporaryFolder(t, 'state');
    const script = `
      const child = require('node:child_process').spawn(...${JSON.stringify([by[0], [...by.slice(1), '--port', '0', '--state', state, '--no-build']])}, { stdio: ['ignore', 'inherit', 'inherit'] });
      setInterval(() => {}, 1000);`;
    const parent = spawn('node', ['-e', script], { cwd: inRoot(), env: { ...process.env, ...tokens }, stdio: ['ignore', 'pipe', 'pipe'] });
    const at = await url(parent);
    parent.kill('SIGKILL');
    assert.ok(await silent(at));
  });
}

test('keeps what it was given, across kill -9', async (t) => {
  const state = temporaryFolder(t, 'state');
  const first = worker(t, { state });
  await url(first);
  const second = worker(t, { state });
  await once(second, 'exit');
  assert.match(second.said, /in use by a Worker that runs already/);
  first.kill('SIGKILL');
  await once(first, 'exit');
  const third = worker(t, { state });
  assert.ok(await answers(await url(third)), 'a dead owner is no owner');
});

test('says in a sentence what is wrong', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.after(() => taken.close());
  const cases = [
    [{ env: {} }, /set WALFERRY_WRITE_TOKEN and WALFERRY_READ_TOKEN/],
    [{ env: { WALFERRY_WRITE_TOKEN: 'w' } }, /set WALFERRY_READ_TOKEN/],
    [{ args: ['--port', 'x'] }, /--port x is not a port/],
    [{ args: ['--prot', '1'] }, /'--prot'.*Usage/s],
    [{ args: ['--port', String(taken.address().port)] }, /is in use by another program/],
  ];
  for (const [options, sentence] of cases) {
    const child = worker(t, options);
    const [code] = await once(child, 'exit');
    assert.equal(code, 1);
    assert.match(child.said, sentence);
    assert.doesNotMatch(child.said, /\n\s+at /, 'no stack');
  }
});
