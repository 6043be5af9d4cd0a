// The package as it is published: what is in it, how much it weighs, and that it works where it is installed.
import assert from 'node:assert/strict';
import { cpSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { brotliCompressSync } from 'node:zlib';
import { Miniflare } from 'miniflare';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { inRoot } from '../../scripts/lib/root.mjs';
import { browser, tab } from './support/chromium.mjs';
import { files } from './support/origin.mjs';
import { folder, pack, project, run, viteServer } from './support/packed.mjs';
import { READ, source, worker } from './support/source.mjs';

const { archive, files: packed } = await pack();
const manifest = JSON.parse(readFileSync(inRoot('package.json'), 'utf8'));
const to = await worker();
const server = await source(to, 'shop');
after(() => server.stop());
await server.run('create table item (id integer primary key, name text)', "insert into item (name) values ('first'), ('second')");
await server.ship();
const chromium = await browser();
const hash = `#${new URLSearchParams({ url: to.url, database: 'shop', token: READ, table: 'item' })}`;

test('holds the module and nothing else, and brings nothing along', () => {
  const beside = packed.filter((path) => !path.startsWith('pkg/'));
  assert.deepEqual(beside, ['LICENSE', 'README.md', 'package.json']);
  assert.deepEqual(packed.filter((path) => path.startsWith('pkg/')), readdirSync(inRoot('pkg')).map((name) => `pkg/${name}`).sort());
  for (const field of ['dependencies', 'peerDependencies', 'optionalDependencies', 'bundledDependencies']) assert.equal(manifest[field], undefined, field);
  for (const script of ['preinstall', 'install', 'postinstall', 'prepare']) assert.equal(manifest.scripts[script], undefined, script);
  for (const path of packed.filter((path) => path.endsWith('.js'))) {
    assert.doesNotMatch(readFileSync(inRoot(path), 'utf8'), /^await\b|^(?:export )?(?:const|let|var) [^=]+= await\b/m, `${path}: no top-level await`);
  }
});

test('publint has nothing to say', async () => {
  const { messages } = await publint({ pack: { tarball: readFileSync(archive).buffer }, level: 'suggestion', strict: true });
  assert.deepEqual(messages.map((message) => formatMessage(message, manifest)), []);
});

test('weighs what it may', () => {
  const weigh = (paths) => paths.reduce((sum, path) => sum + brotliCompressSync(readFileSync(inRoot(path))).length, 0);
  const kinds = {
    'JavaScript': [packed.filter((path) => path.endsWith('.js')), 30_000],
    'module with SQL': [['pkg/engine_bg.wasm'], 450_000],
    // The aim is 40 kB.
    'module without SQLite': [['pkg/restore-engine_bg.wasm'], 73_500],
  };
  for (const [kind, [paths, most]] of Object.entries(kinds)) {
    const weight = weigh(paths);
    console.log(`${kind}: ${(weight / 1000).toFixed(1)} kB brotli of ${most / 1000}`);
    assert.ok(weight <= most, `${kind} weighs ${weight} bytes`);
  }
});

test('its types are those that its users expect', async () => {
  const dir = folder('types');
  cpSync(inRoot('tests', 'browser', 'types'), dir, { recursive: true });
  await run('npm', ['install', '--no-audit', '--no-fund', '--no-save', archive], dir);
  await run(inRoot('node_modules', '.bin', 'tsc'), ['-p', dir], dir);
});

/** The page shows the rows, and then what is written while it is open. */
async function shows(address, selector, name) {
  const page = await tab(chromium, `${address}${hash}`);
  await page.locator(selector, { hasText: 'second' }).waitFor();
  await server.run(`insert into item (name) values ('${name}')`);
  await page.locator(selector, { hasText: name }).waitFor();
  assert.deepEqual(page.complaints, []);
  await page.close();
}

test('a plain page', async () => {
  const { dir } = await project('examples/html', archive);
  await shows(await files(dir), 'td', 'for the plain page');
});

for (const example of ['vite', 'react', 'webpack']) {
  test(`a fresh project with ${example}`, async () => {
    const { dir, run } = await project(`examples/${example}`, archive);
    await run('build');
    const built = readdirSync(join(dir, 'dist'), { recursive: true });
    assert.equal(built.filter((name) => name.endsWith('.wasm')).length, 1, `one wasm in ${built}`);
    await shows(await files(join(dir, 'dist')), 'li', `for ${example}`);
    if (example !== 'vite') return;
    await shows(await viteServer(dir), 'li', 'for the server of Vite');
    // Without the line of its configuration Vite copies the package away from its worker: that is said, with what helps.
    rmSync(join(dir, 'vite.config.js'));
    const page = await tab(chromium, `${await viteServer(dir)}${hash}`);
    await page.locator('#state', { hasText: 'optimizeDeps' }).waitFor();
    await page.close();
  });
}

test('from another origin than the page it starts no worker, and says what helps', async () => {
  const elsewhere = await files(inRoot('pkg'), { headers: { 'Access-Control-Allow-Origin': '*' } });
  const dir = folder('elsewhere');
  writeFileSync(join(dir, 'index.html'), '<!doctype html><link rel="icon" href="data:,">');
  const page = await tab(chromium, await files(dir));
  const refused = await page.evaluate(async ([elsewhere, url]) => {
    const { open } = await import(`${elsewhere}/walferry.js`);
    return open({ url, database: 'app' }).catch(({ name, code, message }) => ({ name, code, message }));
  }, [elsewhere, server.url]);
  assert.deepEqual([refused.name, refused.code], ['WalferryError', 'INVALID']);
  assert.match(refused.message, /serve the package from the origin of the page/);
  await page.close();
});

test('a Worker can import what it exports, from the archive', async () => {
  const dir = folder('unpacked');
  await run('tar', ['-xzf', archive, '-C', dir], dir);
  const { exports } = JSON.parse(readFileSync(join(dir, 'package', 'package.json'), 'utf8'));
  const scripts = ['.', './restore'].map((name) => join('package', exports[name].default ?? exports[name]));
  const [whole, restore] = scripts.map((path) => `./${path}`);
  const contents = `
    import { open } from '${whole}';
    import { openCopy } from '${restore}';
    const where = { url: 'https://x.example', database: 'a' };
    export default { fetch: async () => Response.json(await Promise.all([open, openCopy].map((open) => open(where).catch(({ code }) => code)))) };`;
  const miniflare = new Miniflare({
    modules: [
      { type: 'ESModule', path: 'main.js', contents },
      ...scripts.map((path) => ({ type: 'ESModule', path, contents: readFileSync(join(dir, path), 'utf8') })),
    ],
    compatibilityDate: '2026-04-20',
    cf: false,
    telemetry: { enabled: false },
  });
  try {
    assert.deepEqual(await (await miniflare.dispatchFetch('http://localhost/')).json(), ['STORAGE', 'STORAGE']);
  } finally {
    await miniflare.dispose();
  }
});

test('every path that it exports is there', () => {
  for (const target of Object.values(manifest.exports).flatMap((target) => (typeof target === 'string' ? [target] : Object.values(target)))) {
    assert.ok(existsSync(inRoot(target)), target);
    assert.ok(packed.includes(target.slice(2)), target);
  }
});
