// The package as npm publishes it, and projects that install it from there.
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { leash } from '../../../scripts/lib/leash.mjs';
import { inRoot, root } from '../../../scripts/lib/root.mjs';

const dir = mkdtempSync(join(tmpdir(), 'walferry-package-'));
after(() => rmSync(dir, { recursive: true, force: true }));

/** `npm pack`: the path of the archive, and the paths in it. */
export async function pack() {
  const [{ filename, files }] = JSON.parse(await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', dir], root));
  return { archive: join(dir, filename), files: files.map(({ path }) => path).sort() };
}

/** A copy of the project `from`, with what it depends on, and the package of the archive. */
export async function project(from, archive) {
  const name = from.replaceAll('/', '-');
  const to = join(dir, name);
  cpSync(inRoot(from), to, { recursive: true, filter: (path) => !/node_modules|dist$/.test(path) });
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--no-save', archive], to);
  return { dir: to, run: (...args) => run('npm', ['run', '--silent', ...args], to) };
}

/** Vite's development server in a project: its address. It ends with the tests. */
export function viteServer(dir) {
  const vite = leash(spawn(process.execPath, [join(dir, 'node_modules', 'vite', 'bin', 'vite.js'), '--host', '127.0.0.1', '--port', '0'], { cwd: dir, stdio: ['ignore', 'pipe', 'inherit'] }));
  after(() => vite.kill());
  let said = '';
  return new Promise((resolve, reject) => {
    vite.stdout.on('data', (text) => {
      said += stripVTControlCharacters(String(text));
      const found = /http:\/\/127[.]0[.]0[.]1:\d+/.exec(said);
      if (found) resolve(`${found[0]}/`);
    });
    vite.once('close', () => reject(new Error(`Vite has ended: ${said}`)));
  });
}

/** An empty folder beside those projects. */
export function folder(name) {
  const path = join(dir, name);
  mkdirSync(path, { recursive: true });
  return path;
}

/** The output of a command; if it fails, all of it is the error. */
export function run(command, args, cwd, env = process.env) {
  const child = leash(spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] }));
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr']) child[stream].on('data', (text) => (output[stream] += text));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve(output.stdout) : reject(new Error(`${command} ${args.join(' ')} ended with ${code}:\n${output.stdout}${output.stderr}`))));
  });
}
