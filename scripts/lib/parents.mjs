// Noticing that whoever started us is gone, however it went: its id as our parent changes. Between us and them npm and
// its shell may stand, which live on when their own parent dies, so each of those is watched as well.
import { readFileSync } from 'node:fs';
import { ask } from './run.mjs';

/** Calls `gone` once when the process that started this one, or started the npm that started this one, has ended. */
export function whenParentEnds(gone) {
  const watched = [process.pid];
  const parents = [process.ppid];
  if (process.env.npm_lifecycle_event) {
    while (parents.at(-1) > 1 && isNpmOrItsShell(parents.at(-1))) {
      watched.push(parents.at(-1));
      parents.push(parentOf(watched.at(-1)));
    }
  }
  const now = (pid) => (pid === process.pid ? process.ppid : parentOf(pid));
  const timer = setInterval(() => {
    if (watched.every((pid, at) => now(pid) === parents[at])) return;
    clearInterval(timer);
    gone();
  }, hasProc() ? 250 : 2000);
  timer.unref();
}

/** Calls `gone` when standard input, being a pipe, ends. One that had ended before we looked says nothing. */
export function whenStdinEnds(gone, afterMs = 500) {
  const started = performance.now();
  process.stdin.on('error', () => {});
  process.stdin.once('end', () => performance.now() - started > afterMs && gone());
  process.stdin.resume();
  process.stdin.unref?.();
}

const isNpmOrItsShell = (pid) => /^(npm |sh -c |\S*\/sh -c )|\bnpm(-cli\.js)?\b/.test(commandOf(pid));

const hasProc = () => process.platform === 'linux';

function parentOf(pid) {
  try {
    // "pid (name) state parent …", and the name may hold anything but ends with the last parenthesis.
    if (hasProc()) return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/s, '').trim().split(' ')[1]);
    return Number(ask('ps', ['-o', 'ppid=', '-p', String(pid)]));
  } catch {
    return 0;
  }
}

function commandOf(pid) {
  try {
    if (hasProc()) return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    return ask('ps', ['-o', 'command=', '-p', String(pid)]) ?? '';
  } catch {
    return '';
  }
}
