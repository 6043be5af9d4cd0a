// The leader's side of subscriptions: what is asked again when a page that its answer was read from has changed.
import { told } from './error.js';

export class Subscriptions {
  #session;
  #all = new Map();
  #last = 0;

  constructor(session) {
    this.#session = session;
  }

  /** Remembers a query of a client under the client's own number, and answers it. */
  add(client, [subscription, sql, parameters, limit]) {
    this.remove(client, subscription);
    const id = ++this.#last;
    this.#all.set(id, { client, subscription, query: [sql, parameters, limit] });
    return this.#answer(id);
  }

  remove(client, subscription) {
    for (const [id, one] of this.#all) if (one.client === client && one.subscription === subscription) this.#drop(id);
  }

  /** A client has gone. */
  forget(client) {
    for (const [id, one] of this.#all) if (one.client === client) this.#drop(id);
  }

  /** Another state is here. */
  moved() {
    const concerned = new Set(this.#session.concerned());
    for (const [id, one] of this.#all) {
      // One that has failed was not read from anything yet.
      if (!concerned.has(id) && !one.failed) continue;
      one.client.post({ event: 'rows', data: { subscription: one.subscription, ...this.#again(id) } });
    }
  }

  #again(id) {
    try {
      return { result: this.#answer(id) };
    } catch (error) {
      return { error: told(error) };
    }
  }

  #answer(id) {
    const one = this.#all.get(id);
    one.failed = true;
    const result = this.#session.watch(id, ...one.query);
    one.failed = false;
    return Object.assign(result, { txid: this.#session.position().txid });
  }

  #drop(id) {
    this.#all.delete(id);
    this.#session.unwatch(id);
  }
}
