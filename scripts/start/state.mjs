// What `npm start` keeps between runs, in .walferry/: the tokens, which name each database has, and the Worker's R2.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { inRoot } from '../lib/root.mjs';

const dir = inRoot('.walferry');
export const inState = (...parts) => inRoot('.walferry', ...parts);

/** Random ones, made once. */
export function tokens() {
  const make = () => randomBytes(24).toString('base64url');
  return kept('tokens.json', () => ({ write: make(), read: make() }));
}

/** The name of the database at `path`: made of its file name, and another one than any other file's. */
export function databaseName(path) {
  const names = kept('databases.json', () => ({}));
  const known = Object.entries(names).find(([, of]) => of === path);
  if (known) return known[0];
  const wanted = nameOf(path);
  let name = wanted;
  for (let next = 2; names[name] || name === 'demo'; next++) name = `${wanted.slice(0, 59)}-${next}`;
  keep('databases.json', { ...names, [name]: path });
  return name;
}

/** As the Worker takes it: [a-z0-9][a-z0-9_-]{0,62} */
export function nameOf(path) {
  const name = basename(path).replace(/(?<=.)\.[^.]+$/, '').toLowerCase().replace(/[^a-z0-9_-]+/g, '-').replace(/^[-_]+/, '').slice(0, 63);
  return name.replace(/-+$/, '') || 'database';
}

function kept(file, make) {
  if (existsSync(inState(file))) return JSON.parse(readFileSync(inState(file), 'utf8'));
  return keep(file, make());
}

function keep(file, value) {
  mkdirSync(dir, { recursive: true });
  writeFileSync(inState(`${file}.new`), JSON.stringify(value, null, 1), { mode: 0o600 });
  renameSync(inState(`${file}.new`), inState(file));
  return value;
}
