// One process at a time, between processes of this machine: a file that says which process owns it. It appears
// complete (by a hard link), so that an owner killed at any moment leaves a lock that the next one can see is stale.
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export async function withLock(path, waiting, body) {
  let release;
  for (let said = false; !(release = tryLock(path)); said = true) {
    if (!said) console.error(waiting);
    await sleep(300);
  }
  try {
    return await body();
  } finally {
    release();
  }
}

/** Takes the lock and returns the function that gives it back, or returns undefined when a living process has it. */
export function tryLock(path) {
  mkdirSync(dirname(path), { recursive: true });
  const mine = `${path}.${process.pid}`;
  writeFileSync(mine, `${process.pid} ${birth(process.pid)}`);
  try {
    if (!ownerLives(path)) rmSync(path, { force: true });
    linkSync(mine, path);
    return () => rmSync(path, { force: true });
  } catch (error) {
    if (error.code === 'EEXIST') return undefined;
    throw error;
  } finally {
    rmSync(mine, { force: true });
  }
}

function ownerLives(path) {
  let owner;
  try {
    owner = readFileSync(path, 'utf8').split(' ');
  } catch {
    return true; // there is none; the attempt to take the lock will tell
  }
  const [pid, born] = [Number(owner[0]), owner[1]];
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (error.code === 'ESRCH') return false;
  }
  return birth(pid) === born;
}

// Process ids come again, in a container quickly so: what was born in another boot, or at another moment, is another one.
function birth(pid) {
  try {
    const ticks = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/s, '').trim().split(' ')[19];
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${ticks}`;
  } catch {
    return '';
  }
}
