// Changes of the copy, one at a time, whoever asks. All who ask for the newest state while it is on its way get that.
import { aborted } from './error.js';

export class Updates {
  #update;
  #running;

  /** `update(what, progress, signal)` brings the copy to the newest state. */
  constructor(update) {
    this.#update = update;
  }

  /** `anew` replaces what there is; `atOnce` makes do with a part where there is nothing. */
  async run({ anew, ...what }, { progress, signal }) {
    const shared = () => this.#running?.isShared && !this.#running.stopped;
    // A replacement is not shared with those who asked for less.
    while (this.#running && (anew || !shared())) await this.#settled();
    if (signal.aborted) throw aborted(); // given up while it waited
    this.#running ??= this.#start(new Running((...watching) => this.#update({ anew, ...what }, ...watching)));
    return this.#running.join(progress, signal);
  }

  /** Any other change. */
  async alone(change) {
    while (this.#running) await this.#settled();
    return (this.#running = this.#start(new Running(change, false))).end;
  }

  /** Stops what is under way, and waits for its end. */
  async stop() {
    this.#running?.stop();
    while (this.#running) await this.#settled();
  }

  #settled() {
    return this.#running.end.catch(() => {});
  }

  #start(running) {
    const over = () => (this.#running = undefined);
    running.end.then(over, over);
    return running;
  }
}

/** One change, and those who wait for it. When the last of them has given up, it is stopped. */
class Running {
  #controller = new AbortController();
  #watchers = new Set();
  #waiting = 0;

  constructor(change, isShared = true) {
    this.isShared = isShared;
    this.end = change((progress) => this.#watchers.forEach((watch) => watch(progress)), this.#controller.signal);
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
