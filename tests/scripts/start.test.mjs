// `npm start`: rows of the demonstration, or of a user's own database, are shipped and come back; all ends together.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inRoot, walferry } from '../../scripts/lib/root.mjs';
import { nameOf } from '../../scripts/start/state.mjs';
import { temporaryFolder } from './support.mjs';

function start(folder, ...args) {
  const all = [inRoot('scripts', 'start.mjs'), '--port', '0', '--state', join(folder, 'state'), ...args];
  const child = spawn('node', all, { cwd: inRoot(), env: { ...process.env, INIT_CWD: folder, WALFERRY_NO_BUILD: '1' }, stdio: ['ignore', 'pipe', 'pipe'] });
  after(() => child.kill('SIGKILL'));
  child.said = '';
  child.stderr.on('data', (bytes) => (child.said += bytes));
  child.exited = once(child, 'exit');
  return child;
}

/** The page's address, when it is printed. */
async function page(child) {
  let printed = '';
  for await (const bytes of child.stdout) {
    printed += bytes;
    const found = printed.match(/(http:\S+)\/#db=(\S+)&token=(\S+)/);
    if (found) return { url: found[1], name: found[2], token: found[3] };
  }
  throw new Error(`no address was printed: ${printed}${child.said}`);
}

const sql = (database, statement) => execFileSync('python3', ['-c', 'import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); print(d.execute(sys.argv[2]).fetchall()); d.commit()', database, statement], { encoding: 'utf8' }).trim();

function restore({ url, name, token }, out) {
  execFileSync(walferry, ['restore', '-o', out, `${url}/v1/${name}`], { env: { ...process.env, WALFERRY_TOKEN: token }, stdio: 'pipe' });
}

async function until(what, holds) {
  for (let tries = 0; tries < 150; tries++) {
    if (await holds()) return;
    await sleep(100);
  }
  assert.fail(`waited 15 s for ${what}`);
}

const answers = (url) => fetch(url, { signal: AbortSignal.timeout(2000) }).then(() => true, () => false);

/** No process names the folder any more. */
const nobodyIn = (folder) => !execFileSync('sh', ['-c', 'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " "; true'], { encoding: 'utf8', maxBuffer: 1 << 26 }).includes(folder);

test('ships the rows of an application every second, and ends all on SIGTERM', async (t) => {
  const folder = temporaryFolder(t, 'start');
  const child = start(folder);
  const at = await page(child);
  assert.equal(at.name, 'demo');
  const head = async () => (await fetch(`${at.url}/v1/demo`, { headers: { Authorization: `Bearer ${at.token}` } })).json();
  const { segments } = await head();
  await until('three more segments', async () => (await head()).segments >= segments + 3);
  restore(at, join(folder, 'copy.db'));
  assert.notEqual(sql(join(folder, 'copy.db'), 'select count(*) from ticket'), '[(0,)]');
  assert.equal(sql(join(folder, 'copy.db'), 'pragma integrity_check'), "[('ok',)]");
  const site = await fetch(at.url);
  const policy = site.headers.get('content-security-policy');
  assert.match(policy, /script-src 'self' 'wasm-unsafe-eval';/);
  assert.doesNotMatch(policy, /'unsafe-(inline|eval)'/);
  assert.match(await site.text(), /<html/i);
  child.kill('SIGTERM');
  assert.deepEqual(await child.exited, [0, null]);
  assert.equal(await answers(at.url), false);
  assert.ok(nobodyIn(folder));
});

test('goes on with what it had, and leaves nothing when killed with -9', async (t) => {
  const folder = temporaryFolder(t, 'start');
  const first = start(folder);
  const before = await page(first);
  first.kill('SIGKILL');
  await first.exited;
  await until('the end of all it started', () => nobodyIn(folder));
  const second = start(folder);
  const again = await page(second);
  assert.equal(again.token, before.token);
  restore(again, join(folder, 'copy.db'));
  second.kill('SIGINT');
  assert.deepEqual(await second.exited, [0, null]);
});

test("ships the user's own database, named from where they are", async (t) => {
  const folder = temporaryFolder(t, 'start');
  const own = join(folder, 'My Shop.db');
  sql(own, 'pragma journal_mode = wal');
  sql(own, 'create table item (name text)');
  const child = start(folder, 'My Shop.db');
  const at = await page(child);
  assert.equal(at.name, 'my-shop');
  sql(own, "insert into item values ('a lamp')");
  await until('the row', () => {
    const copy = join(folder, `copy-${Math.random()}.db`);
    restore(at, copy);
    return sql(copy, 'select * from item') === "[('a lamp',)]";
  });
  child.kill('SIGTERM');
  assert.deepEqual(await child.exited, [0, null]);
  assert.equal(sql(own, 'select name from sqlite_schema'), "[('item',)]");
});

test('says in a sentence what cannot be shipped', async (t) => {
  const folder = temporaryFolder(t, 'start');
  writeFileSync(join(folder, 'text.db'), 'this is not SQLite, not at all, however long it is made to be.'.repeat(20));
  sql(join(folder, 'rollback.db'), 'create table t (x)');
  const cases = [
    [['missing.db'], /there is no file .*missing\.db/],
    [['text.db'], /is not an SQLite database/],
    [['rollback.db'], /not in WAL mode.*--set-wal/],
    [['a.db', 'b.db'], /one database at a time/],
    [['--port', '-1'], /Usage|not a port/],
  ];
  for (const [args, sentence] of cases) {
    const child = start(folder, ...args);
    const [code] = await child.exited;
    assert.equal(code, 1);
    assert.match(child.said, sentence);
    assert.doesNotMatch(child.said, /\n\s+at /, 'no stack');
  }
  assert.ok(existsSync(join(folder, 'text.db')));
  assert.equal(readFileSync(join(folder, 'text.db'), 'utf8').length, 20 * 62);
  assert.ok(nobodyIn(folder));
});

test('makes of any file name a name that the Worker takes', () => {
  for (const file of ['app.db', '/x/ÄÖ My shop (2).sqlite3', '___.db', '.hidden', `${'a'.repeat(90)}.db`, 'x.y.z', '-', '日本.db']) {
    assert.match(nameOf(file), /^[a-z0-9][a-z0-9_-]{0,62}$/, file);
  }
});
