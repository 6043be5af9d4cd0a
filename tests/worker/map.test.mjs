// The page map: where each page of any state lies, for who reads a database page by page.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Database, START } from './support/database.mjs';
import { hex16 } from './support/ltx.mjs';
import { decodeMap, mapped } from './support/map.mjs';
import { READ, WRITE, code, worker } from './support/worker.mjs';

const { put, get, send, json, raw } = await worker({ from: 'worker-faults' });
const fault = (path, options) => json('POST', `/v1/-/${path}`, options);

async function ask(path, options) {
  const answer = await send('GET', path, { token: READ, ...options });
  const bytes = Buffer.from(await answer.arrayBuffer());
  assert.equal(answer.status, 200, String(bytes));
  return { map: decodeMap(bytes), bytes, next: answer.headers.get('Walferry-Next'), type: answer.headers.get('Content-Type') };
}

test('a page map leads to every page of every state, in windows of any length', async () => {
  const database = new Database();
  const states = [];
  const ship = async (changes, others) => {
    assert.equal((await put('app', database.next(changes, others))).status, 201);
    states.push({ bytes: Buffer.concat(database.pages), position: `${database.position.txid}/${database.position.sum}`, time: START + Number(database.txid) * 1000 });
  };
  await ship(Object.fromEntries(Array.from({ length: 12 }, (_, index) => [index + 1, database.page(index)])));
  await ship({ 2: database.page(100), 11: database.page(101) });
  await ship({ 1: database.page(102) }, { commit: 4 });
  await ship({ 3: database.page(103), 5: database.page(104), 6: database.page(105) });
  assert.equal((await put('app', database.snapshot())).status, 201);
  await ship({ 6: database.page(106) });
  for (const [index, state] of states.entries()) {
    for (const step of [1, 3, 100]) assert.deepEqual(await mapped(send, 'app', `txid=${hex16(index + 1)}`, step), state, `state ${index + 1}, ${step} pages at a time`);
    assert.deepEqual(await mapped(send, 'app', `timestamp=${state.time + 999}`), state);
  }
  assert.deepEqual(await mapped(send, 'app'), states.at(-1));
  const { map, next, type } = await ask('/v1/app/map');
  assert.deepEqual([map.places.length, map.commit, map.objects.length, next, type], [6, 6, 2, null, 'application/vnd.walferry.map']);
  const beyond = await ask('/v1/app/map?from=7');
  assert.deepEqual([beyond.map.places.length, beyond.next], [0, null]);
});

test('what is asked is checked, and who asks', async () => {
  for (const [query, status, expected] of [
    ['?from=0', 400, 'invalid_number'],
    ['?from=-1', 400, 'invalid_number'],
    ['?from=5&to=4', 400, 'invalid_number'],
    ['?to=4294967296', 400, 'invalid_number'],
    [`?txid=${hex16(99)}`, 404, 'no_plan'],
    ['?timestamp=5', 404, 'no_plan'],
    [`?timestamp=5&txid=${hex16(1)}`, 400, 'ambiguous_target'],
    ['?window=5', 400, 'unknown_parameter'],
  ]) {
    const answer = await get(`/v1/app/map${query}`);
    assert.equal(answer.status, status, query);
    assert.equal(code(answer), expected, query);
  }
  assert.equal(code(await get('/v1/nothing/map')), 'no_plan');
  assert.equal((await send('GET', '/v1/app/map', { token: null })).status, 401);
  assert.equal((await send('POST', '/v1/app/map')).status, 405);
});

test('a large database takes little memory and a short answer', async () => {
  const count = 120_000;
  const database = new Database();
  const page = database.page(1);
  const segment = database.next(Object.fromEntries(Array.from({ length: count }, (_, index) => [index + 1, page])));
  segment.name = segment.name.replace(/^0/, '9');
  const headers = { Authorization: `Bearer ${WRITE}`, 'Content-Length': segment.bytes.length };
  const answer = await raw(`/v1/large/ltx/${segment.name}`, headers, [segment.bytes]);
  assert.equal(answer.status, 201, JSON.stringify(answer));
  await fault('panic');
  await get('/v1/large');
  const before = (await fault('memory')).body;
  let [next, told] = ['1', 0];
  while (next !== null) {
    const answer = await ask(`/v1/large/map?from=${next}`);
    assert(answer.bytes.length < 2 * answer.map.places.length, `${answer.bytes.length} bytes for ${answer.map.places.length} pages`);
    assert(answer.map.places.every(({ pgno }, index) => pgno === Number(next) + index));
    told += answer.map.places.length;
    next = answer.next;
  }
  assert.equal(told, count);
  const grown = (await fault('memory')).body - before;
  console.log(`# wasm memory ${before} + ${grown} bytes`);
  assert(grown <= 16 << 20, `${grown} bytes`);
});

test('whoever has written sees it in what is read next: head, list, plan, map, database and ranges', async () => {
  const database = new Database();
  assert.equal((await put('own', database.next())).status, 201);
  const segment = database.next();
  const paths = ['', '/ltx', '/plan', '/map', '/db', `/ltx/${segment.name}`];
  const headers = { 'Walferry-At-Least': hex16(2) };
  const asked = paths.map((path) => send('GET', `/v1/own${path}`, { headers }));
  await new Promise((later) => setTimeout(later, 300));
  assert.equal((await put('own', segment)).status, 201);
  for (const [index, answer] of (await Promise.all(asked)).entries()) {
    assert.equal(answer.status, 200, paths[index]);
    const position = answer.headers.get('Walferry-Position');
    if (index < 5) assert.equal(position, `${database.position.txid}/${database.position.sum}`, paths[index]);
    await answer.arrayBuffer();
  }
  const other = `/ltx/0/${hex16(3)}-${hex16(3)}.ltx`;
  const never = [...paths.slice(0, 5), other].map((path) => send('GET', `/v1/own${path}`, { headers: { 'Walferry-At-Least': hex16(3) } }));
  for (const answer of await Promise.all(never)) {
    assert.equal(answer.status, 503, answer.url);
    assert.equal((await answer.json()).error.code, 'not_there_yet', answer.url);
  }
  for (const path of paths.slice(0, 5)) assert.equal((await get(`/v1/own${path}`, { headers: { 'Walferry-At-Least': 'x' } })).status, 400, path);
});
