// Running other programs, with failures as sentences.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync, openSync, closeSync, readFileSync, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { root } from './root.mjs';

/** A failure the reader can act on: its message is the whole story, no stack needed. */
export class Failure extends Error {}

/** Runs a script's body; a Failure is printed as its sentence, anything else with its stack. */
export async function main(body) {
  try {
    process.exitCode = (await body()) ?? process.exitCode ?? 0;
  } catch (error) {
    console.error(error instanceof Failure ? `walferry: ${error.message}` : error);
    process.exitCode = 1;
  }
}

/** The full path of a program on PATH, or undefined. */
export function onPath(name) {
  for (const dir of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(dir, name);
    try {
      accessSync(path, constants.X_OK);
      if (statSync(path).isFile()) return path;
    } catch {
      // not in this folder
    }
  }
}

/** The standard output of a quick command, or undefined when it cannot run or fails. */
export function ask(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', ...options });
  return result.status === 0 ? result.stdout.trim() : undefined;
}

/**
 * Runs a command to its end. Its output goes to our standard error, as progress (standard output is for results); with
 * `log`, to that file, of which the end is shown on failure.
 */
export async function run(command, args, { env = process.env, cwd = root, log, what = command } = {}) {
  let output = process.stderr.fd;
  if (log) {
    mkdirSync(dirname(log), { recursive: true });
    output = openSync(log, 'w');
  }
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', output, output] });
  const [code, signal, error] = await new Promise((resolve) => {
    child.on('error', (error) => resolve([null, null, error]));
    child.on('close', (code, signal) => resolve([code, signal]));
  });
  if (log) closeSync(output);
  if (error?.code === 'ENOENT') throw new Failure(`${what} failed: the program \`${command}\` was not found.`);
  if (error) throw new Failure(`${what} failed: ${error.message}`);
  if (code !== 0) {
    const how = signal ? `was ended by ${signal}` : `ended with code ${code}`;
    const tail = log ? `\n${lastLines(log, 30)}\n(whole output: ${log})` : '';
    throw new Failure(`${what} failed: \`${command} ${args.join(' ')}\` ${how}.${tail}`);
  }
}

function lastLines(file, count) {
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count).join('\n');
}
