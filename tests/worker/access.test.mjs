// Who may do what, from where, and what is said to everybody else.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Database } from './support/database.mjs';
import { hex16 } from './support/ltx.mjs';
import { READ, WRITE, code, worker } from './support/worker.mjs';

const { get, put, json, send } = await worker();
const database = new Database();
const first = database.next();
await put('app', first);

const reads = ['/v1/app', '/v1/app/ltx', '/v1/app/plan', `/v1/app/ltx/${first.name}`];

test('reading takes either token, writing the write token', async () => {
  for (const path of reads) {
    for (const token of [READ, WRITE]) assert.equal((await send('GET', path, { token })).status, 200, path);
  }
  const segment = database.copy().next();
  const refused = await put('app', segment, { token: READ });
  assert.equal(refused.status, 403);
  assert.equal(code(refused), 'write_token_needed');
  assert.equal((await put('app', segment, { token: WRITE })).status, 201);
});

test('no token, an unknown one, or half of one opens nothing', async () => {
  for (const path of reads) {
    for (const token of [null, '', 'unknown', WRITE.slice(0, -1), `${WRITE}x`, WRITE.toUpperCase()]) {
      const answer = await get(path, { token });
      assert.equal(answer.status, 401, `${path} with ${token}`);
      assert.match(answer.headers.get('WWW-Authenticate'), /^Bearer/);
      code(answer);
    }
    assert.equal((await get(path, { token: null, headers: { Authorization: `Basic ${btoa(`x:${WRITE}`)}` } })).status, 401);
    assert.equal((await send('GET', path, { token: null, headers: { Authorization: `bearer  ${READ}` } })).status, 200);
  }
  assert.equal((await put('app', first, { token: null })).status, 401);
  assert.equal((await put('app', first, { token: 'unknown' })).status, 401);
});

test('a Worker without tokens lets nobody in', async () => {
  const closed = await worker({ variables: { WALFERRY_WRITE_TOKEN: '' } });
  for (const token of [null, '', 'undefined', WRITE]) {
    const answer = await closed.get('/v1/app', { token });
    assert.equal(answer.status, 401);
    assert.equal(code(answer), 'no_token_configured');
  }
});

test('what is not there is 404, what is misnamed 400', async () => {
  for (const path of ['/v1', '/v1/app/', '/v1/app/nothing', '/v2/app', `/v1/app/ltx/${first.name}/x`, '/v1/app/plan/x', '/metrics/', '/v1/-/panic']) {
    const answer = await get(path);
    assert.equal(answer.status, 404, path);
    assert.equal(code(answer), 'unknown_route', path);
  }
  for (const db of ['App', '-app', '_app', 'a.b', 'a%2Fb', '%00', 'ä', 'a'.repeat(64), '..%2f..']) {
    const answer = await get(`/v1/${db}`);
    assert.equal(answer.status, 400, db);
    assert.equal(code(answer), 'invalid_database_name', db);
  }
  for (const db of ['a', '0', 'a_-9', 'a'.repeat(63)]) assert.equal((await get(`/v1/${db}`)).status, 200, db);
  const name = first.name.slice(2);
  for (const level of ['13', '00', '-1', '+1', 'a', '%30', '0x0']) {
    const answer = await get(`/v1/app/ltx/${level}/${name}`);
    assert.equal(answer.status, 400, level);
    assert.equal(code(answer), 'invalid_level');
  }
  for (const bad of [`${name}.tmp`, name.slice(1), name.replace('-', '_'), `${hex16(2)}-${hex16(1)}.ltx`, `${hex16(0)}-${hex16(1)}.ltx`, name.replaceAll('1', 'A')]) {
    const answer = await get(`/v1/app/ltx/0/${bad}`);
    assert.equal(answer.status, 400, bad);
    assert.equal(code(answer), 'invalid_segment_name');
  }
  const missing = await get(`/v1/app/ltx/0/${hex16(7)}-${hex16(7)}.ltx`);
  assert.equal(missing.status, 404);
  assert.equal(code(missing), 'segment_not_found');
});

test('a wrong method is 405 and says which are right', async () => {
  for (const [method, path, allow] of [
    ['POST', '/v1/app', 'GET, OPTIONS'],
    ['PROPFIND', '/v1/app', 'GET, OPTIONS'],
    ['PATCH', '/v1/app/plan', 'GET, OPTIONS'],
    ['PUT', '/v1/app/ltx', 'GET, OPTIONS'],
    ['DELETE', '/v1/app/plan', 'GET, OPTIONS'],
    ['DELETE', `/v1/app/ltx/${first.name}`, 'GET, HEAD, PUT, OPTIONS'],
    ['GET', '/v1/app/rebuild', 'POST, OPTIONS'],
    ['POST', `/v1/app/ltx/${first.name}`, 'GET, HEAD, PUT, OPTIONS'],
  ]) {
    const answer = await json(method, path);
    assert.equal(answer.status, 405, `${method} ${path}`);
    assert.equal(answer.headers.get('Allow'), allow);
    assert.equal(code(answer), 'method_not_allowed');
  }
});

test('pages of any origin may ask, and read what they need', async () => {
  const origin = 'https://elsewhere.example';
  for (const path of reads) {
    const preflight = await send('OPTIONS', path, {
      token: null,
      headers: { Origin: origin, 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'authorization, range' },
    });
    assert.equal(preflight.status, 204, path);
    assert.equal(preflight.headers.get('Access-Control-Allow-Origin'), '*');
    assert.equal(preflight.headers.get('Access-Control-Max-Age'), '7200');
    const names = preflight.headers.get('Access-Control-Allow-Headers').toLowerCase().split(', ');
    for (const name of ['authorization', 'range', 'content-type']) assert(names.includes(name), name);
    for (const method of ['GET', 'HEAD', 'PUT', 'POST']) assert(preflight.headers.get('Access-Control-Allow-Methods').split(', ').includes(method));

    const answer = await send('GET', path, { headers: { Origin: origin } });
    assert.equal(answer.headers.get('Access-Control-Allow-Origin'), '*');
    const exposed = answer.headers.get('Access-Control-Expose-Headers').split(', ');
    for (const name of ['Content-Range', 'Content-Length', 'ETag', 'Walferry-Position', 'Walferry-Next', 'Walferry-Wal']) assert(exposed.includes(name), name);
  }
  const refused = await send('GET', '/v1/app', { token: null, headers: { Origin: origin } });
  assert.equal(refused.status, 401);
  assert.equal(refused.headers.get('Access-Control-Allow-Origin'), '*', 'the page may read why');
});

test('a Worker can name the origins whose pages may ask', async () => {
  const picky = await worker({
    variables: { WALFERRY_WRITE_TOKEN: WRITE, WALFERRY_ALLOWED_ORIGINS: 'https://app.example, https://admin.example' },
  });
  for (const origin of ['https://app.example', 'https://admin.example']) {
    const preflight = await picky.send('OPTIONS', '/v1/app', { token: null, headers: { Origin: origin } });
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers.get('Access-Control-Allow-Origin'), origin);
    const answer = await picky.send('GET', '/v1/app', { headers: { Origin: origin } });
    assert.equal(answer.headers.get('Access-Control-Allow-Origin'), origin);
    assert.equal(answer.headers.get('Vary'), 'Origin');
  }
  for (const origin of ['https://evil.example', 'https://app.example.evil', 'null']) {
    const preflight = await picky.json('OPTIONS', '/v1/app', { token: null, headers: { Origin: origin } });
    assert.equal(preflight.status, 403);
    assert.equal(code(preflight), 'origin_not_allowed');
    assert.equal(preflight.headers.get('Access-Control-Allow-Origin'), null);
    const answer = await picky.send('GET', '/v1/app', { headers: { Origin: origin } });
    assert.equal(answer.headers.get('Access-Control-Allow-Origin'), null);
  }
});
