// What a tab takes of memory with a database that is restored, changed and scanned, by the size of the database.
//
//   npm run build && node --test bench/browser/memory.mjs          ROWS=150000,400000,900000 in the environment
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { READ, source, worker } from '../../tests/browser/support/source.mjs';
import { prepare } from '../../tests/browser/support/tabs.mjs';
import { unwatched } from './unwatched.mjs';

const MiB = 2 ** 20;
const to = await worker();

async function serve(name, rows) {
  const server = await source(to, name, { shipper: ['--codec', 'lz4', '--sync-interval', '20ms'] });
  await server.run(
    'create table t (id integer primary key, a text)',
    `with recursive n (i) as (select 1 union all select i + 1 from n where i < ${rows}) insert into t select i, hex(randomblob(250)) from n`,
  );
  await server.ship();
  return server;
}

/** What the process that has the tab keeps of memory, in MiB, when it has restored and read all of a database. */
async function kept(server, rows) {
  const tab = await unwatched(to.url);
  try {
    await prepare(tab);
    await tab.evaluate(async (options) => (window.db = await walferry.open(options), null), { url: to.url, database: server.name, token: READ, atOnce: false, follow: true });
    for (let change = 0; change < 5; change++) {
      await server.run(`update t set a = hex(randomblob(250)) where id % 100 = ${change}`);
      await tab.evaluate(() => db.refresh().then(() => null));
    }
    assert.equal(await tab.evaluate(() => walferry.one('select count(*) from t where length(a) = 500')), rows);
    // What is only waiting to be collected is no matter.
    await tab.page.send('Memory.simulatePressureNotification', { level: 'critical' });
    await new Promise((later) => setTimeout(later, 1000));
    return (await tab.kept()) / MiB;
  } finally {
    await tab.close();
  }
}

for (const rows of (process.env.ROWS ?? '15000,150000,400000').split(',').map(Number)) {
  test(`${rows} rows`, async (t) => {
    const server = await serve(`rows${rows}`, rows);
    t.after(() => server.stop());
    const size = ((await to.get(`/v1/${server.name}`, { token: READ })).body.commit * 4096) / MiB;
    console.log(`a database of ${size.toFixed(0)} MiB: the tab takes ${(await kept(server, rows)).toFixed(0)} MiB`);
  });
}
