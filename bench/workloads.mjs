// What is run. Each workload returns rows { figure, unit, walferry, litestream, alone }, lower is better unless `higher`.
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../scripts/lib/run.mjs';
import { cpu, descriptors, finish, memory, sleep, stop } from './processes.mjs';
import { rows } from './report.mjs';

export const workloads = {
  w1: { about: '200 small transactions a second into an indexed table', rounds: 3, quickRounds: 1, run: (bench) => writing(bench, bench.quick ? 15 : 30) },
  w2: { about: 'as many small transactions as possible', rounds: 5, quickRounds: 3, run: (bench) => writing(bench, bench.quick ? 5 : 10) },
  w3: { about: 'an import of 270 MB in transactions of 1,000 rows', rounds: 1, run: (bench) => writing(bench, 0) },
  w4: { about: '200 transactions a second of 10 updates each over 1 GiB', rounds: 1, run: (bench) => writing(bench, bench.quick ? 20 : 90) },
  trickle: { about: 'a small transaction each second', rounds: 1, run: (bench) => writing(bench, bench.quick ? 15 : 60) },
  copy: { about: 'the first copy of 1 GiB', rounds: 1, run: firstCopy },
  restore: { about: 'the restore of 1 GiB after updates all over it, beside cp and fsync', rounds: 5, quickRounds: 3, run: restoring },
  idle: { about: '1, 100 and 1000 databases that nobody writes to', rounds: 1, run: idle },
};

/** The application alone, then with each replicator; round after round, so that the noise of the machine is shared. */
async function writing(bench, seconds) {
  const runs = { alone: [] };
  for (const { name } of bench.replicators) runs[name] = [];
  for (let round = 1; round <= bench.rounds; round += 1) {
    runs.alone.push(await alone(bench, seconds));
    for (const replicator of bench.replicators) runs[replicator.name].push(await beside(bench, replicator, seconds));
  }
  return rows(runs, [
    ['CPU', 's', 'cpu'],
    ['CPU a transaction', 'µs', 'cpu_per_transaction'],
    ['on the replica', 'MB', 'bytes', 1e-6],
    ['on the replica, a transaction', 'B', 'bytes_per_transaction'],
    ['objects', '', 'objects'],
    ['peak memory', 'MB', 'peak', 1e-6],
    ['commit → object, p50', 'ms', 'lag_p50_ms'],
    ['commit → object, p90', 'ms', 'lag_p90_ms'],
    ['commit → object, p99', 'ms', 'lag_p99_ms'],
    ['commit → object, max', 'ms', 'lag_max_ms'],
    ['lost if the host dies, p50', 'tx', 'unshipped_p50'],
    ['lost if the host dies, max', 'tx', 'unshipped_max'],
    ['longest stall of the application', 'ms', 'stall_max_ms'],
    ['stall of the application, p99', 'ms', 'stall_p99_ms'],
    ['transactions a second', '', 'rate', 1, 'higher'],
    ['WAL at the end', 'MB', 'wal_bytes', 1e-6],
    ['WAL at its longest', 'MB', 'wal_longest', 1e-6],
    ['until all is shipped', 's', 'settled'],
    ['restore, wall', 's', 'restore_wall'],
    ['restore, CPU', 's', 'restore_cpu'],
    ['restore, peak memory', 'MB', 'restore_rss', 1e-6],
  ]);
}

async function alone(bench, seconds) {
  const { database, log } = await fresh(bench, 'alone');
  return write(bench, database, seconds, log);
}

async function beside(bench, replicator, seconds) {
  const { dir, database, log } = await fresh(bench, replicator.name);
  const replica = bench.destination.replica(`${bench.name}-${replicator.name}`);
  const child = replicator.replicate(database, replica, { log: join(dir, 'replicator.log') });
  await settle(child, replica, 1);
  const before = cpu(child.pid);
  const written = await write(bench, database, seconds, log);
  const settled = await settle(child, replica, written.transactions);
  const used = { cpu: cpu(child.pid) - before, ...memory(child.pid), bytes: replica.bytes(), objects: replica.objects() };
  const { how } = await stop(child);
  if (how !== 0) throw new Failure(`${replicator.name} ended with ${how}:\n${tail(child.log)}`);
  const restored = await restore(bench, replicator, replica, dir);
  if (restored.newest !== written.transactions) throw new Failure(`${replicator.name} restored transaction ${restored.newest} of ${written.transactions}.`);
  const { out } = await finish(bench.lag, [log, replica.files]);
  const result = { ...written, ...used, cpu_per_transaction: (used.cpu * 1e6) / written.transactions, bytes_per_transaction: used.bytes / written.transactions, settled, ...restored, ...JSON.parse(out) };
  rmSync(dir, { recursive: true });
  rmSync(replica.files, { recursive: true });
  return result;
}

/** A new database for one run. A large one is made once and copied. */
async function fresh(bench, who) {
  const dir = join(bench.scratch, who);
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  const database = join(dir, 'app.db');
  const template = join(bench.scratch, `${bench.name}.db`);
  if (!existsSync(template)) await finish(bench.writer, ['create', template, bench.name]);
  copyFileSync(template, database);
  return { dir, database, log: join(dir, 'transactions.log') };
}

async function write(bench, database, seconds, log) {
  let longest = 0;
  const watch = setInterval(() => (longest = Math.max(longest, walBytes(database))), 100);
  try {
    const { out } = await finish(bench.writer, ['write', database, bench.name, String(seconds), log]);
    const said = JSON.parse(out);
    return { ...said, rate: said.transactions / said.seconds, wal_longest: Math.max(longest, said.wal_bytes) };
  } finally {
    clearInterval(watch);
  }
}

const walBytes = (database) => statSync(`${database}-wal`, { throwIfNoEntry: false })?.size ?? 0;

/** Waits until the replica has not changed for three sync intervals; returns the seconds until the last change. */
async function settle(child, replica, expected) {
  const began = performance.now();
  let [seen, since] = ['', began];
  for (;;) {
    await sleep(100);
    if (child.exitCode !== null) throw new Failure(`the replicator ended:\n${tail(child.log)}`);
    const now = `${replica.objects()} ${replica.bytes()}`;
    if (now !== seen) [seen, since] = [now, performance.now()];
    else if (expected && !now.startsWith('0 ') && performance.now() - since > 3000) return (since - began) / 1000;
    if (performance.now() - began > 600_000) throw new Failure(`the replicator was not done after ten minutes:\n${tail(child.log)}`);
  }
}

async function restore(bench, replicator, replica, dir) {
  const out = join(dir, 'restored.db');
  const { wall, cpu, rss } = await replicator.restore(replica, out);
  const { newest } = JSON.parse((await finish(bench.writer, ['check', out])).out);
  return { newest, restore_wall: wall, restore_cpu: cpu, restore_rss: rss };
}

async function firstCopy(bench) {
  const runs = {};
  for (const replicator of bench.replicators) {
    runs[replicator.name] = [];
    for (let round = 1; round <= bench.rounds; round += 1) {
      const { dir, database } = await fresh({ ...bench, name: 'large' }, replicator.name);
      const replica = bench.destination.replica(`copy-${replicator.name}`);
      const child = replicator.replicate(database, replica, { log: join(dir, 'replicator.log') });
      const wall = await settle(child, replica, 1);
      const used = { wall, cpu: cpu(child.pid), ...memory(child.pid), bytes: replica.bytes(), objects: replica.objects() };
      await stop(child);
      const restored = await restore(bench, replicator, replica, dir);
      runs[replicator.name].push({ ...used, ...restored });
      rmSync(dir, { recursive: true });
      rmSync(replica.files, { recursive: true });
    }
  }
  return rows(runs, [
    ['CPU', 's', 'cpu'],
    ['until it is there', 's', 'wall'],
    ['on the replica', 'MB', 'bytes', 1e-6],
    ['peak memory', 'MB', 'peak', 1e-6],
    ['restore, wall', 's', 'restore_wall'],
    ['restore, CPU', 's', 'restore_cpu'],
    ['restore, peak memory', 'MB', 'restore_rss', 1e-6],
  ]);
}

/** Each makes its replica of the same workload; then they restore in turn, and the database is copied as plainly as can be. */
async function restoring(bench) {
  const runs = { cp: [] };
  const replicas = {};
  const dir = join(bench.scratch, 'restore');
  mkdirSync(dir);
  for (const replicator of bench.replicators) {
    runs[replicator.name] = [];
    const { dir: made, database, log } = await fresh({ ...bench, name: 'w4' }, replicator.name);
    const replica = bench.destination.replica(`restore-${replicator.name}`);
    const child = replicator.replicate(database, replica, { log: join(made, 'replicator.log') });
    await settle(child, replica, 1);
    await write({ ...bench, name: 'w4' }, database, bench.quick ? 15 : 60, log);
    await settle(child, replica, 1);
    await stop(child);
    replicas[replicator.name] = replica;
    rmSync(made, { recursive: true });
  }
  const [out, plain] = [join(dir, 'restored.db'), join(dir, 'copied.db')];
  for (let round = 1; round <= bench.rounds; round += 1) {
    for (const replicator of bench.replicators) {
      rmSync(out, { force: true });
      const used = await replicator.restore(replicas[replicator.name], out);
      runs[replicator.name].push({ ...used, bytes: replicas[replicator.name].bytes() });
      await finish(bench.writer, ['check', out]);
    }
    rmSync(plain, { force: true });
    runs.cp.push(await finish('sh', ['-c', 'cp "$1" "$2" && sync "$2"', 'sh', out, plain]));
  }
  rmSync(dir, { recursive: true });
  for (const replica of Object.values(replicas)) rmSync(replica.files, { recursive: true });
  return rows(runs, [
    ['wall', 's', 'wall'],
    ['CPU', 's', 'cpu'],
    ['peak memory', 'MB', 'rss', 1e-6],
    ['on the replica', 'MB', 'bytes', 1e-6],
  ]);
}

async function idle(bench) {
  const runs = {};
  const counts = bench.quick ? [1, 100] : [1, 100, 1000];
  const [warm, window] = bench.quick ? [15, 15] : [45, 60];
  for (const replicator of bench.replicators) {
    const run = (runs[replicator.name] = [{}])[0];
    for (const count of counts) {
      const dir = join(bench.scratch, `${replicator.name}-idle`);
      mkdirSync(dir, { recursive: true });
      const pairs = Array.from({ length: count }, (_, at) => ({ database: join(dir, `${at}.db`), replica: bench.destination.replica(`idle-${replicator.name}-${at}`) }));
      const template = join(bench.scratch, 'idle.db');
      if (!existsSync(template)) await finish(bench.writer, ['create', template, 'idle']);
      for (const { database } of pairs) copyFileSync(template, database);
      const options = { dir, log: join(dir, 'replicator.log') };
      const child = count === 1 ? replicator.replicate(pairs[0].database, pairs[0].replica, options) : replicator.replicateAll(pairs, options);
      await sleep(warm * 1000);
      if (child.exitCode !== null) throw new Failure(`${replicator.name} ended:\n${tail(child.log)}`);
      const before = cpu(child.pid);
      await sleep(window * 1000);
      Object.assign(run, {
        [`cpu${count}`]: ((cpu(child.pid) - before) / window) * 100,
        [`start${count}`]: before,
        [`rss${count}`]: memory(child.pid).rss,
        [`files${count}`]: descriptors(child.pid),
        [`missing${count}`]: pairs.filter(({ replica }) => !replica.objects()).length,
      });
      await stop(child);
      for (const { replica } of pairs) rmSync(replica.files, { recursive: true, force: true });
      rmSync(dir, { recursive: true });
    }
  }
  return rows(
    runs,
    counts.flatMap((count) => [
      [`${count}: CPU when settled`, '%', `cpu${count}`],
      [`${count}: CPU of the start`, 's', `start${count}`],
      [`${count}: memory`, 'MB', `rss${count}`, 1e-6],
      [`${count}: descriptors`, '', `files${count}`],
      [`${count}: without a replica`, '', `missing${count}`],
    ]),
  );
}

const tail = (file) => readFileSync(file, 'utf8').split('\n').slice(-15).join('\n');
