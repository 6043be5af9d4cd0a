// An application with its database: Python's sqlite3.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const PROGRAM = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute('PRAGMA page_size = ' + sys.argv[2])
db.execute('PRAGMA journal_mode = wal')
db.execute('PRAGMA wal_autocheckpoint = 0')
print('ready', flush=True)
for line in sys.stdin:
    try:
        db.execute(line.strip()).fetchall()
        print('done', flush=True)
    except Exception as error:
        print(f'{line.strip()}: {error}', flush=True)
`;

export class Application {
  static async start(path, pageSize = 4096) {
    const app = new Application();
    app.path = path;
    app.child = spawn('python3', ['-c', PROGRAM, path, String(pageSize)], { stdio: ['pipe', 'pipe', 'inherit'] });
    app.lines = createInterface({ input: app.child.stdout })[Symbol.asyncIterator]();
    await app.lines.next();
    return app;
  }

  /** Does these, one after the other. */
  async run(...statements) {
    for (const sql of statements) {
      this.child.stdin.write(`${sql}\n`);
      const { value } = await this.lines.next();
      if (value !== 'done') throw new Error(value ?? 'the application has ended');
    }
  }

  async end() {
    const ended = new Promise((resolve) => this.child.on('exit', resolve));
    this.child.stdin.end();
    await ended;
  }

  /** The database file as it is. */
  file() {
    return readFileSync(this.path);
  }

  /** Its WAL as it is: what a shorter generation left, too. */
  wal() {
    return readFileSync(`${this.path}-wal`);
  }

  /** The newest frame that is committed, its checksum and the salts: what `PUT /db` asks for. */
  index() {
    const shm = readFileSync(`${this.path}-shm`);
    return { frame: shm.readUInt32LE(16), checksum1: shm.readUInt32LE(24), checksum2: shm.readUInt32LE(28), salt1: shm.readUInt32BE(32), salt2: shm.readUInt32BE(36) };
  }

  /** The database as the WAL makes it: its file, with the newest committed version of each page. */
  state() {
    const { frame } = this.index();
    const wal = readFileSync(`${this.path}-wal`);
    const pageSize = wal.readUInt32BE(8);
    const file = this.file();
    const pages = new Map();
    let commit = file.length / pageSize;
    for (let number = 0; number < frame; number++) {
      const at = 32 + number * (pageSize + 24);
      pages.set(wal.readUInt32BE(at), wal.subarray(at + 24, at + 24 + pageSize));
      commit = wal.readUInt32BE(at + 4) || commit;
    }
    const state = Buffer.alloc(commit * pageSize);
    file.copy(state);
    for (const [pgno, page] of pages) if (pgno <= commit) page.copy(state, (pgno - 1) * pageSize);
    return state;
  }
}
