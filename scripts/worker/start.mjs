// The Worker on this machine: workerd, driven by Miniflare. No login, no telemetry, no network.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { basename, dirname, join, resolve } from 'node:path';
import { leash } from '../lib/leash.mjs';
import { tryLock } from '../lib/lock.mjs';
import { inRoot } from '../lib/root.mjs';
import { Failure } from '../lib/run.mjs';
import { workerOptions } from './options.mjs';

/**
 * Starts the Worker with what it keeps in `state`. `variables` are its secrets; `from` is the folder of build/ it is in;
 * on the port `inspect` a debugger looks into it.
 * Returns its URL, and `stop()`.
 */
export async function startWorker({ port = 0, state, variables, log = process.stderr, from = 'worker', inspect }) {
  const options = await workerOptions();
  options.scriptPath = inRoot('build', from, basename(options.scriptPath));
  if (!existsSync(options.scriptPath)) throw new Failure(`there is no Worker in build/${from}/. Build it: \`npm run build ${from}\`.`);
  if (options.assets && !existsSync(options.assets.directory)) {
    log.write('walferry: there is no page in build/site/, so none is served; build it: `npm run build browser`.\n');
    delete options.assets;
  }
  if (port) await refuseTakenPort(port);
  const release = own(resolve(state));
  const ours = signalListeners();
  const leashChildren = ({ process: child }) => queueMicrotask(() => leash(child));
  subscribe('child_process', leashChildren);
  try {
    process.env.CLOUDFLARE_CF_FETCH_ENABLED = 'false';
    const { Miniflare, Log, LogLevel } = await import('miniflare');
    class OurLog extends Log {
      log(message) {
        log.write(`${message}\n`);
      }
    }
    const miniflare = new Miniflare({
      ...options,
      bindings: { ...options.bindings, ...variables },
      modulesRoot: dirname(options.scriptPath),
      host: '127.0.0.1',
      port,
      cf: false,
      inspectorPort: inspect,
      telemetry: { enabled: false },
      log: new OurLog(LogLevel.WARN),
      logRequests: false,
      handleRuntimeStdio: (stdout, stderr) => [stdout, stderr].forEach((stream) => stream.pipe(log, { end: false })),
      // Where `wrangler dev --persist-to` keeps it, too.
      defaultPersistRoot: join(resolve(state), 'v3'),
    });
    const url = await miniflare.ready.catch(async (error) => {
      await miniflare.dispose().catch(() => {});
      throw error;
    });
    takeBackSignals(ours);
    return {
      url: url.origin,
      stop: async () => {
        await miniflare.dispose();
        release();
      },
    };
  } catch (error) {
    release();
    throw error;
  } finally {
    unsubscribe('child_process', leashChildren);
  }
}

/** The value of an option that is a port. */
export function portOf(text, option = '--port') {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65535) throw new Failure(`${option} ${text} is not a port: a number from 0 to 65535.`);
  return port;
}

/** This port if it is free, otherwise 0: any. */
export const freePort = async (port) => ((await whyNotListen(port)) ? 0 : port);

// workerd says so by a crash with its stack.
async function refuseTakenPort(port) {
  const problem = await whyNotListen(port);
  if (problem?.code === 'EADDRINUSE') throw new Failure(`port ${port} is in use by another program; choose another with --port, or 0 for any that is free.`);
  if (problem) throw new Failure(`port ${port} cannot be used: ${problem.message}.`);
}

async function whyNotListen(port) {
  const server = createServer();
  const problem = await new Promise((resolve) => {
    server.once('error', resolve);
    server.listen({ port, host: '127.0.0.1' }, () => resolve(undefined));
  });
  if (!problem) await new Promise((resolve) => server.close(resolve));
  return problem;
}

// Miniflare ends this process at once on a signal; when and how to end is for whoever started the Worker to say.
const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'];
const signalListeners = () => new Map(signals.map((signal) => [signal, process.listeners(signal)]));

function takeBackSignals(before) {
  for (const signal of signals) {
    for (const listener of process.listeners(signal)) {
      if (!before.get(signal).includes(listener)) process.removeListener(signal, listener);
    }
  }
}

/** One Worker at a time on a state folder: two would damage each other's files. */
function own(state) {
  const release = tryLock(join(state, 'owner.pid'));
  if (!release) throw new Failure(`the state folder ${state} is in use by a Worker that runs already; stop it, or name another with --state.`);
  return release;
}
