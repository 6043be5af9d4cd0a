// A server: an application that writes to a database, the real walferry that ships it, the real Worker that keeps it.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { leash } from '../../../scripts/lib/leash.mjs';
import { inRoot, walferry } from '../../../scripts/lib/root.mjs';
import { READ, WRITE, worker } from '../../worker/support/worker.mjs';

export { READ, worker };

/** The application, and its database shipped to the Worker `to` under `name`, with the options `shipper`. Ended by `stop()`. */
export async function source(to, name, { pageSize = 4096, autoVacuum = 0, shipper = [] } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'walferry-source-'));
  const path = join(dir, 'app.db');
  const application = await startApplication(path, pageSize, autoVacuum);
  let ferry;

  const server = {
    name,
    url: to.url,
    path,
    /** Commits these statements as one transaction; the last one's rows. */
    run: (...statements) => application.run(statements),
    /** Ships, from now on. */
    ship() {
      ferry = replicate(path, `${to.url}/v1/${name}`, shipper);
      return ferry.started;
    },
    /** Waits until everything that is committed is shipped: ends walferry, which ships before it ends, and starts it again. */
    async settle() {
      await ferry.stop();
      await server.ship();
    },
    /** What the database file holds when all is in it: its sha256 and its size. */
    async content() {
      await ferry?.stop();
      ferry = undefined;
      const [[busy]] = await application.run(['pragma wal_checkpoint(truncate)']);
      if (busy) throw new Error('the database cannot be checkpointed');
      const bytes = readFileSync(path);
      return { sha256: createHash('sha256').update(bytes).digest('hex'), size: bytes.length };
    },
    /** The transaction at which the replica stands. */
    async txid() {
      const answer = await to.get(`/v1/${name}`, { token: READ });
      return answer.body?.position?.txid;
    },
    async stop() {
      await ferry?.stop();
      await application.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  return server;
}

/** An application that does what it is told, `run(statements)`, to its database at `path`. */
export async function startApplication(path, pageSize = 4096, autoVacuum = 0) {
  const script = inRoot('tests', 'browser', 'support', 'application.py');
  const child = leash(spawn('python3', [script, path, String(pageSize), String(autoVacuum)], { stdio: ['pipe', 'pipe', 'inherit'] }));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async () => {
    const { done, value } = await lines.next();
    if (done) throw new Error('the application has ended');
    return JSON.parse(value);
  };
  await answer();
  return {
    run: (statements) => {
      child.stdin.write(`${JSON.stringify(statements)}\n`);
      return answer();
    },
    stop: () => {
      child.stdin.end();
      return ended;
    },
  };
}

/** Where the native walferry is. */
export function program() {
  if (!existsSync(walferry)) throw new Error(`there is no ${walferry}; build it: npm run build native`);
  return walferry;
}

/** `walferry replicate`; `started` once the replica has a position. */
export function replicate(path, replica, more = []) {
  const env = { ...process.env, WALFERRY_TOKEN: WRITE, LOG_LEVEL: 'warn' };
  const child = leash(spawn(program(), ['replicate', ...more, path, replica], { stdio: ['ignore', 'inherit', 'inherit'], env }));
  let code;
  const ended = new Promise((resolve) => child.once('exit', (exit) => resolve((code = exit ?? 'a signal'))));
  const started = hasPosition(replica, () => code);
  started.catch(() => {}); // who waits for it is told
  return {
    started,
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
      if (code !== 0) throw new Error(`walferry replicate ended with ${code}`);
    },
    kill: () => {
      child.kill('SIGKILL');
      return ended;
    },
  };
}

async function hasPosition(replica, ended) {
  for (let tries = 0; tries < 600; tries++) {
    if (ended() !== undefined) throw new Error(`walferry replicate ended with ${ended()}`);
    // A connection that was kept may be closed by the other side while we ask.
    const answer = await fetch(replica, { headers: { Authorization: `Bearer ${READ}` } }).catch(() => undefined);
    if (answer?.ok && (await answer.json()).segments > 0) return;
    await sleep(50);
  }
  throw new Error('walferry has shipped nothing');
}
