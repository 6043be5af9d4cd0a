// Any number of tabs use one copy: one leads and has its files, and when it goes, however it goes, the next does.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { bareBrowser, browser, tab } from './support/chromium.mjs';
import { READ, source, worker } from './support/source.mjs';
import { eventually, leader, prepare } from './support/tabs.mjs';

const to = await worker();
const servers = [];
after(() => Promise.all(servers.map((server) => server.stop())));
const chromium = await browser();

const serve = async (name) => {
  const server = await source(to, name);
  servers.push(server);
  await server.run('create table t (id integer primary key, a)', "insert into t (a) values ('one'), ('two'), ('three')");
  await server.ship();
  return server;
};
const options = ({ url, name }, others = {}) => ({ url, database: name, token: READ, ...others });

/** A tab that has it open, as `db`. */
async function opened(server, context = chromium) {
  const page = await prepare(await tab(context, to.url));
  await page.evaluate(async (options) => {
    window.db = await walferry.open(options);
    window.moves = [];
    db.addEventListener('position', ({ detail }) => moves.push(detail.txid));
  }, options(server));
  return page;
}

const tabs = (server, count, context) => Promise.all(Array.from({ length: count }, () => opened(server, context)));
const count = (page) => page.evaluate(() => walferry.one('select count(*) from t'));
const close = (pages) => Promise.all(pages.map((page) => page.close()));
// Asked again and again until the tab has ended or `stopped` is set; what went wrong is kept.
const asking = (page) => page.evaluate(() => {
  window.asked = { answers: 0, errors: [] };
  (async () => {
    while (!window.stopped) {
      await walferry.one('select count(*) from t').then(() => (asked.answers += 1), ({ code, message }) => asked.errors.push(`${code}: ${message}`));
    }
  })();
});

test('a transaction ends with the worker that answers, and its tab is told once, however it was begun', async () => {
  const server = await serve('left');
  const pages = await tabs(server, 3);
  const first = await leader(pages, server.name);
  const [other, third] = pages.filter((page) => page !== first);
  const begun = (begin) => other.evaluate(async (begin) => {
    await db.query(begin);
    return walferry.one('select count(*) from t');
  }, begin);
  const told = (sql = 'select 1') => other.evaluate(async (sql) => [await walferry.refusal(db.query(sql)), await walferry.refusal(db.query('select 1'))].map(({ code }) => code), sql);

  assert.equal(await begun('begin'), 3);
  await first.close();
  await leader([other, third], server.name);
  // The next one has answered by then; a savepoint is taken for a part of what was begun.
  await other.evaluate(() => db.refresh().then(() => {}));
  assert.deepEqual(await told('savepoint within'), ['POSITION_MOVED', 'none']);

  assert.equal(await begun('/* all of one state */ begin'), 3);
  const endless = await other.evaluate(() => walferry.refusal(db.query('with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n', [], { signal: AbortSignal.timeout(200) })));
  assert.equal(endless.code, 'ABORTED');
  assert.deepEqual(await told(), ['POSITION_MOVED', 'none']);

  // What it begins with the next one, it ends there.
  assert.equal(await begun('savepoint a'), 3);
  assert.equal(await other.evaluate(async () => (await walferry.refusal(db.query('release a'))).code), 'none');
  await close([other, third]);
});

test('what is asked while no worker answers is no part of a new state, if it was of a transaction', async () => {
  const server = await serve('gap');
  const page = await opened(server);
  const codes = await page.evaluate(async () => {
    await db.query('begin');
    const endless = 'with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n';
    await walferry.refusal(db.query(endless, [], { signal: AbortSignal.timeout(100) }));
    // Some of these are asked before the worker is ended, and some before the next one answers.
    const asked = [];
    let first = true;
    for (; first; await new Promise((later) => setTimeout(later, 5))) {
      const answer = walferry.refusal(db.query('select count(*) from t'));
      asked.push(answer);
      answer.then(() => (first = false));
    }
    return Promise.all([...asked, walferry.refusal(db.query('select count(*) from t'))]).then((answers) => answers.map(({ code }) => code));
  });
  assert.deepEqual(new Set(codes.slice(0, -1)), new Set(['POSITION_MOVED']));
  assert.equal(codes.at(-1), 'none');
  await page.close();
});

for (const many of [2, 5]) {
  test(`${many} tabs: one has the files, all have the rows, and the state moves in all at once`, async () => {
    const server = await serve(`share-${many}`);
    const loaded = [];
    const countWasm = (request) => request.url().endsWith('.wasm') && loaded.push(request.url());
    chromium.on('request', countWasm);
    const pages = await tabs(server, many);
    chromium.off('request', countWasm);
    assert.equal(loaded.length, 1, 'one tab loaded SQLite');
    const locks = await pages[0].evaluate(() => navigator.locks.query());
    const ours = (locks) => locks.filter(({ name }) => name.includes('share-') && name.endsWith(':leader')).length;
    assert.deepEqual([ours(locks.held), ours(locks.pending)], [1, many - 1]);
    for (const page of pages) assert.equal(await count(page), 3);
    // Whoever tries to open the files beside the leader cannot.
    const first = await leader(pages, server.name);
    const refused = await pages.find((page) => page !== first).workers()[0].evaluate(async (name) => {
      const folder = await (await (await navigator.storage.getDirectory()).getDirectoryHandle('walferry')).getDirectoryHandle('v1');
      for await (const copy of folder.values()) {
        if (!copy.name.startsWith(`${name}@`)) continue;
        const file = await copy.getFileHandle('db');
        return file.createSyncAccessHandle().then((handle) => (handle.close(), 'opened'), (error) => error.name);
      }
    }, server.name);
    assert.equal(refused, 'NoModificationAllowedError');

    await server.run("insert into t (a) values ('four')");
    await server.settle();
    const { txid } = await pages.at(-1).evaluate(() => db.refresh());
    for (const page of pages) {
      await page.waitForFunction((txid) => db.position.txid === txid && moves.includes(txid), txid);
      assert.equal(await count(page), 4);
    }
    await close(pages);
  });
}

const ends = {
  'is closed': (page) => page.close({ runBeforeUnload: true }),
  'closes the database': (page) => page.evaluate(() => db.close()),
  'navigates away': (page) => page.goto('about:blank'),
  crashes: async (page) => {
    const devtools = await page.context().newCDPSession(page);
    const crashed = page.waitForEvent('crash');
    devtools.send('Page.crash').catch(() => {});
    await crashed;
  },
};
for (const [how, end] of Object.entries(ends)) {
  test(`the leader ${how}: another leads, and what was asked is answered`, async () => {
    const server = await serve(`ends-${Object.keys(ends).indexOf(how)}`);
    const pages = await tabs(server, 3);
    const first = await leader(pages, server.name);
    const others = pages.filter((page) => page !== first);
    for (const page of others) await asking(page);
    for (const page of others) await page.waitForFunction(() => asked.answers > 3);
    await end(first);
    const second = await leader(others, server.name);
    assert.ok(others.includes(second));
    for (const page of others) {
      const answers = await page.evaluate(() => asked.answers);
      await page.waitForFunction((answers) => asked.answers > answers + 5, answers);
      assert.deepEqual(await page.evaluate(() => ((window.stopped = true), asked.errors)), []);
    }
    await server.run("insert into t (a) values ('four')");
    await server.settle();
    await others.find((page) => page !== second).evaluate(() => db.refresh());
    for (const page of others) assert.equal(await count(page), 4);
    await close(others);
    if (how !== 'is closed') await first.close();
  });
}

for (const many of [2, 5]) test(`the leader of ${many} is frozen: another leads; it wakes as one of many`, async () => {
  const server = await serve(`frozen-${many}`);
  const bare = await bareBrowser();
  const pages = await tabs(server, many, bare);
  const first = await leader(pages, server.name);
  const others = pages.filter((page) => page !== first);
  await asking(first);
  await first.waitForFunction(() => asked.answers > 3, undefined, { polling: 50 });
  await others[0].bringToFront();
  const devtools = await bare.newCDPSession(first);
  await devtools.send('Page.setWebLifecycleState', { state: 'frozen' });
  const other = await leader(others, server.name);
  for (const page of others) assert.equal(await count(page), 3);
  await server.run("insert into t (a) values ('four')");
  await server.settle();
  await other.evaluate(() => db.refresh());
  await first.bringToFront();
  // What it was asking when it fell asleep is answered now, by the other.
  const answers = await first.evaluate(() => asked.answers);
  await first.waitForFunction((answers) => asked.answers > answers + 5, answers, { polling: 50 });
  assert.deepEqual(await first.evaluate(() => ((window.stopped = true), asked.errors)), []);
  assert.equal(await count(first), 4);
  assert.equal(await leader(pages, server.name), other);
  await close(pages);
});

test('the leader is closed without a network: the next, which has no wasm yet, answers when there is one again', async () => {
  const server = await serve('unplugged');
  const pages = await tabs(server, 2);
  const first = await leader(pages, server.name);
  const [other] = pages.filter((page) => page !== first);
  await chromium.setOffline(true);
  try {
    await first.close();
    await other.evaluate(() => (window.counting = walferry.refusal(walferry.one('select count(*) from t')), null));
    const early = await other.evaluate(() => Promise.race([counting, new Promise((later) => setTimeout(later, 1500, 'nothing'))]));
    assert.equal(early, 'nothing');
  } finally {
    await chromium.setOffline(false);
  }
  assert.deepEqual(await other.evaluate(() => counting), { code: 'none', value: '3' });
  await other.close();
});

test('the leader goes back and forth: it comes back from the cache, as one of many', async () => {
  const server = await serve('back');
  const bare = await bareBrowser();
  const pages = await tabs(server, 2, bare);
  const first = await leader(pages, server.name);
  const [other] = pages.filter((page) => page !== first);
  await first.evaluate(() => {
    window.shown = 0;
    addEventListener('pageshow', ({ persisted }) => persisted && (shown += 1));
  });
  await first.goto(`${to.url}/favicon.svg`);
  assert.equal(await leader([other], server.name), other);
  assert.equal(await count(other), 3);
  await first.goBack({ waitUntil: 'commit' });
  assert.equal(await first.evaluate(() => window.shown), 1, 'from the cache');
  assert.equal(await count(first), 3);
  assert.equal(await leader(pages, server.name), other);
  await close(pages);
});

test('a tab that is closed in the middle of a restore leaves it to the next', async () => {
  const server = await serve('unfinished');
  await server.run("insert into t (a) select randomblob(100000) from json_each('[" + Array(60).fill(1) + "]')");
  await server.settle();
  const first = await prepare(await tab(chromium, to.url));
  await first.evaluate((options) => new Promise((resolve) => walferry.open({ ...options, onProgress: resolve })), options(server));
  const second = await prepare(await tab(chromium, to.url));
  const opening = second.evaluate(async (options) => {
    window.db = await walferry.open(options);
    return walferry.one('select count(*) from t');
  }, options(server));
  await first.close();
  assert.equal(await opening, 63);
  await second.close();
});

test('deleted by one tab, it is closed in all, and gone', async () => {
  const server = await serve('deleted');
  const pages = await tabs(server, 3);
  const first = await leader(pages, server.name);
  const [other, third] = pages.filter((page) => page !== first);
  await other.evaluate(() => db.delete());
  for (const page of [first, third]) {
    await eventually(page, async () => (await walferry.refusal(db.query('select 1'))).code === 'CLOSED');
  }
  const again = await other.evaluate((options) => walferry.refusal(walferry.open({ ...options, offline: true })), options(server));
  assert.equal(again.code, 'NO_COPY');
  await close(pages);
});

test('a statement that does not end is stopped by its signal, in whichever tab; the others are answered', async () => {
  const server = await serve('runaway');
  const pages = await tabs(server, 3);
  const leading = await leader(pages, 'runaway');
  const [asks, looks] = pages.filter((page) => page !== leading);
  await looks.evaluate(() => {
    window.counts = [];
    db.subscribe('select count(*) from t', [], ({ rows: [[count]] }) => counts.push(count));
  });
  await eventually(looks, () => counts.length === 1);
  const endless = 'with recursive n (i) as (select 1 union all select i + 1 from n) select max(i) from n';
  for (const page of [asks, leading]) {
    const stopped = page.evaluate(async (sql) => {
      const stop = new AbortController();
      window.stop = () => stop.abort();
      const refused = walferry.refusal(db.query(sql, [], { signal: stop.signal }));
      window.running = true;
      return (await refused).code;
    }, endless);
    await eventually(page, () => window.running);
    // It has begun, and everybody waits for it.
    const waits = looks.evaluate(() => walferry.one('select count(*) from t'));
    const early = await Promise.race([waits, new Promise((later) => setTimeout(later, 1000, 'nothing'))]);
    assert.equal(early, 'nothing');
    await page.evaluate(() => stop());
    assert.equal(await stopped, 'ABORTED');
    assert.equal(await waits, 3);
    for (const page of pages) assert.equal(await count(page), 3);
  }
  // What was subscribed goes on.
  await server.run("insert into t (a) values ('four')");
  await server.settle();
  await asks.evaluate(() => db.refresh());
  await eventually(looks, () => counts.at(-1) === 4);
  // One that is done is not ended: whoever leads stays.
  const stays = await leader(pages, 'runaway');
  const code = await asks.evaluate(() => {
    const stop = new AbortController();
    const refused = walferry.refusal(db.query('select count(*) from t', [], { signal: stop.signal }));
    stop.abort();
    return refused.then(({ code }) => code);
  });
  assert.equal(code, 'ABORTED');
  assert.equal(await count(asks), 4);
  await new Promise((later) => setTimeout(later, 600));
  assert.equal(await leader(pages, 'runaway'), stays);
  await close(pages);
});
