// The rest of a copy that is read already: it is brought behind those who read, proven, and whole then.
import { told } from './error.js';

/** Who has just opened it reads first: so many milliseconds. */
const QUIET = 100;
/** So long somebody waits for what is on its way, before it is given up for them: milliseconds. What comes is shorter from then on. */
const PATIENCE = 3000;
/** A read brings so many bytes at the most, and no fewer than this. */
const READ = { first: 2 ** 21, last: 2 ** 16 };
/** Between two attempts, while nothing answers: doubled from the first to the last. */
const PAUSES = { first: 250, last: 30_000 };
/** Errors that pass: the same is tried again. */
const PASSES = /^(UNREACHABLE|DENIED|ABORTED|STORAGE_FULL)$/;
/** Those that may take long to pass, but need nobody's help: who waits for the whole goes on waiting. */
const WAITS = /^(UNREACHABLE|ABORTED)$/;

export class Hydration {
  #session;
  #hooks;
  #running;
  #coming;
  /** How far it had come when that was told last. */
  #progress = { phase: 'hydrate', bytes: 0, totalBytes: 0, pages: 0, totalPages: 0 };
  /** Tells each who waits for the whole that it does not come. */
  #waiting = new Set();
  #read = READ.first;
  #stop = new AbortController();

  /** `token()` yields one; `alone(change)` lets nothing else change the copy; `again(token)` makes another; `tell(progress)`. */
  constructor(session, hooks) {
    this.#session = session;
    this.#hooks = hooks;
  }

  /** If not all is here. */
  start() {
    if (this.#isPart && !this.#stop.signal.aborted) this.#running ??= this.#run().finally(() => (this.#running = undefined));
  }

  /** Until all is here; fails if what stops it has happened twice, and is nothing that passes by itself. */
  async whole() {
    while ((this.#running || this.#isPart) && !this.#stop.signal.aborted) {
      this.start();
      await new Promise((resolve, reject) => {
        this.#waiting.add(reject);
        this.#running.then(resolve, reject).finally(() => this.#waiting.delete(reject));
      });
    }
  }

  /** Until nothing is on its way. Who waits for that has the next turn, and the way for themselves. */
  async clear() {
    // All that proves a state without a sum comes at one stroke, which is not broken off; who reads beside it asks for themselves.
    if (!this.#coming || this.#session.position()?.sum === null) return;
    const { end, giveUp } = this.#coming;
    this.#session.hold();
    const timer = setTimeout(giveUp, PATIENCE);
    await end.catch(() => {});
    clearTimeout(timer);
  }

  /** Leaves the rest where it is, until `start`. */
  async stop() {
    this.#stop.abort();
    await this.#running;
    this.#stop = new AbortController();
  }

  get #isPart() {
    return this.#session.position()?.whole === false;
  }

  async #run() {
    const { signal } = this.#stop;
    const { token, alone, again } = this.#hooks;
    await elapsed(QUIET, signal);
    for (let pause = PAUSES.first; !signal.aborted && !this.#session.position()?.whole; pause = Math.min(2 * pause, PAUSES.last)) {
      try {
        const given = await token();
        // Without a copy there is nothing to bring: what was here was not what was promised, and all of it comes anew.
        if (!this.#session.position()) await again(given);
        this.#session.authorize(given);
        while (!(await this.#bring(given, signal))) await turn();
        if (this.#isPart) await alone(() => this.#session.prove(turn));
      } catch (error) {
        if (signal.aborted) return;
        this.#hooks.tell({ ...this.#progress, error: told(error) });
        if (pause > PAUSES.first && !WAITS.test(error.code)) for (const fail of this.#waiting) fail(error);
        // What promises no sum can only be brought at one stroke, and is of use to nobody if that is impossible by now.
        if (this.#session.position()?.sum === null && !PASSES.test(error.code)) this.#session.forget();
        else await elapsed(pause, signal);
      }
    }
  }

  /** Whether all is here then. */
  async #bring(token, signal) {
    const given = new AbortController();
    const stop = () => given.abort();
    signal.addEventListener('abort', stop);
    const tell = (progress) => this.#hooks.tell((this.#progress = progress));
    const end = this.#session.hydrate(token, this.#read, tell, given.signal);
    const giveUp = () => {
      this.#read = Math.max(READ.last, this.#read / 4);
      stop();
    };
    this.#coming = { end, giveUp };
    try {
      return await end;
    } catch (error) {
      if (signal.aborted || !given.signal.aborted) throw error;
      return false;
    } finally {
      signal.removeEventListener('abort', stop);
      this.#coming = undefined;
    }
  }
}

/** Others have their turn. */
const turn = () => new Promise((resolve) => setTimeout(resolve));

/** After this long, or when the network is back, or at the end. */
function elapsed(pause, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, pause);
    for (const [target, event] of [[globalThis, 'online'], [signal, 'abort']]) target.addEventListener(event, () => resolve(clearTimeout(timer)), { once: true });
  });
}
