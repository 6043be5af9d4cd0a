// What `npm start` keeps between runs, in a folder: the tokens, which name each database has, and the Worker's R2.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

export class State {
  #dir;

  constructor(dir) {
    this.#dir = dir;
    mkdirSync(dir, { recursive: true });
  }

  path(name) {
    return join(this.#dir, name);
  }

  /** Random ones, made once. */
  tokens() {
    const make = () => randomBytes(24).toString('base64url');
    return this.#read('tokens.json') ?? this.#write('tokens.json', { write: make(), read: make() });
  }

  /** The name of the database at `path`: made of its file name, and another one than any other file's. */
  databaseName(path) {
    const names = this.#read('databases.json') ?? {};
    const known = Object.entries(names).find(([, of]) => of === path);
    if (known) return known[0];
    const wanted = nameOf(path);
    let name = wanted;
    for (let next = 2; names[name] || name === 'demo'; next++) name = `${wanted.slice(0, 59)}-${next}`;
    this.#write('databases.json', { ...names, [name]: path });
    return name;
  }

  #read(file) {
    return existsSync(this.path(file)) ? JSON.parse(readFileSync(this.path(file), 'utf8')) : undefined;
  }

  #write(file, value) {
    writeFileSync(this.path(`${file}.new`), JSON.stringify(value, null, 1), { mode: 0o600 });
    renameSync(this.path(`${file}.new`), this.path(file));
    return value;
  }
}

/** As the Worker takes it: [a-z0-9][a-z0-9_-]{0,62} */
export function nameOf(path) {
  const name = basename(path).replace(/(?<=.)\.[^.]+$/, '').toLowerCase().replace(/[^a-z0-9_-]+/g, '-').replace(/^[-_]+/, '').slice(0, 63);
  return name.replace(/-+$/, '') || 'database';
}
