// Everything at once, on this machine: the Worker, an application that writes to a database, walferry that ships it, and
// the address of the page in which its rows can be queried.
//
//   npm start [-- path/to/app.db] [--set-wal] [--port N] [--state DIR]
//
// path/to/app.db  ship this database of yours instead of the demonstration's
// --set-wal       switch it to WAL mode if it is not
// --port N        the Worker's port (8787, or a free one if that is taken)
// --state DIR     where tokens, R2 and the demonstration's database are kept (.walferry)
//
// Ctrl-C or SIGTERM ends everything.
import { existsSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { whenParentEnds } from './lib/parents.mjs';
import { calledFrom, inRoot, walferry } from './lib/root.mjs';
import { Failure, main } from './lib/run.mjs';
import { setup } from './setup.mjs';
import { start } from './start/programs.mjs';
import { State } from './start/state.mjs';
import { freePort, portOf, startWorker } from './worker/start.mjs';

await main(async () => {
  const { path, setWal, port, stateDir } = options();
  const running = [];
  const waiting = new AbortController();
  const told = new Promise((resolve) => {
    const stop = () => (running.length ? resolve() : process.exit(0)); // during setup and build there is nothing to end
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, stop);
    whenParentEnds(stop);
  });
  if (!process.env.WALFERRY_NO_BUILD) {
    await setup();
    await build();
  }
  try {
    const state = new State(stateDir);
    const secrets = state.tokens();
    const name = path ? state.databaseName(path) : 'demo';
    const database = path ?? state.path('demo.db');
    const worker = await startWorker({
      port: port ?? (await freePort(8787)),
      state: state.path('worker'),
      variables: { WALFERRY_WRITE_TOKEN: secrets.write, WALFERRY_READ_TOKEN: secrets.read },
    });
    running.push(worker);
    const replica = `${worker.url}/v1/${name}`;

    // The application ends first, so that walferry ships its last row.
    const programs = [];
    if (!path) {
      programs.push(start('the application', 'python3', [inRoot('scripts', 'demo-app.py'), database]));
      while (!existsSync(database)) await Promise.race([sleep(50), failOn(programs)]);
    }
    const ferry = ['replicate', '--log-level', 'warn', ...(setWal ? ['--set-wal'] : []), database, replica];
    programs.push(start('walferry', walferry, ferry, { WALFERRY_TOKEN: secrets.write }));
    running.unshift(...programs);

    const ended = failOn(programs);
    const shipped = firstCopy(replica, secrets.read, waiting.signal);
    if ((await Promise.race([shipped, ended, told.then(() => 'told')])) !== 'told') {
      console.log(welcome({ worker, name, database, replica, secrets, own: Boolean(path) }));
      await Promise.race([told, ended]);
    }
  } finally {
    waiting.abort();
    for (const one of running) await one.stop();
  }
  process.exit(0);
});

function options() {
  let parsed;
  try {
    parsed = parseArgs({ allowPositionals: true, options: { 'set-wal': { type: 'boolean' }, port: { type: 'string' }, state: { type: 'string' } } });
  } catch (error) {
    throw new Failure(`${error.message}. Usage: npm start [-- path/to/app.db] [--set-wal] [--port N] [--state DIR]`);
  }
  const { values, positionals } = parsed;
  if (positionals.length > 1) throw new Failure('one database at a time: name one file, or none for the demonstration.');
  const path = positionals[0] && resolve(calledFrom, positionals[0]);
  if (path && !existsSync(path)) throw new Failure(`there is no file ${path}.`);
  const stateDir = values.state ? resolve(calledFrom, values.state) : inRoot('.walferry');
  return { path, setWal: values['set-wal'], port: values.port === undefined ? undefined : portOf(values.port), stateDir };
}

/** Rejects as soon as a program ends by itself: none should. */
async function failOn(programs) {
  const { name, how } = await Promise.race(programs.map((program) => program.ended));
  throw new Failure(`${name} ${how}; what it said is above.`);
}

/** Waits until the replica has a segment: then there is something to restore. */
async function firstCopy(replica, token, given) {
  while (!given.aborted) {
    const answer = await fetch(replica, { headers: { Authorization: `Bearer ${token}` } }).catch(() => undefined);
    const head = await answer?.json().catch(() => undefined);
    if (answer?.ok && head?.segments > 0) return;
    await sleep(100);
  }
}

function welcome({ worker, name, database, replica, secrets, own }) {
  const here = (path) => (relative(calledFrom, path).startsWith('..') ? path : relative(calledFrom, path));
  const ask = `
  and ask, for example  select * from takings;
                        select * from log order by at desc limit 10;`;
  return `
  ${own ? 'Your database        ' : 'An application writes'} ${here(database)}
  walferry ships it to  ${replica}

  Open this page        ${worker.url}/#db=${name}&token=${secrets.read}${own ? '' : ask}

  Or restore it here    WALFERRY_TOKEN=${secrets.read} ${here(walferry)} restore -o copy.db ${replica}

  Ctrl-C ends everything.
`;
}
