// The page, in build/site/ as the Worker serves it: one script and one style sheet of its own, and the package beside them.
import { cpSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inRoot } from '../lib/root.mjs';
import { replaceFolder } from './swap.mjs';

export async function makeSite() {
  // Installed by the setup, which the scripts that import this one begin with.
  const { build } = await import('esbuild');
  await replaceFolder(inRoot('build', 'site'), async (dir) => {
    const { metafile } = await build({
      entryPoints: { app: inRoot('www', 'app.js'), style: inRoot('www', 'style', 'main.css') },
      outdir: dir,
      bundle: true,
      minify: true,
      format: 'esm',
      target: 'es2022',
      // The package is not bundled: its worker and its wasm are found by their addresses relative to the module.
      external: ['./walferry/*'],
      loader: { '.svg': 'dataurl' },
      nodePaths: [inRoot('node_modules')],
      absWorkingDir: inRoot(),
      metafile: true,
      legalComments: 'none',
      logLevel: 'warning',
    });
    for (const name of ['index.html', 'favicon.svg', '_headers']) cpSync(inRoot('www', name), join(dir, name));
    writeFileSync(join(dir, 'licences.txt'), licences(metafile));
    cpSync(inRoot('pkg'), join(dir, 'walferry'), { recursive: true });
    // The page needs no types, and not the module without SQLite.
    for (const name of readdirSync(join(dir, 'walferry'))) if (/\.d\.ts$|^restore/.test(name)) rmSync(join(dir, 'walferry', name));
  });
}

/** The licence of each package of which something is in the page. */
function licences({ inputs }) {
  const packages = new Set(Object.keys(inputs).flatMap((path) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []));
  return [...packages].sort().map((name) => {
    const folder = inRoot('node_modules', name);
    const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const file = ['LICENSE', 'LICENSE.md', 'LICENSE.txt'].map((file) => join(folder, file)).find(existsSync);
    return `${name} ${version}, ${license}\n\n${file ? readFileSync(file, 'utf8').trim() : ''}\n`;
  }).join(`\n${'-'.repeat(72)}\n\n`);
}
