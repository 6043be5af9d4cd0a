// The core without SQLite: what it restores and follows is read by the official sqlite-wasm.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Miniflare } from 'miniflare';
import { inRoot } from '../../scripts/lib/root.mjs';
import { browser, tab } from './support/chromium.mjs';
import { files } from './support/origin.mjs';
import { folder } from './support/packed.mjs';
import { READ, source, worker } from './support/source.mjs';
import { eventually, prepare } from './support/tabs.mjs';

const to = await worker();
const server = await source(to, 'own', { shipper: ['--sync-interval', '20ms'] });
after(() => server.stop());
await server.run('create table t (id integer primary key, name text)', "insert into t (name) values ('one'), ('two')", 'create virtual table f using fts5(name)', "insert into f select name from t");
await server.ship();
const chromium = await browser();

// A project without a bundler: both packages beside the page.
const dir = folder('own');
cpSync(inRoot('pkg'), join(dir, 'walferry'), { recursive: true });
cpSync(inRoot('node_modules', '@sqlite.org', 'sqlite-wasm', 'dist'), join(dir, 'sqlite'), { recursive: true });
writeFileSync(join(dir, 'index.html'), '<!doctype html><link rel="icon" href="data:,">');
writeFileSync(join(dir, 'worker.js'), `
  import { openCopy } from './walferry/restore.js';
  import sqlite3InitModule from './sqlite/index.mjs';

  let copy;
  let moves = 0;
  const methods = {
    open: async (options) => (copy = await openCopy(options)).position,
    refresh: () => copy.refresh(),
    follow: () => void copy.follow(() => (moves += 1)),
    moves: () => moves,
    close: () => copy.close(),
    delete: () => copy.delete(),
    first: () => new TextDecoder().decode(copy.read(0, 15)),
    // The official SQLite reads the file: its bytes, deserialized, with rollback journal instead of WAL in its header.
    async ask(sql) {
      const sqlite3 = await sqlite3InitModule({ print() {}, printErr() {} });
      let folder = await navigator.storage.getDirectory();
      for (const name of copy.path.slice(0, -1)) folder = await folder.getDirectoryHandle(name);
      const file = await (await folder.getFileHandle(copy.path.at(-1))).getFile();
      const bytes = new Uint8Array(await file.arrayBuffer());
      bytes[18] = bytes[19] = 1;
      const db = new sqlite3.oo1.DB();
      const at = sqlite3.wasm.allocFromTypedArray(bytes);
      const flags = sqlite3.capi.SQLITE_DESERIALIZE_FREEONCLOSE | sqlite3.capi.SQLITE_DESERIALIZE_READONLY;
      db.checkRc(sqlite3.capi.sqlite3_deserialize(db.pointer, 'main', at, bytes.length, bytes.length, flags));
      const rows = db.selectArrays(sql);
      db.close();
      return { version: sqlite3.version.libVersion, rows };
    },
  };
  onmessage = async ({ data: [id, method, argument] }) => {
    try {
      postMessage({ id, result: await methods[method](argument) });
    } catch ({ code, message }) {
      postMessage({ id, error: { code, message } });
    }
  };
`);
const origin = await files(dir);

async function user() {
  const page = await tab(chromium, origin);
  await page.evaluate(() => {
    const worker = new Worker('/worker.js', { type: 'module' });
    const calls = new Map();
    worker.onerror = ({ message }) => console.error(`the worker: ${message ?? 'it could not be loaded'}`);
    worker.onmessage = ({ data: { id, result, error } }) => calls.get(id)(error ?? result);
    window.call = (method, argument) => new Promise((resolve) => {
      calls.set(calls.size, resolve);
      worker.postMessage([calls.size - 1, method, argument]);
    });
  });
  assert.deepEqual(page.complaints, []);
  return page;
}
const options = { url: to.url, database: 'own', token: READ };
const call = (page, ...args) => page.evaluate((args) => call(...args), args);

test('restored, refreshed and followed, the official sqlite-wasm reads it', async () => {
  const page = await user();
  const opened = await call(page, 'open', options);
  assert.equal(opened.txid, await server.txid());
  assert.equal(await call(page, 'first'), 'SQLite format 3');
  const { version, rows } = await call(page, 'ask', "select t.id, f.name from f join t using (name) where f match 'two'");
  assert.deepEqual([version, rows], ['3.53.4', [[2, 'two']]]);

  await server.run("insert into t (name) values ('three')");
  await server.settle();
  assert.equal((await call(page, 'refresh')).txid, await server.txid());
  assert.deepEqual((await call(page, 'ask', 'select count(*) from t')).rows, [[3]]);

  await call(page, 'follow');
  await server.run("insert into t (name) values ('four')");
  await eventually(page, async () => (await call('moves')) > 0);
  assert.deepEqual((await call(page, 'ask', 'pragma integrity_check')).rows, [['ok']]);
  assert.deepEqual((await call(page, 'ask', 'select count(*) from t')).rows, [[4]]);
  await call(page, 'close');
  await page.close();
});

test('it is the file of the whole module: one goes on where the other has stopped', async () => {
  const page = await prepare(await tab(chromium, origin));
  const told = await page.evaluate(async (options) => {
    const db = await walferry.open({ ...options, offline: true });
    const { rows } = await db.query('select count(*) from t');
    await db.close();
    return rows[0][0];
  }, options);
  assert.equal(told, 4);
  await page.close();
});

test('it waits for who is about to let go of the files', async () => {
  const page = await user();
  await page.evaluate(async ({ url, database }) => {
    const script = `onmessage = async ({ data: path }) => {
      if (!path) return self.handle.close();
      let folder = await navigator.storage.getDirectory();
      for (const name of path.slice(0, -1)) folder = await folder.getDirectoryHandle(name);
      self.handle = await (await folder.getFileHandle(path.at(-1))).createSyncAccessHandle();
      postMessage('held');
    };`;
    window.holder = new Worker(URL.createObjectURL(new Blob([script])));
    holder.postMessage(['walferry', 'v1', `${encodeURIComponent(database)}@${encodeURIComponent(url)}`, 'db']);
    await new Promise((resolve) => (holder.onmessage = resolve));
    window.opening = call('open', { url, database, offline: true });
  }, options);
  await eventually(page, async () => (await navigator.locks.query()).held.some(({ name }) => name.endsWith(':leader')));
  const early = await page.evaluate(() => Promise.race([opening, new Promise((later) => setTimeout(later, 500, 'waits'))]));
  assert.equal(early, 'waits');
  await page.evaluate(() => holder.postMessage(undefined));
  assert.equal((await page.evaluate(() => opening)).txid, await server.txid());
  await call(page, 'close');
  await page.close();
});

test('its failures have codes', async () => {
  const page = await user();
  assert.equal((await call(page, 'open', { ...options, token: 'wrong' })).code, 'DENIED');
  assert.equal((await call(page, 'open', { ...options, database: 'nothing' })).code, 'NOT_FOUND');
  assert.equal((await call(page, 'open', { ...options, offline: true })).txid, await server.txid());
  await call(page, 'delete');
  assert.equal((await call(page, 'open', { ...options, offline: true })).code, 'NO_COPY');
  await page.close();
});

test('a Worker can import it', async () => {
  const miniflare = new Miniflare({
    modules: [
      { type: 'ESModule', path: 'main.js', contents: "import { openCopy } from './restore.js'; export default { fetch: async () => new Response(await openCopy({ url: 'https://x.example', database: 'a' }).catch(({ code }) => code)) };" },
      { type: 'ESModule', path: 'restore.js', contents: readFileSync(inRoot('pkg', 'restore.js'), 'utf8') },
    ],
    compatibilityDate: '2026-04-20',
    cf: false,
    telemetry: { enabled: false },
  });
  try {
    assert.equal(await (await miniflare.dispatchFetch('http://localhost/')).text(), 'STORAGE');
  } finally {
    await miniflare.dispose();
  }
});
