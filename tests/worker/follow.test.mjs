// Following live: positions and small segments are pushed as they land, larger ones announced.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { Database } from './support/database.mjs';
import { hex16 } from './support/ltx.mjs';
import { follow } from './support/follower.mjs';
import { READ, WRITE, code, worker } from './support/worker.mjs';

const KEY = 'the key that signs tokens, of 32 characters or more';
const variables = { WALFERRY_TOKEN_KEY: KEY, WALFERRY_WRITE_TOKEN: WRITE, WALFERRY_READ_TOKEN: READ, WALFERRY_ALLOWED_ORIGINS: 'https://app.example' };
const { url, get, put, send } = await worker({ variables, from: 'worker-faults' });

function token({ db = 'app', scope = 'read', seconds = 3600 } = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ alg: 'HS256' })}.${part({ db, scope, exp: Math.floor(Date.now() / 1000) + seconds })}`;
  return `${text}.${createHmac('sha256', KEY).update(text).digest('base64url')}`;
}

test('a follower hears where the replica stands, then of every segment as it lands', async () => {
  const database = new Database();
  assert.equal((await put('app', database.next())).status, 201);
  const follower = await follow(url, 'app', token());
  assert.deepEqual(await follower.next(), { position: database.position });
  for (let count = 0; count < 5; count++) {
    const segment = database.next();
    const started = performance.now();
    const [answer, heard] = await Promise.all([put('app', segment), follower.next()]);
    assert.equal(answer.status, 201);
    assert.deepEqual(heard, segment.bytes, 'the segment itself');
    assert(performance.now() - started < 5000);
  }
  // Too long to be pushed.
  const long = database.next(Object.fromEntries(Array.from({ length: 200 }, (_, index) => [index + 1, database.page(index + 1)])));
  assert(long.bytes.length > 64 * 1024);
  await put('app', long);
  const announced = await follower.next();
  assert.deepEqual(announced.position, database.position);
  assert.deepEqual(announced.segment, (await get('/v1/app/ltx?level=0')).body.segments.at(-1));
  assert.equal((await put('app', long)).status, 200);
  await put('app', database.copy().next(undefined, { before: 5n }));
  assert.equal(await follower.silence(300), true, 'a retry and a refusal are no news');
  follower.close();
});

test('many followers hear the same, and one that hangs up disturbs nobody', async () => {
  const database = new Database();
  const followers = await Promise.all(Array.from({ length: 20 }, () => follow(url, 'many', token({ db: 'many' }))));
  for (const follower of followers) assert.equal((await follower.next()).position.txid, hex16(0));
  followers[3].destroy();
  followers[4].close();
  for (let count = 0; count < 3; count++) {
    const segment = database.next();
    assert.equal((await put('many', segment)).status, 201);
    for (const [index, follower] of followers.entries()) if (index !== 3 && index !== 4) assert.deepEqual(await follower.next(), segment.bytes);
  }
  for (const follower of followers) follower.close();
});

test('who never reads has a MiB waiting for it at the most; who reads joins again, and misses nothing', async () => {
  const database = new Database({ pageSize: 16_384 });
  const join = () => follow(url, 'unread', token({ db: 'unread' }));
  const asleep = await join();
  asleep.pause();
  let awake = await join();
  await awake.next();
  let joins = 0;
  for (let count = 0; count < 60; count++) {
    const segment = database.next({ 1: database.page(3 * count), 2: database.page(3 * count + 1), 3: database.page(3 * count + 2) });
    assert.equal((await put('unread', segment)).status, 201);
    const heard = await Promise.race([awake.next(), awake.closed]);
    if (Buffer.isBuffer(heard)) {
      assert.deepEqual(heard, segment.bytes);
    } else {
      assert.equal(heard, 4408);
      joins += 1;
      awake = await join();
      assert.deepEqual(await awake.next(), { position: database.position });
    }
  }
  assert(joins >= 2 && joins <= 3, `${joins} times in 3 MB`);
  asleep.resume();
  assert.equal(await asleep.closed, 4408);
  assert(asleep.waiting > 900_000 && asleep.waiting <= 1 << 20, `${asleep.waiting} bytes`);
  awake.close();
});

test('followers of one database hear nothing of another', async () => {
  const follower = await follow(url, 'quiet', token({ db: '*' }));
  await follower.next();
  await put('loud', new Database().next());
  assert.equal(await follower.silence(300), true);
  follower.close();
});

test('a follower needs a token, beside the protocol or as a header', async () => {
  for (const [kind, bearer, status] of [['none', null, 401], ['unknown', 'wrong', 401], ['over', token({ seconds: -1 }), 401], ['of another database', token({ db: 'other' }), 403]]) {
    const refused = await follow(url, 'app', bearer);
    assert.equal(refused.status, status, kind);
  }
  for (const bearer of [READ, WRITE, token()]) (await follow(url, 'app', bearer)).close();
  const plain = await get('/v1/app/follow');
  assert.equal(plain.status, 426);
  assert.equal(code(plain), 'upgrade_required');
});

test('pages of other origins may not follow', async () => {
  assert.equal((await follow(url, 'app', token(), { Origin: 'https://evil.example' })).status, 403);
  (await follow(url, 'app', token(), { Origin: 'https://app.example' })).close();
});

test('a follower whose token is over is sent away at the next news', async () => {
  const database = new Database();
  const follower = await follow(url, 'brief', token({ db: 'brief', seconds: 2 }));
  await follower.next();
  await put('brief', database.next());
  assert(Buffer.isBuffer(await follower.next()));
  await new Promise((later) => setTimeout(later, 2100));
  await put('brief', database.next());
  assert.equal(await follower.closed, 4401);
});

test('who says anything else than ping is sent away: it would keep the object awake', async () => {
  const follower = await follow(url, 'app', token());
  await follower.next();
  follower.send('hello');
  assert.equal(await follower.closed, 1008);
});

test('a ping is answered', async () => {
  const follower = await follow(url, 'app', token());
  await follower.next();
  follower.send('ping');
  assert.equal(await follower.text(), 'pong');
  follower.send('anything else is passed over');
  assert.equal(await follower.silence(200), true);
  follower.close();
});

test('reading one\'s own writes: a request waits for the transaction that it names', async () => {
  const database = new Database();
  await put('own', database.next());
  const next = database.next();
  const header = { 'Walferry-At-Least': hex16(2) };
  for (const path of ['/v1/own', '/v1/own/ltx', '/v1/own/plan']) {
    const at = path === '/v1/own' ? header : { 'Walferry-At-Least': hex16(1) };
    const waiting = get(path, { headers: at });
    if (path === '/v1/own') {
      assert.equal(await Promise.race([waiting, new Promise((later) => setTimeout(later, 400, 'waits'))]), 'waits');
      await put('own', next);
    }
    const answer = await waiting;
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
  }
  assert.deepEqual((await get('/v1/own', { headers: header })).body.position, database.position);
  assert.equal(code(await get('/v1/own', { headers: { 'Walferry-At-Least': '2' } })), 'invalid_txid');
  const started = performance.now();
  const never = await get('/v1/own', { headers: { 'Walferry-At-Least': hex16(3) } });
  assert.equal(never.status, 503);
  assert.equal(code(never), 'not_there_yet');
  assert.deepEqual(never.body.error.head, database.position);
  assert(Number(never.headers.get('Retry-After')) > 0 && performance.now() - started < 20_000);
});

test('a follower goes on hearing after the Worker met a panic', async () => {
  const database = new Database();
  const follower = await follow(url, 'dies', token({ db: 'dies' }));
  await follower.next();
  assert.equal((await send('POST', '/v1/-/panic')).status, 503);
  const segment = database.next();
  assert.equal((await put('dies', segment)).status, 201);
  assert.deepEqual(await follower.next(), segment.bytes);
  follower.close();
});
