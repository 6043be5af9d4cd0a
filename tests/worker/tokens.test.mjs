// Every route with every kind of token. The tokens are made here, by Node's own crypto, as anyone may make them.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { Database } from './support/database.mjs';
import { follow } from './support/follower.mjs';
import { hex16 } from './support/ltx.mjs';
import { READ, WRITE, code, worker } from './support/worker.mjs';

const KEY = 'the key that signs tokens, of 32 characters or more';
const OLD = 'the key before it, which is still valid for a while';
const variables = { WALFERRY_TOKEN_KEY: KEY, WALFERRY_TOKEN_KEY_OLD: OLD, WALFERRY_WRITE_TOKEN: WRITE, WALFERRY_READ_TOKEN: READ, WALFERRY_PUBLIC_DATABASES: 'shop, open' };
const { send, json, put, get, url } = await worker({ variables });

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const sign = (text, key, hash = 'sha256') => `${text}.${createHmac(hash, key).update(text).digest('base64url')}`;
const inAnHour = Math.floor(Date.now() / 1000) + 3600;
function token({ db = 'app', scope = 'read', exp = inAnHour, key = KEY, head = { alg: 'HS256', typ: 'JWT' }, hash, without, ...others } = {}) {
  const claims = { db, scope, exp, ...others };
  delete claims[without];
  return sign(`${part(head)}.${part(claims)}`, key, hash);
}

/** The same token with one claim changed behind the signature's back. */
function tampered(good, change) {
  const [head, claims, signature] = good.split('.');
  return [head, part({ ...JSON.parse(Buffer.from(claims, 'base64url')), ...change }), signature].join('.');
}

const write = token({ scope: 'write' });
const database = new Database();
const first = database.next();
for (const db of ['app', 'open']) assert.equal((await put(db, first)).status, 201);
const segment = `/v1/app/ltx/${first.name}`;
const missing = `/v1/app/ltx/0/${hex16(9)}-${hex16(9)}.ltx`;

const routes = [
  ['GET', '/v1/app', 'read'],
  ['GET', '/v1/app/ltx', 'read'],
  ['GET', '/v1/app/plan', 'read'],
  ['GET', '/v1/app/map', 'read'],
  ['GET', '/v1/app/db', 'read'],
  ['PUT', '/v1/app/db', 'write', 409],
  ['GET', '/v1/app/wal', 'read'],
  ['POST', '/v1/app/wal', 'write', 400],
  ['GET', segment, 'read'],
  ['HEAD', segment, 'read'],
  ['GET', missing, 'read', 404],
  ['PUT', segment, 'write'],
  ['PUT', `${segment}?offset=0&size=${first.bytes.length}`, 'write', 409],
  ['GET', '/v1/app/follow', 'read', 101],
  ['POST', '/v1/app/rebuild', 'admin'],
  ['GET', '/v1/', 'admin', 200, 'all'],
  ['GET', '/metrics', 'admin', 200, 'all'],
];

const ranks = ['read', 'write', 'admin'];
const good = [
  ...ranks.flatMap((scope) => [
    [`${scope}`, token({ scope }), scope],
    [`${scope}, for all databases`, token({ scope, db: '*' }), scope, true],
    [`${scope}, by the old key`, token({ scope, key: OLD }), scope],
  ]),
  ['the fixed read token', READ, 'read', true],
  ['the fixed write token', WRITE, 'admin', true],
  ['with claims that say nothing here', token({ iss: 'https://app.example', iat: 1, sub: 'x' }), 'read'],
];

const unknown = ['token_unknown', 401];
const bad = [
  ['no token', null, 'token_missing', 401],
  ['an empty token', '', 'token_missing', 401],
  ['nonsense', 'nonsense', ...unknown],
  ['only dots', '..', ...unknown],
  ['signed by another key', token({ scope: 'admin', key: 'another key, of 32 characters or more, too' }), ...unknown],
  ['signed by an empty key', token({ scope: 'admin', key: '' }), ...unknown],
  ['expired', token({ scope: 'admin', exp: Math.floor(Date.now() / 1000) - 1 }), 'token_expired', 401],
  ['expired long ago, by the old key', token({ scope: 'admin', exp: 0, key: OLD }), 'token_expired', 401],
  ['without an end', token({ scope: 'admin', without: 'exp' }), ...unknown],
  ['an end that is no number', token({ scope: 'admin', exp: 'never' }), ...unknown],
  ['an end before time', token({ scope: 'admin', exp: -1 }), ...unknown],
  ['another database', token({ scope: 'admin', db: 'other' }), 'token_for_another_database', 403],
  ['a database whose name starts alike', token({ scope: 'admin', db: 'ap' }), 'token_for_another_database', 403],
  ['a pattern that is none', token({ scope: 'admin', db: 'a*' }), 'token_for_another_database', 403],
  ['no database', token({ scope: 'admin', without: 'db' }), ...unknown],
  ['no scope', token({ without: 'scope' }), ...unknown],
  ['a scope that does not exist', token({ scope: 'owner' }), ...unknown],
  ['a scope in capitals', token({ scope: 'ADMIN' }), ...unknown],
  ['tampered: scope', tampered(token(), { scope: 'admin' }), ...unknown],
  ['tampered: database', tampered(token({ db: 'other', scope: 'admin' }), { db: 'app' }), ...unknown],
  ['tampered: end', tampered(token({ scope: 'admin', exp: 1 }), { exp: inAnHour }), ...unknown],
  ['alg none, no signature', `${part({ alg: 'none' })}.${part({ db: 'app', scope: 'admin', exp: inAnHour })}.`, ...unknown],
  ['alg none, signed', token({ scope: 'admin', head: { alg: 'none' } }), ...unknown],
  ['alg HS512', token({ scope: 'admin', head: { alg: 'HS512' }, hash: 'sha512' }), ...unknown],
  ['alg HS512, signed by HS256', token({ scope: 'admin', head: { alg: 'HS512' } }), ...unknown],
  ['no alg', token({ scope: 'admin', head: { typ: 'JWT' } }), ...unknown],
  ['an extension that must be understood', token({ scope: 'admin', head: { alg: 'HS256', crit: ['x'], x: 1 } }), ...unknown],
  ['no signature', token({ scope: 'admin' }).split('.').slice(0, 2).join('.'), ...unknown],
  ['half a signature', token({ scope: 'admin' }).slice(0, -20), ...unknown],
  ['a fourth part', `${token({ scope: 'admin' })}.x`, ...unknown],
  ['half of the fixed token', WRITE.slice(0, -1), ...unknown],
];

async function ask(method, path, bearer) {
  if (path.endsWith('/follow')) return following(bearer);
  const headers = bearer === null ? {} : { Authorization: `Bearer ${bearer}` };
  const answer = await send(method, path, { token: null, headers, body: method === 'PUT' ? first.bytes : undefined });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, code: answer.status >= 400 && method !== 'HEAD' ? code({ body: JSON.parse(text) }) : null };
}

/** As a page follows: the token is beside the protocol. */
async function following(bearer) {
  const answer = await follow(url, 'app', bearer);
  if (answer.status) return { ...answer, code: code(answer) };
  await answer.next();
  answer.close();
  return { status: 101 };
}

for (const [method, path, needs, success = 200, whose] of routes) {
  test(`${method} ${path} needs the scope ${needs}`, async () => {
    for (const [kind, bearer, scope, isForAll] of good) {
      const answer = await ask(method, path, bearer);
      const covers = whose !== 'all' || isForAll;
      const may = covers && ranks.indexOf(scope) >= ranks.indexOf(needs);
      assert.equal(answer.status, may ? success : 403, `${kind}: ${answer.code}`);
      if (!covers) assert.equal(answer.code, 'token_for_another_database', kind);
      else if (!may && method !== 'HEAD') assert.equal(answer.code, needs === 'write' ? 'write_token_needed' : 'admin_token_needed', kind);
    }
    for (const [kind, bearer, expected, status] of bad) {
      const answer = await ask(method, path, bearer);
      assert.equal(answer.status, status, `${kind}: ${answer.status} ${answer.code}`);
      if (method !== 'HEAD') assert.equal(answer.code, expected, kind);
      assert.equal(answer.headers.get('WWW-Authenticate') !== null, status === 401, kind);
    }
  });
}

test('a database made public on purpose may be read by anyone, and by nobody written', async () => {
  const segment = `/v1/open/ltx/${first.name}`;
  for (const path of ['/v1/open', '/v1/open/ltx', '/v1/open/plan', '/v1/open/map', '/v1/open/db', segment]) assert.equal((await ask('GET', path, null)).status, 200, path);
  assert.equal((await ask('PUT', segment, null)).code, 'token_missing');
  assert.equal((await ask('POST', '/v1/open/rebuild', null)).code, 'token_missing');
  assert.equal((await ask('GET', '/v1/open', 'wrong')).status, 401, 'a wrong token is wrong there, too');
  assert.equal((await ask('GET', '/v1/ope', null)).status, 401);
});

test('a key that was taken away opens nothing', async () => {
  const rotated = await worker({ variables: { WALFERRY_TOKEN_KEY: OLD } });
  assert.equal((await rotated.get('/v1/app', { token: token() })).status, 401);
  assert.equal((await rotated.get('/v1/app', { token: token({ key: OLD }) })).status, 200);
  assert.equal((await rotated.get('/v1/app', { token: WRITE })).status, 401);
});

test('a key that is too short opens nothing, and says so', async () => {
  const weak = await worker({ variables: { WALFERRY_TOKEN_KEY: 'short', WALFERRY_WRITE_TOKEN: WRITE } });
  for (const bearer of [token({ key: 'short', scope: 'admin' }), WRITE]) {
    const answer = await weak.get('/v1/app', { token: bearer });
    assert.equal(answer.status, 401);
    assert.equal(code(answer), 'token_key_too_short');
  }
});

test('tokens ship a database', async () => {
  const mine = token({ db: 'mine', scope: 'write' });
  const database = new Database();
  assert.equal((await put('mine', database.next(), { token: mine })).status, 201);
  assert.deepEqual((await get('/v1/mine', { token: token({ db: 'mine' }) })).body.position, database.position);
  assert.equal((await json('GET', '/v1/mine', { token: write })).status, 403);
});
