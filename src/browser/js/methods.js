// What can be asked of the leader.
import { closed } from './error.js';
import { Live } from './live.js';
import { Subscriptions } from './subscriptions.js';
import { Updates } from './updates.js';

export class Methods {
  #session;
  #tell;
  #updates;
  #live;
  #subscriptions = new Subscriptions((...query) => this.query(query));
  #followers = new Set();
  #ended = false;

  /** Whether the copy is gone. */
  deleted = false;

  /** `token()` yields one from our page; `tell(event, data)` tells all clients. */
  constructor(session, place, { token, tell }) {
    this.#session = session;
    this.#tell = tell;
    this.#updates = new Updates(async (anew, token, progress, signal) => {
      const before = session.position()?.txid;
      try {
        return await session.update(anew, progress, signal);
      } finally {
        this.#moved(before);
      }
    });
    const silent = { progress: () => {}, signal: new AbortController().signal };
    this.#live = new Live(place, {
      token,
      position: () => session.position(),
      push: async () => false,
      refresh: (token) => this.#updates.run({ anew: false, token }, silent),
      told: (state) => tell('follow', state),
    });
  }

  /** What a new client should know. */
  news() {
    return { position: this.#session.position(), follow: this.#live.state };
  }

  query([sql, parameters, limit]) {
    const result = this.#session.query(sql, parameters, limit);
    return Object.assign(result, { txid: this.#session.position().txid });
  }

  /** Answers it now, and again when the answer has changed. */
  subscribe(query, { client }) {
    return this.#subscriptions.add(client, query);
  }

  unsubscribe([id], { client }) {
    this.#subscriptions.remove(client, id);
  }

  update([anew, token], { signal, progress }) {
    return this.#updates.run({ anew, token }, { signal, progress });
  }

  /** As long as anybody wants to. */
  follow([follows], { client }) {
    this.#followers[follows ? 'add' : 'delete'](client);
    if (this.#followers.size) this.#live.start();
    else this.#live.stop();
    return this.#live.state;
  }

  // All at once: nothing is applied in between.
  export() {
    const parts = [];
    let at = 0;
    for (let part; (part = this.#session.read(at, 1 << 22)).length; at += part.length) parts.push(new Blob([part]));
    return new Blob(parts, { type: 'application/vnd.sqlite3' });
  }

  async delete(_, { client }) {
    await this.#end();
    await this.#session.delete();
    this.deleted = true;
    this.#tell('deleted', undefined, client);
  }

  /** A client has gone. */
  forget(client) {
    this.#subscriptions.forget(client);
    if (this.#followers.has(client)) this.follow([false], { client });
  }

  async close() {
    if (this.#ended) return;
    await this.#end();
    this.#session.free();
  }

  /** Does `method`, unless all is over. */
  async run(method, args, call) {
    if (this.#ended) throw closed();
    return this[method](args, call);
  }

  async #end() {
    this.#ended = true;
    this.#live.stop();
    this.#session.end_statements();
    await this.#updates.stop();
  }

  #moved(before) {
    const position = this.#session.position();
    if (position?.txid === before) return;
    this.#tell('position', position);
    this.#subscriptions.moved();
  }
}
