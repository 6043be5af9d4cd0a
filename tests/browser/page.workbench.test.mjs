// What the page has beside questions and answers: history, schema, long answers, the pulse, moments, all databases; by
// keyboard, on a phone, for screen readers, under its security policy.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createHmac } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { TOKENS } from '../worker/support/worker.mjs';
import { browser, tab } from './support/chromium.mjs';
import { ask } from './support/console.mjs';
import { between, line, ranges } from './support/origin.mjs';
import { READ, source, worker } from './support/source.mjs';

const KEY = 'a-key-that-is-long-enough-for-a-test';
const to = await worker({ variables: { ...TOKENS, WALFERRY_TOKEN_KEY: KEY, WALFERRY_PUBLIC_DATABASES: 'shop' } });
const server = await source(to, 'shop');
after(() => server.stop());
await server.run(
  'create table item (id integer primary key, name text not null, price real)',
  "insert into item (name, price) values ('first', 1)",
  'create view dear as select name from item where price > 3',
);
await server.ship();
const chromium = await browser({ viewport: { width: 1280, height: 800 }, acceptDownloads: true });
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const connected = async (base = to.url, db = 'shop') => {
  const page = await tab(chromium, `${base}/#db=${db}&token=${READ}&url=${encodeURIComponent(base)}`);
  await page.locator('#workbench').waitFor();
  await page.locator('#outcome', { hasText: / in / }).waitFor();
  return page;
};
const cell = (page, text) => page.locator('#result [role=gridcell]', { hasText: text }).first();
const editor = (page) => page.locator('#sql').innerText();

test('what was asked comes back by arrows and from the list, also after a reload', async () => {
  const page = await connected();
  await ask(page, "select 'the first'");
  await cell(page, /^the first$/).waitFor();
  await ask(page, "select 'the second'");
  await cell(page, /^the second$/).waitFor();
  await page.keyboard.press('ArrowUp');
  assert.equal(await editor(page), "select 'the first'");
  await page.keyboard.press('ArrowDown');
  assert.equal(await editor(page), "select 'the second'");
  await page.reload();
  await cell(page, /^the second$/).waitFor();
  await page.locator('#history').selectOption({ label: "select 'the first'" });
  assert.equal(await editor(page), "select 'the first'");
  await page.locator('#run').click();
  await cell(page, /^the first$/).waitFor();
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('the schema shows tables, views and columns as they become, and the editor completes them', async () => {
  const page = await connected();
  await page.getByRole('button', { name: 'Rows of item' }).click();
  await cell(page, /^first$/).waitFor();
  await server.run('create table pier (id integer primary key, depth real)');
  await page.locator('.table-of-schema .name', { hasText: 'pier' }).waitFor();
  await page.locator('.table-of-schema summary', { hasText: 'pier' }).click();
  assert.deepEqual(await page.locator('.table-of-schema', { hasText: 'pier' }).locator('li span:first-child').allTextContents(), ['id', 'depth']);
  await page.locator('#sql').focus();
  await page.keyboard.press('Control+A');
  await page.keyboard.type('select * from pi');
  await page.locator('.cm-tooltip-autocomplete li', { hasText: 'pier' }).waitFor();
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('a million rows: scrolled to the last, by the scroll bar and by the keyboard, with few of them in the document', async () => {
  const page = await connected();
  page.setDefaultTimeout(120_000);
  await ask(page, "with recursive n (i) as (select 1 union all select i + 1 from n where i < 1000000) select i, 'row ' || i as name from n");
  await page.locator('#outcome', { hasText: /^1,000,000 rows in / }).waitFor();
  const grid = page.locator('#result');
  assert.equal(await grid.getAttribute('aria-rowcount'), '1000001');
  await grid.evaluate((grid) => grid.scrollTo(0, grid.scrollHeight));
  await cell(page, /^row 1000000$/).waitFor();
  const isSeen = await cell(page, /^row 1000000$/).evaluate((cell) => {
    const { bottom, top } = cell.getBoundingClientRect();
    const frame = document.getElementById('result').getBoundingClientRect();
    return top >= frame.top && bottom <= frame.bottom + 1;
  });
  assert.ok(isSeen, 'the last row is seen whole');
  assert.ok((await page.locator('#result .rows .row').count()) < 120);
  await grid.evaluate((grid) => grid.scrollTo(0, grid.scrollHeight / 2));
  await cell(page, /^row 50\d{4}$/).or(cell(page, /^row 49\d{4}$/)).first().waitFor();
  await grid.focus();
  await page.keyboard.press('Control+Home');
  await cell(page, /^row 1$/).waitFor();
  await page.keyboard.press('Control+End');
  await page.keyboard.press('ArrowUp');
  const current = await page.evaluate(() => document.getElementById(document.getElementById('result').getAttribute('aria-activedescendant')).textContent);
  assert.equal(current, 'row 999999');
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('the pulse moves when rows are written, and the answer with it', async () => {
  const page = await connected();
  await page.locator('#lamp.current').waitFor();
  await ask(page, 'select count(*) as items from item');
  await cell(page, /^\d+$/).waitFor();
  assert.equal(await page.locator('#pulse-tx').textContent(), '0');
  const ink = () => page.locator('#pulse-chart canvas').evaluate((canvas) => canvas.toDataURL());
  const before = await ink();
  await server.run("insert into item (name, price) values ('one more', 2)");
  await page.waitForFunction(() => Number(document.getElementById('pulse-tx').textContent) > 0);
  await page.waitForFunction(() => /\d/.test(document.getElementById('pulse-lag').textContent));
  assert.notEqual(await ink(), before);
  assert.match(await page.locator('#pulse-chart').getAttribute('aria-label'), /[1-9]\d* transactions in the last minute, lag at most/);
  await page.close();
});

test('an answer is live as long as it is wanted so', async () => {
  const page = await connected();
  await ask(page, "select 'live: ' || count(*) from item");
  const count = async () => Number((await server.run('select count(*) from item'))[0][0]);
  await cell(page, new RegExp(`^live: ${await count()}$`)).waitFor();
  await server.run("insert into item (name, price) values ('of live', 1)");
  await cell(page, new RegExp(`^live: ${await count()}$`)).waitFor();
  await page.locator('#live').uncheck();
  await page.locator('#outcome', { hasText: / in / }).waitFor();
  const before = await count();
  await server.run("insert into item (name, price) values ('of later', 1)");
  await page.locator('#outcome[data-old]').waitFor();
  await cell(page, new RegExp(`^live: ${before}$`)).waitFor();
  await page.locator('#live').check();
  await cell(page, new RegExp(`^live: ${before + 1}$`)).waitFor();
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('a question without an end is stopped, and the next is answered', async (t) => {
  const page = await connected();
  // What went wrong here must not keep the others waiting.
  t.after(() => page.close());
  const endless = 'with recursive n (i) as (select 1 union all select i + 1 from n) select max(i) from n';
  for (const live of [true, false]) {
    await page.locator('#live').setChecked(live);
    await ask(page, endless);
    await page.locator('#run', { hasText: 'Stop' }).click();
    await page.locator('#outcome', { hasText: /^stopped$/ }).waitFor();
    await ask(page, `select 'and on, ${live}'`);
    await cell(page, new RegExp(`^and on, ${live}$`)).waitFor();
  }
  assert.deepEqual(page.complaints, []);
});

test('a moment of the past is chosen on the slider, answers questions, and comes as a file', async () => {
  await server.run("insert into item (name, price) values ('of a later moment', 3)");
  const dir = mkdtempSync(join(tmpdir(), 'walferry-moment-'));
  const page = await connected();
  const slider = page.locator('#moment:enabled');
  await slider.waitFor();
  assert.ok(await page.locator('#moment-save').isDisabled(), 'now is not a moment of the past');
  await ask(page, 'select name from item order by id');
  await cell(page, /^of a later moment$/).waitFor();
  await slider.focus();
  await page.keyboard.press('Home');
  assert.match(await slider.getAttribute('aria-valuetext'), /\d\d:\d\d:\d\d/);
  await page.locator('#outcome', { hasText: /as of .*\d\d:\d\d:\d\d, verified/ }).waitFor();
  await cell(page, /^first$/).waitFor();
  assert.equal(await cell(page, /^of a later moment$/).count(), 0);
  // Another question goes there, too.
  await ask(page, "select 'rows: ' || count(*) from item where name = 'of a later moment'");
  await cell(page, /^rows: 0$/).waitFor();
  assert.ok(await page.locator('#live').isDisabled());
  const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#moment-save').click()]);
  const path = join(dir, 'then.db');
  await download.saveAs(path);
  const then = execFileSync('python3', ['-c', 'import sqlite3, sys; print([name for (name,) in sqlite3.connect(sys.argv[1]).execute("select name from item order by id")])', path], { encoding: 'utf8' });
  assert.match(then, /'first'/);
  assert.doesNotMatch(then, /of a later moment/);
  await page.locator('#moment-live').click();
  assert.equal(await page.locator('#moment-time').textContent(), 'Now');
  await cell(page, /^rows: 1$/).waitFor();
  assert.deepEqual(page.complaints, []);
  await page.close();
  rmSync(dir, { recursive: true });
});

test('a database answers before it is here, and shows how much of it has come', async () => {
  const large = await source(to, 'large');
  await large.run('create table noise (body blob)', 'with recursive n (i) as (select 1 union all select i + 1 from n where i < 16000) insert into noise select randomblob(1000) from n');
  await large.ship();
  const way = await ranges(to.url);
  way.hold(2);
  const page = await tab(chromium, `${to.url}/#db=large&token=${READ}&url=${encodeURIComponent(way.url)}`);
  await page.waitForFunction(() => /MB of .*MB/.test(document.getElementById('rest-figures').textContent));
  const [done, all] = (await page.locator('#rest-figures').textContent()).match(/[\d.]+ MB/g).map(parseFloat);
  assert.ok(done > 0 && done < all && all > 10, `${done} of ${all} MB`);
  const part = Number(await page.locator('#rest-bar').getAttribute('aria-valuenow'));
  assert.ok(part >= 0 && part < 100, `${part} %`);
  await ask(page, 'select length(body) + rowid from noise where rowid = 17');
  await cell(page, '1017').waitFor();
  assert.equal(await page.locator('#position-sum').textContent(), 'when all is here');
  way.release();
  await page.locator('#rest').waitFor({ state: 'hidden' });
  assert.match(await page.locator('#rest-figures').textContent(), /^[\d.]+ MB of [\d.]+ MB · [\d.]+ [kM]?B\/s · \d+ s left$/);
  assert.match(await page.locator('#position-sum').textContent(), /^[0-9a-f]{16}$/);
  assert.deepEqual(page.complaints, []);
  await page.close();
  await large.stop();
});

test('a part of a database without the server: what is missing is said, and comes by itself when the server is back', async (t) => {
  const large = await source(to, 'part');
  t.after(() => large.stop());
  const tables = Array.from({ length: 150 }, (_, n) => `create table later_${n} (id integer primary key, some_column_with_a_long_name text)`);
  await large.run(
    'create table noise (body blob)',
    'with recursive n (i) as (select 1 union all select i + 1 from n where i < 16000) insert into noise select randomblob(1000) from n',
    ...tables,
  );
  await large.ship();
  const held = await ranges(to.url);
  held.hold();
  t.after(() => held.release());
  let behind = held.url;
  const way = await line(() => behind);
  const page = await tab(chromium, to.url);
  // Closed before it has asked anything: not even the schema has come.
  const { whole } = await page.evaluate(async (options) => {
    const { open } = await import('/walferry/walferry.js');
    const db = await open(options);
    const { position } = db;
    await db.close();
    return position;
  }, { url: way.url, database: 'part', token: READ });
  assert.equal(whole, false);
  way.cut();
  await page.goto(`${to.url}/#db=part&token=${READ}&url=${encodeURIComponent(way.url)}`);
  await page.reload();
  await page.locator('#workbench').waitFor();
  assert.match(await page.locator('#notice-text').textContent(), /cannot be reached.*Only a part of the database/);
  await page.locator('#schema-list', { hasText: 'not in this browser yet' }).waitFor();
  await ask(page, 'select count(*) + 1 from noise');
  await page.locator('#outcome.failed', { hasText: /Not all of the database is here yet/ }).waitFor();
  behind = to.url; // which changes can be followed at, too
  way.mend();
  await cell(page, /^16001$/).waitFor();
  await page.locator('.table-of-schema .name', { hasText: 'later_149' }).waitFor();
  await page.locator('#notice').waitFor({ state: 'hidden' });
  await page.locator('#rest').waitFor({ state: 'hidden' });
  await page.close();
});

test('looking for a database can be stopped', async () => {
  const way = await between(to.url, (path, body) => (path.includes('/map') ? new Promise(() => {}) : body));
  const page = await tab(chromium, `${to.url}/#db=shop&token=${READ}&url=${encodeURIComponent(way)}`);
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.locator('#connect').waitFor();
  await page.close();
});

test('all databases of a Worker, with lag and size, for an admin; from there into one and back, by keyboard', async () => {
  const page = await tab(chromium, `${to.url}/#token=${token({ scope: 'admin' })}`);
  await page.locator('#fleet').waitFor();
  const row = page.locator('#fleet-rows tr', { hasText: 'shop' });
  await row.waitFor();
  const cells = await row.locator('td').allTextContents();
  assert.match(cells[0], /^\d+(\.\d)? (ms|s)$/, 'lag');
  assert.match(cells[2], /^\d+(\.\d)? kB$/, 'size');
  await violations(page, 'the list');
  await page.getByRole('button', { name: 'shop' }).focus();
  await page.keyboard.press('Enter');
  await page.locator('#workbench').waitFor();
  await page.locator('#all-databases').click();
  await page.locator('#fleet').waitFor();
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('what everybody may read needs no token', async () => {
  const page = await tab(chromium, to.url);
  await page.locator('#database').fill('shop');
  await page.keyboard.press('Enter');
  await page.locator('#workbench').waitFor();
  await page.locator('#lamp.current').waitFor();
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('axe finds nothing, light and dark, wide and narrow, before and after', async () => {
  const page = await tab(chromium, to.url);
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await violations(page, `the form, ${colorScheme}`);
  }
  await page.close();
  const work = await connected();
  for (const [colorScheme, width] of [['light', 1280], ['dark', 1280], ['light', 390], ['dark', 390]]) {
    await work.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await work.setViewportSize({ width, height: 844 });
    await violations(work, `the workbench, ${colorScheme}, ${width} wide`);
    assert.equal(await work.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0, `nothing sticks out at ${width}`);
  }
  await work.close();
});

/** Fails with what axe has against the page. It is evaluated by the test, not loaded by the page, whose policy forbids that. */
async function violations(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run({ resultTypes: ['violations'] }));
  assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, any }) => `${html.slice(0, 120)} ${any[0]?.message ?? ''}`).join(' | ')}`), [], where);
}

function token({ scope }) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ db: '*', scope, iat: now, exp: now + 600 })}`;
  return `${body}.${createHmac('sha256', KEY).update(body).digest('base64url')}`;
}
