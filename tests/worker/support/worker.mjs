// The Worker on workerd, and a client of it.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after } from 'node:test';
import { startWorker } from '../../../scripts/worker/start.mjs';

export const WRITE = 'the-write-token';
export const READ = 'the-read-token';
// Where upkeep is not the question, it does not come in between: a window of half a minute may close at any moment.
const QUIET = { WALFERRY_LEVELS: '7d', WALFERRY_HISTORY_WINDOW: '7d', WALFERRY_RAW_RETENTION: '7d' };
export const TOKENS = { ...QUIET, WALFERRY_WRITE_TOKEN: WRITE, WALFERRY_READ_TOKEN: READ };
/** No answer takes so long, in milliseconds: a test says which one does. */
const PATIENCE = 60_000;
/** Where the bucket is the question, all segments go there at once. */
export const BUCKET = { ...TOKENS, WALFERRY_SHORT_SEGMENTS: 'bucket' };

/** Starts one for the tests of a file; it ends with them. Its `log` is what it wrote. */
export async function worker({ from, variables = TOKENS, state } = {}) {
  const dir = state ?? mkdtempSync(join(tmpdir(), 'walferry-worker-'));
  const log = new PassThrough();
  const lines = [];
  log.on('data', (chunk) => lines.push(String(chunk)));
  const children = [];
  const note = ({ process: child }) => children.push(child);
  subscribe('child_process', note);
  const started = await startWorker({ port: 0, state: dir, variables, log, from }).finally(() => unsubscribe('child_process', note));
  const runtime = children.find(({ spawnfile }) => basename(spawnfile) === 'workerd');
  const stop = async () => {
    await started.stop();
    if (!state) rmSync(dir, { recursive: true, force: true });
  };
  /** Ends workerd in the midst of all that it does. */
  const kill = async () => {
    const ended = once(runtime, 'exit');
    runtime.kill('SIGKILL');
    await ended;
    await stop();
  };
  if (!state) after(stop);
  return { ...client(started.url), stop, kill, pid: runtime.pid, log: () => lines.join('') };
}

function client(url) {
  /** One request. `token: null` sends none. */
  const send = async (method, path, { token = WRITE, headers = {}, body } = {}) => {
    const authorization = token === null ? {} : { Authorization: `Bearer ${token}` };
    const signal = AbortSignal.timeout(PATIENCE);
    return fetch(`${url}${path}`, { method, headers: { ...authorization, ...headers }, body, signal }).catch((error) => {
      throw signal.aborted ? new Error(`${method} ${path} has no answer after ${PATIENCE} ms`) : error;
    });
  };
  const json = async (method, path, options) => {
    const response = await send(method, path, options);
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text ? JSON.parse(text) : null };
  };
  return {
    url,
    send,
    json,
    get: (path, options) => json('GET', path, options),
    put: (db, { name, bytes }, options) => json('PUT', `/v1/${db}/ltx/${name}`, { body: bytes, ...options }),
    /** Every object that there is of a database. */
    objects: async (db) => (await json('GET', `/v1/${db}/ltx`)).body.segments,
    raw: (path, headers, chunks, method) => raw(url, path, headers, chunks, method),
  };
}

/** A request whose headers and body are sent as they are, however wrong. Among the chunks, `null` hangs up, a promise waits. */
function raw(url, path, headers, chunks, method = 'PUT') {
  return new Promise((resolve) => {
    const request = httpRequest(`${url}${path}`, { method, headers, agent: false });
    request.on('error', (error) => resolve({ error }));
    request.setTimeout(PATIENCE, () => request.destroy(new Error(`${method} ${path} stands still for ${PATIENCE} ms`)));
    request.on('response', (response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk)).on('end', () => resolve({ status: response.statusCode, body: text ? JSON.parse(text) : null }));
      response.on('error', (error) => resolve({ error }));
    });
    (async () => {
      for await (const chunk of chunks) {
        if (chunk === null) return request.destroy();
        if (chunk === undefined) continue;
        await new Promise((sent) => request.write(chunk, sent));
        await new Promise((later) => setTimeout(later, 20));
      }
      request.end();
    })();
  });
}

/** The error's code, after making sure that the answer is of the form that all errors have. */
export function code(answer) {
  const { error } = answer.body ?? {};
  if (typeof error?.code !== 'string' || !/^[a-z0-9_]+$/.test(error.code)) throw new Error(`no error code: ${JSON.stringify(answer.body)}`);
  if (!/^[A-Z].*[.;]/s.test(error.message)) throw new Error(`not a sentence: ${error.message}`);
  return error.code;
}
