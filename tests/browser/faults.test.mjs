// A tab that is killed after each change of a file, and in the middle of each write: what is found afterwards is a state that was.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { inRoot } from '../../scripts/lib/root.mjs';
import { browser, tab } from './support/chromium.mjs';
import { files } from './support/origin.mjs';
import { folder } from './support/packed.mjs';
import { READ, source, worker } from './support/source.mjs';
import { prepare } from './support/tabs.mjs';

const to = await worker();
const servers = [];
after(() => Promise.all(servers.map((server) => server.stop())));
const chromium = await browser();

// The module as it is published, and the one with fault points, of one origin: they have the same files.
const dir = folder('faults');
cpSync(inRoot('pkg'), join(dir, 'walferry'), { recursive: true });
cpSync(inRoot('build', 'browser-faults'), join(dir, 'faults'), { recursive: true });
writeFileSync(join(dir, 'index.html'), '<!doctype html><link rel="icon" href="data:,">');
const origin = await files(dir);

const CONTENT = 'select count(*), sum(n), sum(length(a)) from t';

/** A database that a page may find in the states that are `known`, by transaction. */
async function serve(name) {
  const server = await source(to, name, { autoVacuum: 1, shipper: ['--sync-interval', '20ms'] });
  servers.push(server);
  const known = new Map();
  const change = async (...statements) => {
    const before = await server.txid();
    const [content] = await server.run(...statements, CONTENT);
    if (!known.size) await server.ship();
    let txid;
    while ((txid = await server.txid()) === before) await new Promise((later) => setTimeout(later, 10));
    known.set(txid, content);
    return txid;
  };
  await change('create table t (id integer primary key, n integer, a)', "insert into t (n, a) select value, randomblob(3000) from json_each('[1, 2, 3, 4, 5, 6, 7, 8]')");
  return { server, change, known, options: { url: to.url, database: name, token: READ } };
}

/** A tab with the module as it is published, and as `faulty` the one that stops at `point`. */
async function visitor() {
  const page = await tab(chromium, origin);
  const told = [];
  const waiting = new Map();
  page.on('console', (message) => {
    const [, point] = /^fault point (.*)/.exec(message.text()) ?? [];
    if (point) told.push(point);
    waiting.get(point)?.();
  });
  await prepare(page);
  /** Calls `act` until it is over: the points that it reaches. */
  const reached = async (act, options, meanwhile) => {
    await begin('-', act, options, meanwhile);
    // On the way that its words take, too.
    for (const worker of page.workers()) await worker.evaluate(() => {});
    return told;
  };
  /** Calls `act`, and kills the tab at a point. */
  const killed = async (point, act, options, meanwhile) => {
    const stopped = new Promise((resolve, reject) => {
      waiting.set(point, resolve);
      begin(point, act, options, meanwhile).then(() => reject(new Error(`it never came to ${point}`)), reject);
    });
    await stopped;
    const devtools = await chromium.newCDPSession(page);
    const crashed = page.waitForEvent('crash');
    devtools.send('Page.crash').catch(() => {});
    await crashed;
    await page.close();
  };
  const begin = async (point, act, options, meanwhile) => {
    await page.evaluate(async (point) => {
      window.Worker = class extends Worker {
        constructor(url, options) {
          super(url.pathname.startsWith('/faults/') ? `${url}#${point}` : url, options);
        }
      };
      window.faulty = await import('/faults/walferry.js');
    }, point);
    await page.evaluate(act, options);
    await meanwhile?.();
    await page.evaluate(() => window.moved);
  };
  return { page, reached, killed };
}

/** What a tab left, before anything is asked of the Worker: a state of those known, or that there is no copy. */
async function left({ page }, { options, known }) {
  const found = await page.evaluate(async ({ options, content }) => {
    const db = await walferry.open({ ...options, offline: true }).catch(({ code }) => ({ code }));
    if (db.code) return db.code;
    const one = async (sql) => (await db.query(sql)).rows;
    const found = { txid: db.position.txid, check: await one('pragma integrity_check'), content: (await one(content))[0] };
    await db.close();
    return found;
  }, { options, content: CONTENT });
  if (typeof found === 'string') return found;
  assert.deepEqual(found, { txid: found.txid, check: [['ok']], content: known.get(found.txid) });
  return found.txid;
}

/** Brings the copy to the newest state, and ends. */
const newest = ({ page }, { options }, end = 'close') => page.evaluate(async ({ options, end }) => {
  const db = await walferry.open({ ...options, atOnce: false });
  const { txid } = db.position;
  await db[end]();
  return txid;
}, { options, end });

const open = async (options) => {
  window.db = await faulty.open({ ...options, atOnce: false });
};
const hydrate = async (options) => {
  window.db = await faulty.open(options);
  await db.query('select count(*) from t');
  await db.whenWhole();
};
const refresh = async (options) => {
  window.db = await faulty.open({ ...options, offline: true });
  await db.refresh();
};
const follow = async (options) => {
  window.db = await faulty.open({ ...options, atOnce: false });
  await new Promise((live) => db.follow(({ status, lag }) => status === 'live' && lag === 0 && live()));
  window.moved = new Promise((moved) => db.addEventListener('position', moved));
};

/** Every file was written, in halves and wholly, and flushed. */
function assertAll(points, files) {
  for (const file of files) for (const change of ['write_half', 'write', 'flush']) assert.ok(points.includes(`${file}.${change}:1`), `${file}.${change} of ${points}`);
}

test('at each step of a copy that comes while it is read: no copy, a part that the next goes on with, or the whole', async () => {
  const database = await serve('hydrate');
  const whole = [...database.known.keys()].at(-1);
  const first = await visitor();
  const points = [...(await first.reached(hydrate, database.options))];
  await first.page.evaluate(() => db.delete());
  await first.page.close();
  assertAll(points, ['db', 'position', 'present']);
  const found = new Set();
  let visit = await visitor();
  for (const point of points) {
    await visit.killed(point, hydrate, database.options);
    visit = await visitor();
    const state = await visit.page.evaluate(async ({ options, content }) => {
      const db = await walferry.open({ ...options, offline: true }).catch(({ code }) => ({ code }));
      if (db.code) return { state: db.code };
      const rows = await db.query(content).then(({ rows }) => rows[0], ({ code }) => code);
      const { whole, txid } = db.position;
      await db.close();
      return { state: whole ? 'whole' : 'part', rows, txid };
    }, { options: database.options, content: CONTENT });
    found.add(state.state);
    if (state.state !== 'NO_COPY' && state.rows !== 'UNREACHABLE') assert.deepEqual(state.rows, database.known.get(state.txid), point);
    if (state.state === 'whole') assert.notEqual(state.rows, 'UNREACHABLE', point);
    const after = await visit.page.evaluate(async ({ options, content }) => {
      const db = await walferry.open(options);
      const { txid } = await db.whenWhole();
      const { rows } = await db.query(content);
      const { rows: check } = await db.query('pragma integrity_check');
      await db.delete();
      return { txid, rows: rows[0], check };
    }, { options: database.options, content: CONTENT });
    assert.deepEqual(after, { txid: whole, rows: database.known.get(whole), check: [['ok']] }, point);
  }
  await visit.page.close();
  assert.deepEqual([...found].sort(), ['NO_COPY', 'part', 'whole']);
});

test('at each step of a restore: no copy, or the whole one', async () => {
  const database = await serve('restore');
  const whole = [...database.known.keys()].at(-1);
  const first = await visitor();
  const points = [...(await first.reached(open, database.options))];
  await first.page.evaluate(() => db.delete());
  await first.page.close();
  assertAll(points, ['db', 'position']);
  const found = [];
  let visit = await visitor();
  for (const point of points) {
    await visit.killed(point, open, database.options);
    visit = await visitor();
    found.push(await left(visit, database));
    assert.equal(await newest(visit, database, 'delete'), whole, point);
  }
  await visit.page.close();
  const done = points.indexOf('position.write:1');
  assert.deepEqual(found, points.map((_, index) => (index < done ? 'NO_COPY' : whole)), points.join());
});

test('at each step of a refresh, to a smaller database: the state before, or the one after', async () => {
  const database = await serve('refresh');
  await eachStep(database, {
    act: refresh,
    prepare: () => database.change('insert into t (n, a) values (0, randomblob(20000))'),
    step: () => database.change('delete from t where id > 8', 'update t set n = n + 1'),
    early: true,
  });
});

test('at each step of what is pushed: the state before, or the one after', async () => {
  const database = await serve('push');
  // A tab that is killed loses nothing that it wrote: after a write and after its flush is the same.
  const step = () => database.change('update t set n = n + 1, a = randomblob(3000)');
  await eachStep(database, { act: follow, step, only: /write_half|flush/ });
});

/** From one state to the next by `step`, which is made before or while `act` runs, once for each point on the way. */
async function eachStep(database, { act, prepare: ready = () => {}, step, early = false, only = /./ }) {
  const meanwhile = early ? undefined : step;
  const begin = async (visit) => {
    await ready();
    const before = await newest(visit, database);
    if (early) await step();
    return before;
  };
  const first = await visitor();
  await begin(first);
  const all = await first.reached(act, database.options, meanwhile);
  assertAll(all, ['redo', 'db', 'position']);
  assert.equal(all.includes('db.truncate:1'), early, all.join());
  // From the log's own header on, which is its second write, it goes on by itself.
  const sealed = all.indexOf('redo.write:2');
  assert.ok(sealed > 0);
  const points = all.filter((point) => only.test(point));
  await first.page.close();
  const ends = [];
  let visit = await visitor();
  for (const point of points) {
    const before = await begin(visit);
    await visit.killed(point, act, database.options, meanwhile);
    const after = [...database.known.keys()].at(-1);
    assert.notEqual(before, after);
    visit = await visitor();
    const found = await left(visit, database);
    assert.ok([before, after].includes(found), point);
    ends.push(found === after);
  }
  await visit.page.close();
  assert.deepEqual(ends, points.map((point) => all.indexOf(point) >= sealed), points.join());
}

test('the module that is published has no such points', () => {
  const names = ['fault point', 'write_half'];
  const faulty = readFileSync(inRoot('build', 'browser-faults', 'engine_bg.wasm'));
  for (const name of names) assert.ok(faulty.includes(name), `the test looks for what there is: ${name}`);
  for (const file of readdirSync(inRoot('pkg'))) {
    const bytes = readFileSync(inRoot('pkg', file));
    for (const name of names) assert.ok(!bytes.includes(name), `${name} in ${file}`);
  }
});
