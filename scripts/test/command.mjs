// Runs a command of a stage: what it prints is shown as it comes, and kept.
import { spawn } from 'node:child_process';
import { leash } from '../lib/leash.mjs';
import { root } from '../lib/root.mjs';

/** Returns its output and what was wrong with it, if anything: a sentence. It is ended, with its children, after `minutes`. */
export async function command(program, args, { env = {}, minutes = 15 } = {}) {
  console.log(`$ ${program} ${args.join(' ')}`);
  const child = leash(spawn(program, args, { cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true }));
  running.add(child);
  let output = '';
  const keep = (to) => (bytes) => {
    output += bytes;
    to.write(bytes);
  };
  child.stdout.setEncoding('utf8').on('data', keep(process.stdout));
  child.stderr.setEncoding('utf8').on('data', keep(process.stderr));
  let tooLong = false;
  const timer = setTimeout(() => {
    tooLong = true;
    endGroup(child, 'SIGKILL');
  }, minutes * 60_000);
  const how = await new Promise((resolve) => {
    child.on('error', (error) => resolve(`could not be started: ${error.message}`));
    // Not 'close': something left behind may hold its output open.
    child.on('exit', (code, signal) => setTimeout(resolve, 100, code === 0 ? undefined : signal ? `was ended by ${signal}` : `ended with code ${code}`));
  });
  clearTimeout(timer);
  running.delete(child);
  const wrong = tooLong ? `took more than ${minutes} minutes` : how;
  return { output, wrong: wrong && `\`${program} ${args.join(' ')}\` ${wrong}.` };
}

// Each command leads a process group, so that it can be ended with all it started; so our own signals must be passed on.
const running = new Set();

function endGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // it is gone
  }
}

for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]]) {
  process.on(signal, () => {
    for (const child of running) endGroup(child, 'SIGTERM');
    process.exit(code);
  });
}
