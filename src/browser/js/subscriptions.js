// The leader's side of subscriptions: what is asked again when the state has moved.
import { told } from './error.js';

export class Subscriptions {
  #query;
  #all = new Map();

  /** `query(sql, parameters, limit)` answers one. */
  constructor(query) {
    this.#query = query;
  }

  /** Remembers a query of a client under `id`, and answers it. */
  add(client, [id, ...query]) {
    const ofClient = this.#all.get(client) ?? new Map();
    this.#all.set(client, ofClient.set(id, query));
    return this.#query(...query);
  }

  remove(client, id) {
    this.#all.get(client)?.delete(id);
  }

  /** A client has gone. */
  forget(client) {
    this.#all.delete(client);
  }

  /** Another state is here. */
  moved() {
    for (const [client, queries] of this.#all) {
      for (const [subscription, query] of queries) {
        client.post({ event: 'rows', data: { subscription, ...this.#answer(query) } });
      }
    }
  }

  #answer(query) {
    try {
      return { result: this.#query(...query) };
    } catch (error) {
      return { error: told(error) };
    }
  }
}
