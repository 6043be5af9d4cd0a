// Updates of the copy, one at a time, whoever asks: all who ask while one is under way get its result.

export class Updates {
  #update;
  #running;

  /** `update(anew, token, progress, signal)` does it. */
  constructor(update) {
    this.#update = update;
  }

  async run({ anew, token }, { progress, signal }) {
    // A replacement is not shared with those who asked for less.
    if (anew || this.#running?.stopped) await this.#settled();
    if (!this.#running) this.#start(anew, token);
    return this.#running.join(progress, signal);
  }

  /** Stops what is under way, and waits for its end. */
  async stop() {
    this.#running?.stop();
    await this.#settled();
  }

  async #settled() {
    while (this.#running) await this.#running.end.catch(() => {});
  }

  #start(anew, token) {
    const running = new Running((progress, signal) => this.#update(anew, token, progress, signal));
    this.#running = running;
    const over = () => (this.#running = undefined);
    running.end.then(over, over);
  }
}

/** One update, and those who wait for it. When the last of them has given up, it is stopped. */
class Running {
  #controller = new AbortController();
  #watchers = new Set();
  #waiting = 0;

  constructor(update) {
    this.end = update((progress) => this.#watchers.forEach((watch) => watch(progress)), this.#controller.signal);
  }

  get stopped() {
    return this.#controller.signal.aborted;
  }

  stop() {
    this.#controller.abort();
  }

  async join(progress, signal) {
    const leave = () => --this.#waiting || this.stop();
    this.#waiting += 1;
    this.#watchers.add(progress);
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await this.end;
    } finally {
      this.#watchers.delete(progress);
      signal.removeEventListener('abort', leave);
    }
  }
}
