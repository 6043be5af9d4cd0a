// One client of the leader: a tab, our own or another, and the calls of it that are under way.
import { told } from './error.js';

/** What hears of nothing until it is done. */
const COMPUTES = /^(query|iterate|more|subscribe)/;

export class Client {
  #methods;
  #running = new Map();
  #hooks;

  constructor(post, methods, hooks) {
    this.post = post;
    this.#methods = methods;
    this.#hooks = hooks;
  }

  async take({ id, method, args, heeds, abort }) {
    if (abort) return this.#running.get(abort)?.abort();
    const controller = new AbortController();
    this.#running.set(id, controller);
    try {
      // Whoever waits for a statement can end us, but should know that it is theirs that runs.
      if (heeds && COMPUTES.test(method)) this.post({ id, begun: true });
      const progress = (progress) => this.post({ id, progress });
      const result = await this.#methods.run(method, args, { client: this, signal: controller.signal, progress });
      this.post({ id, result, inside: this.#methods.isInside(this) });
    } catch (error) {
      const { code, message } = told(error);
      this.post({ id, error: { code, message }, inside: this.#methods.isInside(this) });
      // After a fault of its own nothing in the worker can be relied on; its end lets go of the files.
      if (code === 'INTERNAL') this.#hooks.broken();
    } finally {
      this.#running.delete(id);
    }
  }

  /** It has gone: what it asked for is of use to nobody. */
  dismiss() {
    for (const controller of this.#running.values()) controller.abort();
    this.#methods.forget(this);
    this.#hooks.dismissed();
  }
}
