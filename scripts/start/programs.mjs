// The programs that run beside the Worker: each in a process group of its own, so that a Ctrl-C reaches us alone and we
// end them in order; and on the leash, so that none stays.
import { spawn } from 'node:child_process';
import { leash } from '../lib/leash.mjs';
import { root } from '../lib/root.mjs';

/** Starts one; `ended` tells how it ended. Its output is shown. */
export function start(name, command, args, env = {}) {
  const child = leash(spawn(command, args, { cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', process.stderr.fd, process.stderr.fd], detached: true }));
  const ended = new Promise((resolve) => {
    child.on('error', (error) => resolve({ name, how: `could not be started: ${error.message}` }));
    child.on('exit', (code, signal) => resolve({ name, code, how: signal ? `was ended by ${signal}` : `ended with code ${code}` }));
  });
  return { ended, stop: () => stop(child, ended) };
}

// SIGTERM, and time to finish; then SIGKILL.
async function stop(child, ended) {
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
  await ended;
  clearTimeout(timer);
}
