// What the browser keeps, and what happens when it does not.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { browser, tab } from './support/chromium.mjs';
import { between } from './support/origin.mjs';
import { READ, source, worker } from './support/source.mjs';
import { prepare } from './support/tabs.mjs';

const to = await worker();
const servers = [];
after(() => Promise.all(servers.map((server) => server.stop())));
const page = await prepare(await tab(await browser(), to.url));
const devtools = await page.context().newCDPSession(page);

const serve = async (name, rows = 3) => {
  const server = await source(to, name);
  servers.push(server);
  await server.run('create table t (id integer primary key, a)', `insert into t (a) select randomblob(100000) from json_each('[${Array(rows).fill(1)}]')`);
  await server.ship();
  return { url: to.url, database: name, token: READ };
};
const open = (options) => page.evaluate(async (options) => {
  const db = await walferry.open({ ...options, atOnce: false });
  const { rows } = await db.query('select count(*) from t');
  await db.close();
  return rows[0][0];
}, options);

test('what does not fit is said before anything is fetched; what is there stays', async () => {
  const small = await serve('small');
  const large = await serve('large', 60);
  assert.equal(await open(small), 3);
  const fetched = [];
  const url = await between(to.url, (path, body) => (/\.ltx$/.test(path) && fetched.push(path), body));
  await devtools.send('Storage.overrideQuotaForOrigin', { origin: to.url, quotaSize: 3_000_000 });
  const refused = await page.evaluate((options) => walferry.refusal(walferry.open(options)), { ...large, url });
  assert.equal(refused.code, 'STORAGE_FULL', refused.message);
  // Only what tells how large it is: the ends of its segments.
  assert.ok(fetched.length <= 4, fetched.join());
  assert.equal(await open({ ...small, offline: true }), 3);
  await devtools.send('Storage.overrideQuotaForOrigin', { origin: to.url });
  assert.equal(await open({ ...large, url }), 60);
});

test('evicted, it is fetched again', async () => {
  const options = await serve('evicted');
  assert.equal(await open(options), 3);
  await devtools.send('Storage.clearDataForOrigin', { origin: to.url, storageTypes: 'file_systems' });
  const gone = await page.evaluate((options) => walferry.refusal(walferry.open({ ...options, offline: true })), options);
  assert.equal(gone.code, 'NO_COPY');
  assert.equal(await open(options), 3);
});

test('what another version of it has left is restored anew', async () => {
  const options = await serve('foreign');
  assert.equal(await open(options), 3);
  const [before, after] = await page.evaluate(async ({ url, database }) => {
    let folder = await navigator.storage.getDirectory();
    for (const name of ['walferry', 'v1', `${encodeURIComponent(database)}@${encodeURIComponent(url)}`]) folder = await folder.getDirectoryHandle(name);
    const file = await folder.getFileHandle('position');
    const before = await (await file.getFile()).text();
    const written = await file.createWritable({ keepExistingData: true });
    await written.write({ type: 'write', position: 0, data: 'WFS9' });
    await written.close();
    return [before, await (await file.getFile()).text()].map((text) => text.slice(0, 4));
  }, options);
  assert.deepEqual([before, after], ['WFS1', 'WFS9']);
  const refused = await page.evaluate((options) => walferry.refusal(walferry.open({ ...options, offline: true })), options);
  assert.equal(refused.code, 'NO_COPY');
  assert.equal(await open(options), 3);
});

test('tells how much there is, and asks to keep it', async () => {
  const told = await page.evaluate(async () => ({ ...(await walferry.storage()), asked: await walferry.persist() }));
  assert.ok(told.quota > 0 && told.usage >= 0, JSON.stringify(told));
  assert.equal(typeof told.persisted, 'boolean');
  assert.equal(typeof told.asked, 'boolean');
});

test('several databases at once, each with a copy of its own', async () => {
  const all = await Promise.all([serve('left', 1), serve('right', 2)]);
  const counts = await page.evaluate(async (all) => {
    const dbs = await Promise.all(all.map((options) => walferry.open(options)));
    const counts = await Promise.all(dbs.map(async (db) => (await db.query('select count(*) from t')).rows[0][0]));
    await dbs[0].delete();
    counts.push((await dbs[1].query('select count(*) from t')).rows[0][0]);
    await dbs[1].close();
    return counts;
  }, all);
  assert.deepEqual(counts, [1, 2, 2]);
});

test('one database twice in a page is two of one copy', async () => {
  const options = await serve('twice');
  const told = await page.evaluate(async (options) => {
    const [one, two] = await Promise.all([walferry.open(options), walferry.open(options)]);
    const count = async (db) => (await db.query('select count(*) from t')).rows[0][0];
    const counts = await Promise.all([count(one), count(two)]);
    await one.close();
    return [...counts, await count(two), (await walferry.refusal(one.query('select 1'))).code, await two.close()];
  }, options);
  assert.deepEqual(told.slice(0, 4), [3, 3, 3, 'CLOSED']);
});

test('a page without a secure context is told why', async () => {
  const elsewhere = await tab(page.context());
  await elsewhere.route('http://insecure.example/**', async (route) => {
    const path = new URL(route.request().url()).pathname;
    const answer = await route.fetch({ url: to.url + path });
    await route.fulfill({ response: answer });
  });
  await elsewhere.goto('http://insecure.example/');
  const refused = await elsewhere.evaluate(async (options) => {
    const { open } = await import('/walferry/walferry.js');
    return open(options).then(() => 'none', ({ code, message }) => ({ code, message }));
  }, { url: to.url, database: 'small', token: READ });
  assert.deepEqual(refused.code, 'STORAGE');
  assert.match(refused.message, /https/);
  await elsewhere.close();
});

test('a browser that is too old is told so, before anything is fetched', async () => {
  const elsewhere = await tab(page.context(), to.url);
  const refused = await elsewhere.evaluate(async (options) => {
    AbortSignal.any = undefined;
    const { open } = await import('/walferry/walferry.js');
    return open(options).then(() => 'none', ({ code, message }) => ({ code, message }));
  }, { url: to.url, database: 'small', token: READ });
  assert.equal(refused.code, 'STORAGE');
  assert.match(refused.message, /older than Chrome 116, Firefox 124 and Safari 17[.]4/);
  await elsewhere.close();
});
