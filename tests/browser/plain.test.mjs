// Replicas where no Worker is: a bucket, and folders that a server of files shows, filled by walferry and by the real Litestream.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { inRoot } from '../../scripts/lib/root.mjs';
import { browser, tab } from './support/chromium.mjs';
import { between, files, ranges } from './support/origin.mjs';
import { folder } from './support/packed.mjs';
import { servers, shipped } from './support/servers.mjs';
import { eventually, prepare } from './support/tabs.mjs';

const at = await servers();
const dir = folder('plain');
cpSync(inRoot('pkg'), join(dir, 'walferry'), { recursive: true });
writeFileSync(join(dir, 'index.html'), '<!doctype html><link rel="icon" href="data:,">');
const page = await prepare(await tab(await browser(), await files(dir)));

const toFolder = (name, ...by) => shipped(name, join(at.folder, name), `file://${join(at.folder, name)}`, ...by);
const toBucket = (name) => shipped(name, join(at.kept, name), `s3://backups/${name}?endpoint=${at.s3}&region=us-east-1`);

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const digest = () => page.evaluate(async () => {
  await db.refresh();
  const bytes = await (await db.export()).arrayBuffer();
  const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(sum, (byte) => byte.toString(16).padStart(2, '0')).join('');
});
const open = (options) => page.evaluate(async (options) => {
  window.db = await walferry.open(options);
  window.answers = [];
  db.subscribe('select count(*) from t', [], ({ rows: [[count]] }) => answers.push(count));
  return db.position;
}, options);
const close = () => page.evaluate(() => db.close());
const has = (count) => eventually(page, async (count) => (await walferry.one('select count(*) from t')) === count, count);
const refused = (options) => page.evaluate((options) => walferry.refusal(walferry.open(options)), options);

for (const [what, fill, where] of [
  ['a folder of walferry, as a page', () => toFolder('own'), { url: at.html, database: 'own', replica: 'files' }],
  ['a folder of walferry with page checks, as JSON', () => toFolder('own-json', 'walferry', 'deflate'), { url: `${at.json}/own-json/`, replica: 'files' }],
  ['a folder of Litestream', () => toFolder('theirs', 'litestream'), { url: at.html, database: 'theirs', replica: 'files' }],
  ['a bucket of walferry', () => toBucket('app/own.db'), { url: at.bucket, database: 'app/own.db', replica: 's3' }],
]) {
  test(`${what} is restored, followed, and read as it was`, async () => {
    const server = await fill();
    await open({ ...where, follow: true, poll: 100 });
    await has(1);
    assert.equal(await page.evaluate(() => db.following?.status ?? 'connecting') !== 'live', true, 'nothing pushes there');
    for (let count = 2; count <= 4; count++) {
      await server.run(`insert into t (name) values ('${count}')`);
      await has(count);
    }
    await eventually(page, () => answers.at(-1) === 4);
    // What is shipped to the end: Litestream writes to the database, too.
    await server.stop();
    assert.equal(await digest(), sha256(await server.content()), 'byte for byte');
    server.ship();
    const then = await page.evaluate(() => ({ txid: db.position.txid, timestamp: db.position.timestamp }));
    await server.run("insert into t (name) select value from json_each('[1,2,3,4,5,6]')");
    await has(10);
    const past = await page.evaluate(async ({ timestamp }) => {
      const past = await db.openAt(timestamp);
      return { txid: past.position.txid, verified: past.position.verified, rows: (await past.query('select count(*) from t')).rows };
    }, then);
    assert.deepEqual(past, { txid: then.txid, verified: what.includes('page checks'), rows: [[4]] });

    // The next visit goes on from what is here; both sides have been away.
    await close();
    await server.stop();
    await server.run("insert into t (name) values ('meanwhile')");
    server.ship();
    await open(where);
    await eventually(page, async () => (await db.refresh(), (await walferry.one('select count(*) from t')) === 11));
    assert.equal(await page.evaluate(() => walferry.one('pragma integrity_check')), 'ok');
    await page.evaluate(() => db.delete());
    await server.stop();
  });
}

/** A database of some megabytes, shipped to its end, and a line to it that can be held. */
async function large(fill, where) {
  const server = await fill();
  await server.run('create table big (id integer primary key, a text)');
  await server.run('with recursive n (i) as (select 1 union all select i + 1 from n where i < 60000) insert into big select i, hex(randomblob(45)) from n');
  await server.stop();
  const { origin, pathname } = new URL(where.url);
  const line = await ranges(origin);
  return { server, line, where: { ...where, url: line.url + pathname } };
}

for (const [what, fill, at_, verified, promised] of [
  ['a folder of walferry', () => toFolder('large', 'walferry', 'deflate'), { url: at.html, database: 'large', replica: 'files' }, true, true],
  ['a bucket of walferry, without page checks,', () => toBucket('large-kept'), { url: at.bucket, database: 'large-kept', replica: 's3' }, false, true],
  ['a folder of Litestream', () => toFolder('large-theirs', 'litestream'), { url: at.html, database: 'large-theirs', replica: 'files' }, false, false],
]) {
  test(`${what} is asked before it is here, and is whole and proven then`, async () => {
    const { server, line, where } = await large(fill, at_);
    line.hold();
    await open({ ...where, follow: true, poll: 100 });
    assert.equal(await page.evaluate(() => walferry.one('select length(a) from big where id = 33333')), 90);
    const { whole, verified: checked, sum } = await page.evaluate(() => db.position);
    assert.deepEqual([whole, checked, typeof sum === 'string'], [false, verified, promised]);
    server.ship();
    await server.run("insert into t (name) values ('meanwhile')");
    // What can be proven at the end only, as it was, stays so until then.
    if (promised) await has(2);
    assert.equal(await page.evaluate(() => db.position.whole), false);
    if (!promised) assert.equal(await page.evaluate(async () => {
      // Beside what comes at one stroke, and does not end it.
      let count = 0;
      for await (const _ of db.iterate('select a from big where id <= 900', [], { batch: 300 })) count += 1;
      await db.query('begin');
      count += await walferry.one('select count(a) from big where id <= 100');
      await db.query('commit');
      return count;
    }), 1000);
    line.release();
    const then = await page.evaluate(() => db.whenWhole());
    assert.deepEqual([then.whole, then.verified, typeof then.sum], [true, true, 'string']);
    await has(2);
    assert.equal(await page.evaluate(() => walferry.one('pragma integrity_check')), 'ok');
    await server.stop();
    assert.equal(await digest(), sha256(await server.content()), 'byte for byte');
    await page.evaluate(() => db.delete());
  });
}

test('a file of Litestream that is not what its checksum says is seen when all of it is here', async () => {
  const { server, where } = await large(() => toFolder('forged', 'litestream'), { url: at.html, database: 'forged', replica: 'files' });
  const origin = new URL(where.url).origin;
  let damages = false;
  const through = await between(origin, (path, body, { headers }) => {
    // Of a long read, a byte of a page that the query has not asked for.
    if (damages && headers.range && body.length > 2 ** 18) body[body.length >> 1] ^= 1;
    return body;
  });
  damages = true;
  await open({ ...where, url: through });
  assert.equal(await page.evaluate(() => walferry.one('select length(a) from big where id = 5')), 90);
  // It is fetched again and again, and is never whole: who waits for it is told why.
  const proven = await page.evaluate(() => Promise.race([db.whenWhole({ signal: AbortSignal.timeout(10_000) }).then(() => 'whole', ({ code }) => code)]));
  assert.equal(proven, 'DAMAGED');
  damages = false;
  const then = await page.evaluate(() => db.whenWhole());
  assert.deepEqual([then.whole, then.verified], [true, true]);
  assert.equal(await digest(), sha256(await server.content()));
  await page.evaluate(() => db.delete());
});

test('a listing that is cut, damaged, or of something else is refused', async () => {
  const server = await toBucket('broken');
  for (let count = 1; count <= 3; count++) {
    const before = server.segments().length;
    await server.run(`insert into t (name) values ('${count}')`);
    while (server.segments().length === before) await new Promise((later) => setTimeout(later, 20));
  }
  await server.stop();
  let change;
  const through = new URL(await between(new URL(at.bucket).origin, (path, body) => (path.includes('list-type') ? Buffer.from(change(String(body))) : body)));
  const where = { url: `${through.origin}/backups`, database: 'broken', replica: 's3' };
  const code = async (damage) => ((change = damage), (await refused(where)).code);
  assert.equal(await code((text) => text.slice(0, text.length / 2)), 'PROTOCOL');
  assert.equal(await code(() => '<!doctype html><title>Hello</title>'), 'PROTOCOL');
  assert.equal(await code((text) => text.replace(/<Size>\d+<[/]Size>/, '<Size>many</Size>')), 'PROTOCOL');
  assert.equal(await code((text) => text.replace(/<Contents>.*<[/]Contents>/s, '')), 'NOT_FOUND');
  // The second of its segments is not told of: nothing leads on.
  const without = (text, which) => {
    let number = 0;
    return text.replace(/<Contents>.*?<[/]Contents>/gs, (object) => (/-[0-9a-f]+[.]ltx/.test(object) && number++ === which ? '' : object));
  };
  assert.equal(await code((text) => without(text, 1)), 'NO_PLAN');
  // A size that is not the object's.
  assert.equal(await code((text) => text.replace(/<Size>(\d+)<[/]Size>/g, (_, size) => `<Size>${Number(size) + 1}</Size>`)), 'DAMAGED');
  change = (text) => text;
  await open(where);
  assert.equal(await digest(), sha256(await server.content()));
  await page.evaluate(() => db.delete());
});

test('what upkeep has deleted since it was listed is planned again', async () => {
  const server = await toBucket('gone');
  await server.run("insert into t (name) values ('two')");
  while (server.segments().length < 3) await new Promise((later) => setTimeout(later, 20));
  await server.stop();
  const newest = server.segments().filter((path) => path.startsWith('0000')).sort().at(-1);
  let listings = 0;
  const through = new URL(await between(new URL(at.bucket).origin, (path, body) => {
    if (path.includes('list-type') && ++listings === 1) rmSync(join(at.kept, 'gone', newest));
    return body;
  }));
  await open({ url: `${through.origin}/backups`, database: 'gone', replica: 's3' });
  assert.equal(listings, 2, 'what is left leads to a state');
  assert.equal(await page.evaluate(() => walferry.one('pragma integrity_check')), 'ok');
  await page.evaluate(() => db.delete());
});

test('a history that was replaced is seen, and the new one is restored', async () => {
  const [old, other] = [await toFolder('old'), await toFolder('other')];
  await old.stop();
  await other.run("insert into t (name) values ('another')");
  while (other.segments().length < old.segments().length) await new Promise((later) => setTimeout(later, 20));
  await other.stop();
  const where = { url: at.html, database: 'old', replica: 'files' };
  await open(where);
  await close();
  rmSync(join(at.folder, 'old'), { recursive: true });
  cpSync(join(at.folder, 'other'), join(at.folder, 'old'), { recursive: true });
  await open(where);
  assert.equal(await digest(), sha256(await other.content()));
  await page.evaluate(() => db.delete());
});

test('what is no replica, and what is asked wrongly, is said', async () => {
  const said = async (options) => {
    const { code, message } = await refused(options);
    return `${code}: ${message}`;
  };
  assert.match(await said({ url: at.html, database: 'nothing', replica: 'files' }), /^NOT_FOUND: .*nothing/);
  assert.match(await said({ url: at.bucket, database: 'nothing', replica: 's3' }), /^NOT_FOUND: .*nothing/);
  assert.match(await said({ url: at.bucket, database: '../app', replica: 's3' }), /^INVALID: /);
  assert.match(await said({ url: at.bucket, database: 'a b', replica: 's3' }), /^INVALID: /);
  assert.match(await said({ url: at.bucket, database: 'app', replica: 'ftp' }), /^INVALID: /);
  assert.match(await said({ url: at.bucket, database: 'app/own.db' }), /^INVALID: .*replica/);
});
