// The rest of a copy that is read already: it is brought behind those who read, proven, and whole then.

/** Between two attempts, while nothing answers: doubled from the first to the last. */
const PAUSES = { first: 250, last: 30_000 };

export class Hydration {
  #session;
  #hooks;
  #running;
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

  /** Until all is here. */
  async whole() {
    while (this.#isPart && !this.#stop.signal.aborted) {
      this.start();
      await this.#running;
    }
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
    const { token, alone, again, tell } = this.#hooks;
    for (let pause = PAUSES.first; !signal.aborted; pause = Math.min(2 * pause, PAUSES.last)) {
      try {
        // Without a copy there is nothing to bring: what was here was not what was promised, and all of it comes anew.
        if (this.#session.position()) {
          await this.#session.hydrate(await token(), tell, signal);
          await alone(() => this.#session.prove(turn));
        } else await again(await token());
        return;
      } catch {
        if (!signal.aborted) await elapsed(pause, signal);
      }
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
