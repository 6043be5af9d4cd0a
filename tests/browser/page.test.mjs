// The page, with all the rest behind it: an application, walferry, the Worker on workerd, Chromium.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { inRoot } from '../../scripts/lib/root.mjs';
import { ask as askWorker } from '../../www/parts/worker.js';
import { browser, tab } from './support/chromium.mjs';
import { ask } from './support/console.mjs';
import { between, line, site } from './support/origin.mjs';
import { READ, source, worker } from './support/source.mjs';

const to = await worker();
const server = await source(to, 'shop');
after(() => server.stop());
await server.run(
  'create table item (id integer primary key, name text not null, price real, added text default current_timestamp)',
  "insert into item (name, price) select 'thing ' || value, value * 1.25 from json_each('[1,2,3,4,5]')",
  'create view dear as select name, price from item where price > 3',
);
await server.ship();
const chromium = await browser({ viewport: { width: 1280, height: 800 } });

const address = ({ origin = to.url, db = 'shop', token = READ, url } = {}) => `${origin}/#db=${db}&token=${encodeURIComponent(token)}${url ? `&url=${encodeURIComponent(url)}` : ''}`;
const rows = (page) => page.locator('#result .rows .row');
const notice = async (page) => {
  await page.locator('#notice').waitFor();
  return page.locator('#notice-text').textContent();
};

test('restores, answers, and shows what is written later, on the same connection', async () => {
  const page = await tab(chromium, address());
  await page.locator('#workbench').waitFor();
  assert.equal(new URL(page.url()).hash, '', 'the token is gone from the address bar');
  assert.deepEqual(await page.locator('.table-of-schema .name').allTextContents(), ['item', 'dear']);

  await ask(page, 'select id, name, price from item order by id desc');
  await page.locator('#cell-0-0', { hasText: /^5$/ }).waitFor();
  assert.deepEqual(await rows(page).first().locator('[role=gridcell]').allTextContents(), ['5', 'thing 5', '6.25']);

  await page.locator('#position .switch').click();
  await server.run("insert into item (name, price) values ('written later', 100)");
  await server.settle();
  await page.locator('#refresh').click();
  await rows(page).nth(5).waitFor();
  assert.deepEqual(await rows(page).first().locator('[role=gridcell]').allTextContents(), ['6', 'written later', '100']);

  await page.locator('#position .switch').click();
  await server.run("insert into item (name, price) values ('while following', 200)");
  await page.locator('[role=gridcell]', { hasText: 'while following' }).waitFor();
  assert.equal(await page.locator('#position-txid').getAttribute('title'), await server.txid());

  await ask(page, 'delete from item');
  await page.locator('#outcome.failed').waitFor();
  assert.match(await page.locator('#outcome').textContent(), /readonly database/);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('is there again after a reload, and without the server; live again when the server is', async () => {
  const way = await line(to.url);
  const page = await tab(chromium, address({ url: way.url }));
  await page.locator('#workbench').waitFor();
  await page.reload();
  await page.locator('#workbench').waitFor();
  await page.locator('#position-sum', { hasNotText: 'when all is here' }).waitFor({ state: 'attached' });
  // From now on the Worker's data cannot be reached; the page itself can.
  way.cut();
  await page.reload();
  await page.locator('#workbench').waitFor();
  assert.match(await notice(page), /cannot be reached.*copy that was brought here before/);
  await ask(page, 'select count(*) from dear');
  await rows(page).first().waitFor();
  await page.locator('#lamp.failed').waitFor();
  way.mend();
  await page.locator('#lamp.current').waitFor();
  await page.locator('#notice').waitFor({ state: 'hidden' });
  await page.close();
});

test('from another origin', async () => {
  const elsewhere = await site('localhost');
  assert.notEqual(new URL(elsewhere).origin, new URL(to.url).origin);
  const page = await tab(chromium, address({ origin: elsewhere, url: to.url }));
  await page.locator('#workbench').waitFor();
  await ask(page, 'select name from item where id = 1');
  await rows(page).first().waitFor();
  assert.deepEqual(await rows(page).locator('[role=gridcell]').allTextContents(), ['thing 1']);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('by the form and the keyboard alone, on a phone', async () => {
  const page = await tab(chromium, to.url);
  await page.setViewportSize({ width: 390, height: 844 });
  assert.equal(await page.locator('#url').inputValue(), to.url, 'its own origin is the first guess');
  await page.locator('#database').focus();
  await page.keyboard.type('shop');
  await page.keyboard.press('Tab');
  await page.keyboard.type(READ);
  await page.keyboard.press('Enter');
  await page.locator('#workbench').waitFor();
  await rows(page).first().waitFor();
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(overflow, 0, 'nothing sticks out to the side');
  for (const width of [390, 360]) {
    await page.setViewportSize({ width, height: 844 });
    const [mark, disconnect] = await Promise.all(['.wordmark', '#disconnect'].map((part) => page.locator(part).boundingBox()));
    assert.ok(disconnect.y >= mark.y + mark.height || disconnect.x >= mark.x + mark.width, `the masthead's parts lie beside each other, ${width} wide`);
  }
  await page.close();
});

test('mistakes are told as sentences', async () => {
  for (const [what, given, expected, focused] of [
    ['a wrong token', { token: 'wrong' }, /token/i, 'token'],
    ['an unknown database', { db: 'nothing' }, /nothing/, 'database'],
    ['an unreachable Worker', { db: 'other', url: 'http://127.0.0.1:9' }, /127\.0\.0\.1:9 cannot be reached/, 'url'],
    ['a name that is none', { db: 'No Name' }, /not a name of a database/, 'database'],
  ]) {
    const page = await tab(chromium, address(given));
    const told = await notice(page);
    assert.match(told, expected, what);
    assert.match(told, /^[A-Z].*[.?]$/s, what);
    assert.equal(await page.evaluate(() => document.activeElement.id), focused, what);
    await page.close();
  }
});

test('two tabs: both answer, and the second goes on when the first has left', async () => {
  const first = await tab(chromium, address());
  await first.locator('#workbench').waitFor();
  const second = await tab(chromium, address());
  await second.locator('#workbench').waitFor();
  await first.locator('#disconnect').click();
  await first.locator('#connect').waitFor();
  await ask(second, 'select name from item where id = 1');
  await second.locator('#result [role=gridcell]', { hasText: 'thing 1' }).first().waitFor();
  await first.close();
  await second.close();
});

test('the copy is deleted on request: without the Worker there is nothing then', async () => {
  const page = await tab(chromium, address());
  await page.locator('#workbench').waitFor();
  await page.locator('#delete-copy').click();
  await page.locator('#connect').waitFor();
  const code = await page.evaluate(async (options) => {
    const { open } = await import('/walferry/walferry.js');
    return open(options).then(() => 'none', ({ code }) => code);
  }, { url: to.url, database: 'shop', offline: true });
  assert.equal(code, 'NO_COPY');
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('a path in the address of the Worker is part of it', async () => {
  const asked = [];
  const url = await between(to.url, (path, body) => (asked.push(path), body));
  for (const end of ['', '/']) await askWorker({ url: `${url}/behind/this${end}`, token: '' }, 'shop').catch(() => {});
  assert.deepEqual(asked, ['/behind/this/v1/shop', '/behind/this/v1/shop']);
});

test('its picture', async () => {
  const demo = await source(to, 'demo');
  await demo.run(
    'create table crossing (id integer primary key, vessel text, origin text, destination text, departs text, status text, passengers integer)',
    `with recursive n (i) as (select 1 union all select i + 1 from n where i < 4000)
     insert into crossing (vessel, origin, destination, departs, status, passengers)
     select json_extract('["Amalthea","Brigitte","Corvina","Dorothea Ann","Eider","Fulmar"]', '$[' || (i * 5 % 6) || ']'),
            json_extract('["Svendborg","Tromsø","Kraków Quay","Oban","Şile"]', '$[' || (i * 7 % 5) || ']'),
            json_extract('["Ærø","Hurtigneset","Wyspa","Craignure","İnebolu"]', '$[' || (i * 7 % 5) || ']'),
            datetime(1767225600 + i * 780, 'unixepoch'),
            json_extract('["arrived","arrived","arrived","cancelled"]', '$[' || ((i * 11 % 43 = 0) * 3) || ']'), 12 + i * 37 % 180
     from n`,
    'create table ticket (id integer primary key, crossing_id integer references crossing, passenger text, price_cents integer)',
    'insert into ticket (crossing_id, passenger, price_cents) select id, \'p\' || id, 450 + id % 7 * 120 from crossing',
    'create view busiest as select vessel, count(*) as crossings, sum(passengers) as passengers from crossing group by vessel order by 3 desc',
  );
  await demo.ship();
  const page = await tab(chromium, address({ db: 'demo' }));
  await page.setViewportSize({ width: 1280, height: 760 });
  await page.locator('#workbench').waitFor();
  await ask(page, "select vessel, origin || ' – ' || destination as route, count(*) as crossings,\n       sum(passengers) as passengers, max(departs) as last\nfrom crossing where status = 'arrived'\ngroup by 1, 2 order by passengers desc");
  await rows(page).nth(10).waitFor();
  await page.locator('.table-of-schema summary').first().click();
  for (const vessel of ['Eider', 'Fulmar', 'Corvina']) {
    const before = await page.locator('#position-txid').textContent();
    await demo.run(`insert into crossing (vessel, origin, destination, departs, status, passengers) values ('${vessel}', 'Tromsø', 'Hurtigneset', '2026-02-07 08:00:00', 'arrived', 77)`);
    await page.waitForFunction((before) => document.getElementById('position-txid').textContent !== before, before);
  }
  await page.locator('#lamp.current').waitFor();
  // The documentation's copies only when asked: fonts differ between machines.
  const folder = process.env.WALFERRY_PICTURE ? ['docs', 'images'] : ['build'];
  for (const [name, colorScheme, width, height] of [['page', 'light', 1280, 860], ['page-dark', 'dark', 1280, 860], ['page-phone', 'dark', 390, 844]]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height });
    const picture = await page.screenshot({ path: inRoot(...folder, `${name}.png`) });
    assert.ok(picture.length > 20_000, 'there is something in it');
  }
  await page.close();
  await demo.stop();
});
