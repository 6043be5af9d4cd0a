// How soon the first query of a database that is not here yet is answered, and by how many of its bytes; beside waiting for all of it:
//
//   npm run build && node --test bench/browser/once.mjs
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { ranges } from '../../tests/browser/support/origin.mjs';
import { READ, source, worker } from '../../tests/browser/support/source.mjs';
import { prepare } from '../../tests/browser/support/tabs.mjs';
import { unwatched } from './unwatched.mjs';

const ROWS = Number(process.env.ROWS ?? 970_000); // 100 MiB
const ROUNDS = Number(process.env.ROUNDS ?? 15);

const to = await worker();
const serve = async (name, rows) => {
  const server = await source(to, name);
  after(() => server.stop());
  await server.run(
    'create table t (id integer primary key, a text)',
    `with recursive n (i) as (select 1 union all select i + 1 from n where i < ${rows}) insert into t select i, hex(randomblob(48)) from n`,
  );
  await server.ship();
};
await serve('small', 1);
await serve('large', ROWS);
const line = await ranges(to.url);
const page = await prepare(await unwatched(to.url));
after(() => page.close());
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Opens the large one, asks for a row, and forgets it again. */
const asked = (url, id, atOnce = true) => page.evaluate(async ({ url, token, id, atOnce }) => {
  const before = performance.now();
  const db = await walferry.open({ url, database: 'large', token, atOnce });
  const opened = performance.now() - before;
  const { rows } = await db.query('select id, length(a) from t where id = ?', [id]);
  const answered = performance.now() - before;
  const { size } = db.position;
  await db.delete();
  return { opened, answered, rows, size };
}, { url, token: READ, id, atOnce });

test('the first query of a large database', async () => {
  // Something of ours is open in the page: the module is loaded.
  await page.evaluate(async (options) => (window.other = await walferry.open(options)), { url: to.url, database: 'small', token: READ });
  const [soon, late] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    const id = Math.trunc((ROWS / ROUNDS) * (round + 0.5));
    soon.push(await asked(to.url, id));
    assert.deepEqual(soon.at(-1).rows, [[id, 96]]);
    if (round % 5 === 0) late.push(await asked(to.url, id, false));
  }
  const of = (all, what) => all.map((one) => one[what]);
  const { size } = soon[0];
  console.log(`${(size / 2 ** 20).toFixed(1)} MiB, of ${ROUNDS}: open() median ${median(of(soon, 'opened')).toFixed(0)} ms; the first row after ${median(of(soon, 'answered')).toFixed(0)} ms median, ${Math.min(...of(soon, 'answered')).toFixed(0)} to ${Math.max(...of(soon, 'answered')).toFixed(0)}; with all of it ${median(of(late, 'answered')).toFixed(0)} ms`);
  line.hold();
  await asked(line.url, ROWS / 2);
  const bytes = line.fetched.reduce((sum, { first, last }) => sum + last - first + 1, 0);
  console.log(`${line.fetched.length} reads, ${(bytes / 1000).toFixed(0)} kB, ${((bytes / size) * 100).toFixed(2)} % of it`);
  assert.ok(bytes < size / 100);
});
