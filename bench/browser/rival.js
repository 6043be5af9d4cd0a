// The rival, in a dedicated worker of the same page: the raw file by fetch into OPFS, and the official sqlite-wasm on it.
import sqlite3InitModule from '/sqlite/index.mjs';

let pool;
let db;
const methods = {
  /** Plain fetch → OPFS. */
  async fetch(url) {
    const root = await navigator.storage.getDirectory();
    const file = await (await root.getFileHandle('raw.db', { create: true })).createSyncAccessHandle();
    let at = 0;
    for await (const part of (await fetch(url, { cache: 'no-store' })).body) at += file.write(part, { at });
    file.flush();
    file.close();
    await root.removeEntry('raw.db');
    return at;
  },
  /** The file into the pool, and SQLite on it. */
  async open(url) {
    const sqlite3 = await sqlite3InitModule({ print() {}, printErr() {} });
    pool = await sqlite3.installOpfsSAHPoolVfs({ name: 'rival', initialCapacity: 4 });
    await pool.importDb('/app.db', new Uint8Array(await (await fetch(url)).arrayBuffer()));
    db = new pool.OpfsSAHPoolDb('/app.db');
    return sqlite3.version.libVersion;
  },
  query: ([sql, parameters]) => db.selectArrays(sql, parameters),
};

onmessage = async ({ data: [id, method, argument] }) => {
  try {
    postMessage({ id, result: await methods[method](argument) });
  } catch (error) {
    postMessage({ id, error: String(error) });
  }
};
