// What nobody means well with: strange input at every route, and segments, WALs and files that claim what they do not hold. Each is
// answered by a sentence, costs little memory, and the Worker lives on.
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { Database, START } from './support/database.mjs';
import { encode, hex16 } from './support/ltx.mjs';
import { databaseFile, databaseHeader, wal } from './support/wal.mjs';
import { BUCKET, WRITE, code, worker } from './support/worker.mjs';

const { get, put, json, send, objects, url } = await worker({ from: 'worker-faults', variables: BUCKET });
const authorization = { Authorization: `Bearer ${WRITE}` };
const memory = async () => (await json('POST', '/v1/-/memory')).body;

const database = new Database();
const first = database.next({ 1: database.page(1), 2: database.page(2) });
assert.equal((await put('app', first)).status, 201);
assert.equal((await put('app', database.next())).status, 201);
const before = { head: (await get('/v1/app')).body, objects: await objects('app') };
/** Nothing has changed, and it serves. */
async function isAsBefore(what) {
  assert.deepEqual({ head: (await get('/v1/app')).body, objects: await objects('app') }, before, what);
}

/** A question with these headers, however wrong. */
function ask(path, headers) {
  return new Promise((resolve) => {
    const asking = request(`${url}${path}`, { headers, agent: false });
    asking.on('error', (error) => resolve({ error }));
    asking.on('upgrade', (answer, socket) => resolve({ status: answer.statusCode, end: socket.destroy() }));
    asking.on('response', (answer) => answer.resume().on('end', () => resolve({ status: answer.statusCode })));
    asking.end();
  });
}

const STRANGE = ['%00', '%', '%zz', '%FF%FE', '-1', '+1', '1e3', '0x10', '1.5', 'NaN', 'null', '[]', '{}', '%0d%0aX: y', '99999999999999999999', '18446744073709551616', '9223372036854775808', '4294967296', '..%2f..', '%2e%2e', '\u202e', '１', 'A'.repeat(5000), '%F0%9F%92%A9'.repeat(50), "' OR 1=1 --", '${x}', '<script>'];

test('no value of any parameter of any route is a fault', async () => {
  const { name } = first;
  const routes = {
    'GET /v1/app': ['x'],
    'GET /v1/app/ltx': ['level', 'after', 'limit', 'cursor'],
    'GET /v1/app/plan': ['txid', 'timestamp', 'from'],
    'GET /v1/app/map': ['txid', 'timestamp', 'from', 'to'],
    'GET /v1/app/db': ['txid', 'timestamp'],
    'GET /v1/app/wal': ['x'],
    'GET /v1/': ['after', 'limit'],
    'GET /metrics': ['x'],
    'POST /v1/app/rebuild': ['x'],
    [`GET /v1/app/ltx/${name}`]: ['x'],
    [`PUT /v1/app/ltx/${name}`]: ['offset', 'size', 'x'],
    'PUT /v1/app/db': ['after', 'salt1', 'salt2', 'frame', 'checksum1', 'checksum2', 'offset', 'size'],
    'POST /v1/app/wal': ['salt1', 'salt2', 'offset', 'restarted_at'],
  };
  const rest = Object.entries(routes).flatMap(([route, names]) => names.flatMap((parameter) => STRANGE.map((value) => [route, `${parameter}=${value.includes('%') ? value : encodeURIComponent(value)}`])));
  // Some known ones beside it, so that it is not refused for what is missing.
  const others = { 'POST /v1/app/wal': 'salt1=1&salt2=2&offset=0', [`PUT /v1/app/ltx/${name}`]: 'offset=0&size=100' };
  const all = rest.flatMap(([route, query]) => (others[route] ? [[route, query], [route, `${others[route].split('&').filter((pair) => !pair.startsWith(query.split('=')[0])).join('&')}&${query}`]] : [[route, query]])).entries();
  let count = 0;
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (const [, [route, query]] of all) {
      const [method, path] = route.split(' ');
      const answer = await send(method, `${path}?${query}`, method === 'GET' ? {} : { body: method === 'POST' && path.endsWith('rebuild') ? undefined : 'x'.repeat(100) });
      const text = await answer.text();
      // Any number is a bound that most segments are not beyond; the rest is refused.
      assert(answer.status < 500, `${route} ${query.slice(0, 80)}: ${answer.status} ${text}`);
      if (answer.status >= 400) code({ body: JSON.parse(text) });
      if (answer.status >= 400) assert(text.length < 1000, `${route}: it is told at length what was sent`);
      count += 1;
    }
  }));
  assert(count > 800, `${count}`);
  await isAsBefore('parameters');
});

test('no path and no header is a fault', async () => {
  const paths = ['/v1/app%2fltx', '/v1/app%2Fltx', '/v1/%61pp', '/v1/app/ltx/0%2f..', '/v1//app', '/v1/app//ltx', '//v1/app', '/v1/app/ltx/%30/x', `/v1/app/ltx/0/${first.name.slice(2)}%00`, '/v1/app/../app2', '/v1/app/%2e%2e/x', '/v1/app;x=1', `/v1/${'a'.repeat(8000)}`, `/v1/app/${'x/'.repeat(3000)}`, `/v1/app/ltx/${'9'.repeat(4000)}/x`, `/v1/app/ltx/0/${'f'.repeat(16)}-${'f'.repeat(16)}.ltx`, '/v1/app/ltx/0/\u0000', '/v1/app/ltx/0/-.ltx', '/v1/app/ltx/10/x.bundle', '/v1/app/ltx/12/x', '/v1/app#x', '/v1/app?', '/v1/app?&&&', '/v1/app?=', '/v1/app/ltx?level', `/v1/app/ltx?${'x&'.repeat(3000)}`];
  for (const path of paths) {
    for (const method of ['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'OPTIONS']) {
      const body = ['PUT', 'POST'].includes(method) ? 'x' : undefined;
      const answer = await send(method, path, { body });
      const text = await answer.text();
      assert(answer.status < 500, `${method} ${path.slice(0, 80)}: ${answer.status} ${text}`);
      if (answer.status >= 400 && method !== 'HEAD') assert(text.length < 1000 && code({ body: JSON.parse(text) }), `${method} ${path.slice(0, 80)}`);
    }
  }
  const long = 'x'.repeat(10_000);
  const deep = Buffer.from('['.repeat(5000)).toString('base64url');
  const headers = [
    ...['', 'Bearer', 'Bearer ', `Bearer ${long}`, 'Bearer a.b.c', `Bearer ${deep}.${deep}.${deep}`, `Bearer ${'.'.repeat(1000)}`, 'Bearer \u00ff', 'Basic x', long].map((Authorization) => ({ Authorization })),
    ...[`walferry.v1, bearer.${long}`, 'bearer.', ',,,,', `${'a,'.repeat(3000)}a`, 'walferry.v1, bearer.a.b.c'].map((protocol) => ({ 'Sec-WebSocket-Protocol': protocol, Upgrade: 'websocket', Connection: 'Upgrade' })),
    ...['bytes=', 'bytes=--1', 'bytes=0-18446744073709551616', 'bytes=18446744073709551615-', `bytes=${'9'.repeat(5000)}-`, 'bytes=0-0,1-1', 'bytes=-', 'x', long].map((Range) => ({ ...authorization, Range })),
    ...['-1', '0', long, 'ffffffffffffffff', '0x1', ''].map((atLeast) => ({ ...authorization, 'Walferry-At-Least': atLeast })).filter((header) => header['Walferry-At-Least'] !== 'ffffffffffffffff'),
    ...['null', long, 'file://', '*', 'https://a, https://b'].map((Origin) => ({ ...authorization, Origin })),
    { ...authorization, 'Walferry-Expires': '99999999999999999999' },
    { ...authorization, 'Content-Encoding': 'gzip', 'Accept-Encoding': 'x'.repeat(5000) },
    { ...authorization, 'If-None-Match': long, 'If-Range': long, Cookie: long },
  ];
  for (const header of headers) {
    for (const path of ['/v1/app', `/v1/app/ltx/${first.name}`, '/v1/app/follow']) {
      const answer = await ask(path, header);
      assert(answer.error || answer.status < 500, `${path} ${JSON.stringify(header).slice(0, 100)}: ${answer.status}`);
    }
  }
  await isAsBefore('paths and headers');
});

test('no length that is told wrong is a fault', async () => {
  const { hostname, port } = new URL(url);
  const lines = ['Content-Length: -1', 'Content-Length: 1e9', 'Content-Length: +5', 'Content-Length: 18446744073709551616', 'Content-Length: 5\r\nContent-Length: 6', 'Content-Length: 5\r\nTransfer-Encoding: chunked', 'Transfer-Encoding: gzip, chunked', 'Content-Length: 0', 'Content-Length:'];
  for (const path of [`/v1/app/ltx/${first.name}`, '/v1/app/db', '/v1/app/wal?salt1=1&salt2=2&offset=0']) {
    for (const line of lines) {
      const answer = await new Promise((resolve) => {
        const socket = connect(Number(port), hostname);
        let text = '';
        socket.on('data', (chunk) => (text += chunk)).on('error', () => {}).on('close', () => resolve(text));
        socket.end(`${path.includes('wal') ? 'POST' : 'PUT'} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${WRITE}\r\n${line}\r\n\r\nhello`);
      });
      // What is no HTTP, the runtime answers itself, by a 500 if it likes to.
      const status = Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 400);
      assert(status >= 400 && (status < 500 || !answer.includes('{"error"')), `${path} ${line}: ${answer}`);
    }
  }
  await isAsBefore('lengths');
});

/** A segment after the last one of `app`, of one page that claims what `fields` say. */
const claim = (fields, pages = [[1, database.page(7)]]) => {
  const all = { pageSize: 512, commit: 2, min: 3n, timestamp: START + 9000, before: database.sum, after: 1n, pages, ...fields };
  return { name: `0/${hex16(all.min)}-${hex16(all.max ?? all.min)}.ltx`, bytes: encode(all) };
};
const withFrame = (payload, flags, size = payload.length + 8) => {
  const head = Buffer.alloc(10);
  head.writeUInt32BE(1, 0);
  head.writeUInt16BE(flags, 4);
  head.writeUInt32BE(size, 6);
  const { name, bytes } = claim({}, []);
  return { name, bytes: Buffer.concat([bytes.subarray(0, 100), head, payload, Buffer.alloc(8), bytes.subarray(100)]) };
};

test('segments that claim what they do not hold are refused, within little memory', async () => {
  const grown = await memory();
  const bomb = deflateRawSync(Buffer.alloc(200 << 20));
  const lz4 = Buffer.concat([Buffer.from([0x1f, 0, 1, 0]), Buffer.alloc(500_000, 0xff), Buffer.from([0])]);
  for (const [what, segment] of Object.entries({
    'a database of 2^32 - 1 pages': claim({ commit: 2 ** 32 - 1 }),
    'one of 2^32 - 1 pages of 64 KiB': claim({ commit: 2 ** 32 - 1, pageSize: 65_536 }, [[1, Buffer.alloc(65_536)]]),
    'the page 2^32 - 1': claim({ commit: 2 ** 32 - 1 }, [[2 ** 32 - 1, database.page(1)]]),
    'page 0': claim({}, [[0, database.page(1)]]),
    'a page twice': claim({}, [[1, database.page(1)], [1, database.page(2)]]),
    'no page, and growth': claim({ commit: 900 }, []),
    'all transactions that there are': claim({ max: 2n ** 64n - 1n, before: 1n }),
    'a time at the end of time': claim({ timestamp: 2n ** 63n - 1n }),
    'a time that JavaScript rounds': claim({ timestamp: 2n ** 53n + 1n }),
    'a time before the last': claim({ timestamp: 0 }),
    'a time before 1970': claim({ timestamp: -1n }),
    'a page that inflates to 200 MB': withFrame(bomb, 2),
    'the start of such a page': withFrame(bomb.subarray(0, 500), 2),
    'a page that LZ4 makes long': withFrame(lz4, 1),
    'the start of such': withFrame(lz4.subarray(0, 400), 1),
    'a frame of 4 GiB': withFrame(Buffer.alloc(600), 4, 2 ** 32 - 1),
    'a snapshot of one page of 2^32 - 1': { name: `9/${hex16(1)}-${hex16(2)}.ltx`, bytes: encode({ pageSize: 512, commit: 2 ** 32 - 1, min: 1n, max: 2n, timestamp: START + 9000, before: 0n, after: database.sum, pages: [[1, database.page(1)]] }) },
  })) {
    for (const path of [segment.name, `${segment.name}?offset=0&size=${segment.bytes.length}`]) {
      const answer = await json('PUT', `/v1/app/ltx/${path}`, { body: segment.bytes });
      assert([409, 413, 422].includes(answer.status), `${what}: ${answer.status} ${JSON.stringify(answer.body)}`);
      code(answer);
    }
    await isAsBefore(what);
  }
  assert((await memory()) - grown <= 8 << 20, 'of wasm memory');
});

const zero = 'salt1=0&salt2=0&frame=0&checksum1=0&checksum2=0';
const post = (db, bytes) => json('POST', `/v1/${db}/wal?salt1=5&salt2=6&offset=0&restarted_at=32`, { body: bytes });
async function fresh(db, pageSize, pages = 1) {
  const answer = await json('PUT', `/v1/${db}/db?${zero}`, { body: databaseFile(pageSize, pages) });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return answer.body.position;
}

test('a WAL that claims what it does not hold changes nothing', async () => {
  const page = Buffer.alloc(512, 1);
  for (const [at, [what, bytes, expected]] of [
    ['a database of 2^32 - 1 pages', wal(512, [5, 6], [[1, page, 2 ** 32 - 1]]), 422],
    ['the page 2^32 - 1', wal(512, [5, 6], [[2 ** 32 - 1, page, 1]]), 200],
    ['page 0', wal(512, [5, 6], [[0, page, 1]]), 200],
    ['no end', wal(512, [5, 6], [[1, page, 0]]), 200],
    ['other salts', wal(512, [7, 6], [[1, page, 1]]), 422],
    ['another page size', wal(1024, [5, 6], [[1, Buffer.alloc(1024), 1]]), 422],
    ['a page size that there is not', wal(1000, [5, 6], [[1, Buffer.alloc(1000), 1]]), 422],
    ['pages of 2 GiB', wal(2 ** 31, [5, 6], []), 422],
    ['nothing', Buffer.alloc(0), 200],
    ['noise', Buffer.alloc(5000, 3), 422],
  ].entries()) {
    const position = await fresh(`wal-${at}`, 512);
    const answer = await post(`wal-${at}`, bytes);
    assert.equal(answer.status, expected, `${what}: ${JSON.stringify(answer.body)}`);
    if (expected !== 200) code(answer);
    assert.deepEqual((await get(`/v1/wal-${at}`)).body.position, position, what);
  }
  await fresh('zeros', 65_536);
  const answer = await post('zeros', wal(65_536, [5, 6], [[1, Buffer.alloc(65_536), 10_000]]));
  assert.equal(answer.status, 422, 'a megabyte of CPU for every byte that is sent');
});

test('the largest WAL that is taken at once fits in memory beside all else', { timeout: 60_000 }, async () => {
  const noise = new Database({ pageSize: 512 });
  // Just not enough, then as much as one transaction may change.
  const [some, most] = [16_383, 49_151];
  const frames = Array.from({ length: most }, (_, at) => [at + 1, noise.page(at), [some, most].includes(at + 1) ? at + 1 : 0]);
  const bytes = wal(512, [5, 6], frames);
  await json('POST', '/v1/-/panic');
  await fresh('most', 512);
  const least = await memory();
  const answer = await post('most', bytes);
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  assert.equal((await get('/v1/most')).body.commit, most);
  const grown = (await memory()) - least;
  console.log(`# ${(bytes.length / 1e6).toFixed(0)} MB taken in; wasm memory ${least} + ${grown} bytes`);
  assert(grown <= 48 << 20, `${grown} bytes`);
});

test('a database of too many pages to be taken raw is 413, before it is sent, and named what does it', async () => {
  const part = (db, pages, bytes = databaseHeader(512, pages)) => json('PUT', `/v1/${db}/db?offset=0&size=${512 * pages}`, { body: bytes });
  for (const pages of [900_000, 8_000_000, 2 ** 32 - 1]) {
    const answer = await part('many', pages);
    assert.equal(answer.status, 413, JSON.stringify(answer.body));
    assert.equal(code(answer), 'too_large');
    assert.match(answer.body.error.message, /`walferry replicate`/);
  }
  assert.equal((await part('many', 2 ** 32, databaseHeader(512, 0))).status, 422, 'more than SQLite has');
  for (const [pageSize, size] of [[65_536, 9_000 * (5 << 20) + 65_536]]) {
    const answer = await json('PUT', `/v1/many/db?offset=0&size=${size}`, { body: databaseHeader(pageSize, Math.ceil(size / pageSize)) });
    assert([413, 422].includes(answer.status), JSON.stringify(answer.body));
  }
  assert.deepEqual(await objects('many'), []);
  // As many as there may be are begun with, and make room again.
  const most = await part('many', 870_000);
  assert.equal(most.status, 202, JSON.stringify(most.body));
  assert.equal((await json('PUT', '/v1/many/db', { body: databaseFile(512, 2) })).status, 503, 'two of them do not fit');
  assert.equal((await json('POST', `/v1/-/ahead/60000`)).status, 200);
  assert.equal((await json('PUT', '/v1/many/db', { body: databaseFile(512, 2) })).status, 201);
});
