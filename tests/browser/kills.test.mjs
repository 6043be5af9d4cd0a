// Tabs that die at any moment of a restore or of an apply, while an application writes: what is found afterwards is whole.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { browser, tab } from './support/chromium.mjs';
import { READ, source, worker } from './support/source.mjs';
import { prepare } from './support/tabs.mjs';

const to = await worker();
const server = await source(to, 'kills', { shipper: ['--sync-interval', '20ms'] });
after(() => server.stop());
await server.run('create table t (id integer primary key, n integer, a)', "insert into t (n, a) select value, randomblob(20000) from json_each('[" + Array.from({ length: 100 }, (_, n) => n) + "]')", 'create index i on t (n)');
await server.ship();
const chromium = await browser();
const options = { url: to.url, database: 'kills', token: READ };

// Reproducible: the same moments in every run.
let seed = 7;
const random = (most) => ((seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31), Math.floor((seed / 2 ** 31) * most));

test('twenty tabs die one after the other; each next one finds a state that was', async () => {
  let writing = true;
  const writer = (async () => {
    while (writing) {
      // Every row moves together: any state that is none shows two values.
      await server.run('update t set n = n + 1000', `update t set a = randomblob(${1000 + random(20_000)}) where id % 7 = ${random(7)}`, `insert into t (n, a) values ((select n from t where id = 1), null)`, `delete from t where id > ${100 + random(30)}`);
    }
  })();
  for (let round = 0; round < 20; round++) {
    const page = await prepare(await tab(chromium, to.url));
    const devtools = await chromium.newCDPSession(page);
    const crash = async (after) => {
      await new Promise((later) => setTimeout(later, after));
      const crashed = page.waitForEvent('crash');
      devtools.send('Page.crash').catch(() => {});
      await crashed;
      await page.close();
    };
    if (round < 6) {
      // In the middle of the restore, mostly; from the third on there may be a copy.
      page.evaluate((options) => walferry.open({ ...options, follow: true }), { ...options, atOnce: round % 2 === 0 }).catch(() => {});
      await crash(random(60));
      continue;
    }
    const found = await page.evaluate(async (options) => {
      // As it was left, before anything is asked of the Worker; nothing, or a part, if no restore was completed.
      let left = await walferry.open({ ...options, offline: true }).catch(({ code }) => code);
      if (left.position?.whole === false) left = await left.close().then(() => 'part');
      window.db = typeof left === 'string' ? await walferry.open({ ...options, atOnce: false }) : left;
      const one = async (sql) => (await db.query(sql)).rows[0][0];
      const found = { left: typeof left, check: await one('pragma integrity_check'), moves: await one('select count(distinct n / 1000) from t where id <= 100') };
      db.follow();
      return found;
    }, options);
    assert.deepEqual([found.check, found.moves], ['ok', 1], `round ${round}`);
    if (round > 6) assert.equal(found.left, 'object', 'a copy that was complete is still there');
    await crash(20 + random(300));
  }
  writing = false;
  await writer;

  await server.settle();
  const source = await server.content();
  const page = await prepare(await tab(chromium, to.url));
  const copy = await page.evaluate(async (options) => {
    const db = await walferry.open(options);
    const file = await db.export();
    const sha256 = new Uint8Array(await crypto.subtle.digest('SHA-256', await file.arrayBuffer()));
    return { sha256: Array.from(sha256, (byte) => byte.toString(16).padStart(2, '0')).join(''), size: file.size };
  }, options);
  assert.deepEqual(copy, source);
});
