// A prefix that a Worker of ours fills, attached: some of its segments are in that Worker's object for a while. And prefixes that
// somebody has tampered with: whatever is wrong there is said, nothing wrong is served, and the Worker lives on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { Database } from './support/database.mjs';
import { follow } from './support/follower.mjs';
import { Crc, hex16 } from './support/ltx.mjs';
import { READ, TOKENS, code, worker } from './support/worker.mjs';

const TAMPERED = 120;
const attached = ['mirror=BUCKET/source', 'ahead=BUCKET/planned', ...Array.from({ length: TAMPERED }, (_, at) => `bad${at}=BUCKET/spoilt/${at}`)];
const FAST = { WALFERRY_LEVELS: '1s, 3s', WALFERRY_HISTORY_WINDOW: '1s', WALFERRY_RAW_RETENTION: '300ms', WALFERRY_GRACE: '300ms', WALFERRY_SNAPSHOT_INTERVAL: '1h' };
const { get, put, send, json, objects, url } = await worker({ from: 'worker-faults', variables: { ...TOKENS, ...FAST, WALFERRY_ATTACHED: attached.join(', ') } });
const pause = (milliseconds) => new Promise((later) => setTimeout(later, milliseconds));
const fault = async (path, options) => {
  const answer = await json('POST', `/v1/-/${path}`, options);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body;
};
const whole = async (db, query = '') => {
  const answer = await send('GET', `/v1/${db}/db${query}`);
  return { status: answer.status, position: answer.headers.get('Walferry-Position'), bytes: Buffer.from(await answer.arrayBuffer()) };
};

async function until(what, holds) {
  for (const end = Date.now() + 20_000; ;) {
    const found = await holds();
    if (found) return found;
    assert(Date.now() < end, `waited 20 s: ${what}`);
    await pause(50);
  }
}

/** Too long to be kept. */
const long = (database) => Object.fromEntries(Array.from({ length: 140 }, (_, at) => [at + 1, database.page(Number(database.txid) * 1000 + at)]));

test('what a Worker keeps in its object is not there yet; what leads to nothing is no damage', async () => {
  const database = new Database();
  const ship = async (changes) => assert.equal((await put('source', database.next(changes, { timestamp: Date.now() }))).status, 201);
  const states = new Map();
  const note = () => states.set(`${database.position.txid}/${database.position.sum}`, Buffer.concat(database.pages));
  await ship(long(database));
  note();
  const follower = await follow(url, 'mirror', READ);
  assert.deepEqual(await follower.next(), { position: database.position });
  // Short, long, short: the long one alone is in the bucket.
  for (const changes of [undefined, undefined, long(database), undefined]) {
    await ship(changes);
    note();
  }
  let seen = 0;
  const caughtUp = await until('it has all', async () => {
    const found = await whole('mirror');
    assert.equal(found.status, 200, String(found.bytes.subarray(0, 300)));
    assert(states.get(found.position)?.equals(found.bytes), `${found.position} is a state of the source`);
    seen += 1;
    return found.position === `${database.position.txid}/${database.position.sum}` && seen;
  });
  assert(caughtUp > 0);
  let told;
  do told = await follower.next();
  while (told.position.txid < database.position.txid);
  follower.close();
  // The first is a whole database, and stays; one alone is in no bundle.
  await until('upkeep has come to its end', async () => (await objects('source')).filter(({ level, min_txid: min }) => level === 0 && min !== hex16(1)).length <= 1);
  await pause(350);
  for (const [position, bytes] of states) {
    const found = await whole('mirror', `?txid=${position.slice(0, 16)}`);
    assert.equal(found.status, 200, position);
    assert(found.bytes.equals(bytes), position);
  }
  assert.deepEqual((await fault('keys')).filter((key) => key.startsWith('mirror/')), [], 'nothing is written');
  assert.equal(code(await put('mirror', database.next())), 'attached');
});

test('a snapshot that is made of what is kept is no second history', async () => {
  const database = new Database();
  for (const [at, changes] of [long(database), long(database), undefined, undefined].entries()) {
    const { name, bytes } = database.next(changes);
    if (at < 2) await fault(`plant/planned/000${name}`, { body: bytes });
  }
  const { name, bytes } = database.snapshot();
  await fault(`plant/planned/000${name}`, { body: bytes });
  const found = await whole('ahead');
  assert.equal(found.status, 200, String(found.bytes.subarray(0, 300)));
  assert(found.bytes.equals(Buffer.concat(database.pages)));
});

/** A segment whose file checksum is right, whatever was done to it. */
function sealed(bytes) {
  const body = bytes.subarray(0, -8);
  const end = Buffer.alloc(8);
  end.writeBigUInt64BE(new Crc().update(body).value | (1n << 63n));
  return Buffer.concat([body, end]);
}
const changed = (bytes, at, value, length = 4) => {
  const copy = Buffer.from(bytes);
  if (length === 8) copy.writeBigUInt64BE(BigInt(value), at);
  else if (length === 4) copy.writeUInt32BE(value, at);
  else copy[at] ^= value;
  return copy;
};
/** In place of the first page, one that is packed by deflate. */
function packed(bytes, payload) {
  const head = Buffer.alloc(10);
  head.writeUInt32BE(1, 0);
  head.writeUInt16BE(2, 4);
  head.writeUInt32BE(payload.length + 8, 6);
  return Buffer.concat([bytes.subarray(0, 100), head, payload, Buffer.alloc(8), bytes.subarray(100)]);
}

const TAMPERINGS = {
  'no bytes': () => Buffer.alloc(0),
  'half a header': (bytes) => bytes.subarray(0, 50),
  'a header alone': (bytes) => bytes.subarray(0, 100),
  'half of it': (bytes) => bytes.subarray(0, bytes.length >> 1),
  'without its end': (bytes) => bytes.subarray(0, -1),
  'with more at its end': (bytes) => Buffer.concat([bytes, Buffer.alloc(9)]),
  'another magic': (bytes) => changed(bytes, 0, 1, 1),
  'a page size that there is not': (bytes) => changed(bytes, 8, 0xffff_ffff),
  'another page size': (bytes) => changed(bytes, 8, 65_536),
  '2^32 - 1 pages': (bytes) => changed(bytes, 12, 0xffff_ffff),
  'no pages': (bytes) => changed(bytes, 12, 0),
  'other transactions': (bytes) => changed(bytes, 24, 9, 8),
  'a time at the end of time': (bytes) => changed(bytes, 32, 2n ** 63n - 1n, 8),
  'a time before 1970': (bytes) => changed(bytes, 32, 2n ** 64n - 5n, 8),
  'another sum before': (bytes) => changed(bytes, 84, 1, 8),
  'another sum after': (bytes) => changed(bytes, 92, 1, 8),
  'no sums': (bytes) => changed(bytes, 80, 0),
  'page 0': (bytes) => changed(bytes, 100, 0),
  'page 2^32 - 1': (bytes) => changed(bytes, 100, 0xffff_ffff),
  'a codec that there is not': (bytes) => changed(bytes, 105, 0x80, 1),
  'a frame of 4 GB': (bytes) => changed(bytes, 106, 0xffff_ffff),
  'a bit of a page': (bytes) => changed(bytes, 300, 4, 1),
  'a bit of a page check': (bytes) => changed(bytes, 100 + 10 + 512 + 3, 4, 1),
  'a page that inflates to 64 MB': (bytes) => packed(bytes, deflateRawSync(Buffer.alloc(64 << 20))),
  'a bit of the index': (bytes) => changed(bytes, bytes.length - 28, 1, 1),
  'an index of 2^63 bytes': (bytes) => changed(bytes, bytes.length - 24, 2n ** 63n, 8),
  'an index of no bytes': (bytes) => changed(bytes, bytes.length - 24, 0, 8),
  'another file checksum': (bytes) => changed(bytes, bytes.length - 1, 1, 1),
  'something else': () => Buffer.from('<html>'.repeat(100)),
};

/** The pages are what they were, and proven otherwise. */
const HARMLESS = ['another sum before', 'another sum after', 'no sums', 'another file checksum', 'with more at its end'];

for (const sums of [true, false]) {
  test(`segments ${sums ? 'of walferry' : 'of Litestream'} that were tampered with: no wrong byte is served`, { timeout: 120_000 }, async () => {
    const database = new Database();
    const one = { ...database.next({ 1: database.page(1), 2: database.page(2) }, { sums }) };
    const before = Buffer.concat(database.pages);
    const two = database.next({ 1: database.page(3) }, { sums });
    const after = Buffer.concat(database.pages);
    const wasm = await fault('memory');
    let number = sums ? 0 : TAMPERED / 2;
    for (const [what, tamper] of Object.entries(TAMPERINGS)) {
      const bytes = tamper(two.bytes);
      // By who cannot compute checksums, and by who can.
      for (const content of bytes.length > 124 ? [bytes, sealed(bytes)] : [bytes]) {
        const db = `bad${number}`;
        await fault(`plant/spoilt/${number}/000${one.name}`, { body: one.bytes });
        await fault(`plant/spoilt/${number}/000${two.name}`, { body: content });
        for (const path of ['', '/ltx', '/plan', '/map', `/ltx/${two.name}`]) {
          const answer = await send('GET', `/v1/${db}${path}`);
          const text = await answer.text();
          if (answer.status !== 200) code({ body: JSON.parse(text) });
        }
        for (const [query, expected] of [['', HARMLESS.includes(what) || content.equals(two.bytes) ? after : before], [`?txid=${hex16(1)}`, before]]) {
          // A connection that breaks off says so, too.
          const found = await whole(db, query).catch(() => ({ status: 0 }));
          if (found.status === 200) assert(found.bytes.equals(expected), `${what}: ${found.position}`);
        }
        number += 1;
      }
    }
    assert(number <= (sums ? TAMPERED / 2 : TAMPERED));
    const grown = (await fault('memory')) - wasm;
    assert(grown <= 16 << 20, `${grown} bytes of wasm memory more`);
    assert.equal((await put(`lives-${sums}`, new Database().next())).status, 201);
  });
}
