// The leader's side of subscriptions: what is asked again when a page that its answer was read from has changed.
import { closed, told } from './error.js';

export class Subscriptions {
  #session;
  #read;
  #all = new Map();
  #last = 0;

  /** `read(signal, statement)` does what reads the copy. */
  constructor(session, read) {
    this.#session = session;
    this.#read = read;
  }

  /** Remembers a query of a client under the client's own number, and answers it. */
  add(client, [subscription, sql, parameters, limit], signal) {
    this.remove(client, subscription);
    const id = ++this.#last;
    this.#all.set(id, { client, subscription, query: [sql, parameters, limit] });
    return this.#answer(id, signal);
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
      this.#again(id, one);
    }
  }

  /** The network answers: what was missing for want of it is asked for again. */
  retry() {
    for (const [id, one] of this.#all) {
      if (!one.unreached) continue;
      one.unreached = false;
      this.#again(id, one);
    }
  }

  async #again(id, { client, subscription }) {
    const answer = await this.#answer(id).then((result) => ({ result }), (error) => ({ error: told(error) }));
    if (this.#all.has(id)) client.post({ event: 'rows', data: { subscription, ...answer } });
  }

  async #answer(id, signal) {
    const answer = this.#read(signal, () => {
      const one = this.#all.get(id);
      if (!one) throw closed();
      one.failed = true;
      const result = this.#session.watch(id, ...one.query);
      one.failed = false;
      return Object.assign(result, { txid: this.#session.position().txid });
    });
    return answer.catch((error) => {
      if (error.code === 'UNREACHABLE' && this.#all.has(id)) this.#all.get(id).unreached = true;
      throw error;
    });
  }

  #drop(id) {
    this.#all.delete(id);
    this.#session.unwatch(id);
  }
}
