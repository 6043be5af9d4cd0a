// Other servers: one that serves the page from another origin, one that stands between a page and the Worker and damages
// what passes.
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inRoot } from '../../../scripts/lib/root.mjs';

const types = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.wasm': 'application/wasm' };

/** Serves build/site, with the headers that its `_headers` gives every page. */
export async function site(host) {
  const headers = Object.fromEntries(
    readFileSync(inRoot('build', 'site', '_headers'), 'utf8').split('\n').filter((line) => line.startsWith('  ')).map((line) => {
      const [name, ...value] = line.trim().split(': ');
      return [name, value.join(': ')];
    }),
  );
  return files(inRoot('build', 'site'), { host, headers });
}

/** Serves what is in a folder, ranges of it too; `told(path, bytes)` hears of each answer. */
export function files(root, { host = '127.0.0.1', headers = {}, told = () => {} } = {}) {
  return listen(host, (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://x').pathname));
    const file = join(root, path.endsWith('/') ? `${path}index.html` : path);
    if (!existsSync(file) || !statSync(file).isFile()) return response.writeHead(404).end();
    const all = readFileSync(file);
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range) ?? [];
    const range = first && { 'Content-Range': `bytes ${first}-${Math.min(last, all.length - 1)}/${all.length}` };
    const body = range ? all.subarray(Number(first), Number(last) + 1) : all;
    told(path, request.method === 'HEAD' ? 0 : body.length);
    const type = types[extname(file)] ?? 'application/octet-stream';
    response.writeHead(range ? 206 : 200, { ...headers, ...range, 'Content-Type': type, 'Content-Length': body.length, 'Accept-Ranges': 'bytes' }).end(body);
  });
}

/** Passes requests on to `target`, or what it returns, and each answer's body through `change(path, bytes, request)`; none is a connection cut off. */
export async function between(target, change = (_, body) => body) {
  return listen('127.0.0.1', async (request, response) => {
    const { host, connection, upgrade, ...headers } = request.headers;
    const answer = await fetch((typeof target === 'function' ? target() : target) + request.url, { method: request.method, headers });
    const body = await change(request.url, Buffer.from(await answer.arrayBuffer()), request);
    if (!body) return response.destroy();
    const ours = ['content-encoding', 'transfer-encoding', 'connection', ...(request.method === 'HEAD' ? [] : ['content-length'])];
    const passed = Object.fromEntries([...answer.headers].filter(([name]) => !ours.includes(name)));
    response.writeHead(answer.status, passed).end(body);
  });
}

/** Like `between`, but between `hold()` and `release()` no answer for later than two MiB of a segment arrives: half a restore stays half, however fast the machine. */
export async function stuck(target) {
  let holds = false;
  const url = await between(target, async (path, body, { headers, socket }) => {
    const from = Number(/^bytes=(\d+)-/.exec(headers.range)?.[1] ?? 0);
    const isPages = /\.ltx$/.test(path) && from > 2 ** 21 && body.length > 2 ** 18;
    if (holds && isPages && !socket.destroyed) await Promise.race([once(socket, 'close'), sleep(20_000, undefined, { ref: false })]);
    return body;
  });
  return { url, hold: () => (holds = true), release: () => (holds = false) };
}

/**
 * Like `between`, and writes down which ranges of objects were `fetched`. From `hold(count)` to `release()` no long one arrives but the first
 * `count`: what comes behind stands still, and who reads a few pages is served.
 */
export async function ranges(target) {
  const fetched = [];
  let held = 0;
  let allowed = Infinity;
  let released = Promise.resolve();
  let release = () => {};
  const url = await between(target, async (path, body, { headers, socket }) => {
    const range = /^bytes=(\d+)-(\d+)/.exec(headers.range);
    if (!range) return body;
    if (body.length > 2 ** 18 && --allowed < 0 && ++held) await Promise.race([released, once(socket, 'close')]);
    if (!socket.destroyed) fetched.push({ path, first: Number(range[1]), last: Number(range[2]) });
    return body;
  });
  const hold = (count = 0) => {
    allowed = count;
    released = new Promise((resolve) => (release = resolve));
  };
  /** Until something stands still. */
  const stands = async () => {
    while (!held) await sleep(10);
  };
  return { url, fetched, stands, hold, release: () => ((allowed = Infinity), release()) };
}

/** A line to `target`, or what it returns, WebSockets too, that can be `cut()` and `mend()`ed. */
export async function line(target) {
  const open = new Set();
  let whole = true;
  const server = createTcpServer((from) => {
    if (!whole) return from.destroy();
    const { hostname, port } = new URL(typeof target === 'function' ? target() : target);
    const to = connect(Number(port), hostname);
    for (const [one, other] of [[from, to], [to, from]]) {
      open.add(one);
      one.on('error', () => {});
      one.on('close', () => (open.delete(one), other.destroy()));
      one.pipe(other);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    whole = false;
    for (const socket of open) socket.destroy();
  };
  after(() => (cut(), server.close()));
  return { url: `http://127.0.0.1:${server.address().port}`, cut, mend: () => (whole = true) };
}

async function listen(host, handler) {
  const server = createServer(handler);
  server.listen(0, host);
  await once(server, 'listening');
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://${host}:${server.address().port}`;
}
