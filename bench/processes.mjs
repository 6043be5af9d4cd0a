// Processes, and what the system knows of them. Whatever is started here does not outlive us.
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { leash } from '../scripts/lib/leash.mjs';
import { Failure } from '../scripts/lib/run.mjs';

export { sleep };

/** Starts a program that goes on; its messages go to a file. */
export function start(program, args, { log, env = {}, cwd }) {
  const output = openSync(log, 'a');
  const child = leash(spawn(program, args, { stdio: ['ignore', output, output], env: environment(env), cwd }));
  closeSync(output);
  child.on('error', () => {});
  return Object.assign(child, { log, ended: new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal))) });
}

/** Asks it to end, and waits; returns how it ended and how long that took. */
export async function stop(child, seconds = 120) {
  const began = performance.now();
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000);
  const how = await child.ended;
  clearTimeout(timer);
  return { how, seconds: (performance.now() - began) / 1000 };
}

/** Runs a program to its end; returns its output, and what it used. */
export async function finish(program, args, { env = {}, minutes = 20 } = {}) {
  const began = performance.now();
  // The shell's `times` would round; time(1) of the system tells CPU time and the largest memory of the one process.
  const child = leash(spawn('python3', ['-c', usage, program, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: environment(env) }));
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (err += text));
  const timer = setTimeout(() => child.kill('SIGKILL'), minutes * 60_000);
  const code = await new Promise((resolve) => child.once('close', resolve));
  clearTimeout(timer);
  if (code !== 0) throw new Failure(`\`${program} ${args.join(' ')}\` ended with ${code}:\n${err.slice(-2000)}`);
  const [, used] = /\n?USED (.*)\n$/s.exec(err) ?? [];
  return { out, ...JSON.parse(used), wall: (performance.now() - began) / 1000 };
}

const usage = `
import json, resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print("USED " + json.dumps({"cpu": used.ru_utime + used.ru_stime, "rss": used.ru_maxrss * 1024}), file=sys.stderr)
sys.exit(code)`;

/** CPU time in seconds, user and system, of a process that runs. */
export function cpu(pid) {
  // "pid (name) state …": the name may hold anything but ends with the last parenthesis; utime and stime are 14 and 15.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/s, '').trim().split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Memory now and at its peak, in bytes. */
export function memory(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kib = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) * 1024;
  return { rss: kib('VmRSS'), peak: kib('VmHWM') };
}

export const descriptors = (pid) => readdirSync(`/proc/${pid}/fd`).length;

// Litestream ends when it finds it.
const environment = (env) => ({ ...process.env, AWS_CA_BUNDLE: undefined, ...env });
