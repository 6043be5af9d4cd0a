// What can be asked of the leader.
import { aborted, closed, moved } from './error.js';
import { Hydration } from './hydration.js';
import { Live } from './live.js';
import { Moments } from './moments.js';
import { until } from './signal.js';
import { Subscriptions } from './subscriptions.js';
import { Transaction } from './transaction.js';
import { Updates } from './updates.js';

/** How long the copy waits for what is being read, in milliseconds. */
const HOLD = 5000;
/** Between two looks whether it may change. */
const LOOK = 50;

/** Nobody watches. */
const silent = () => ({ progress: () => {}, signal: new AbortController().signal });

export class Methods {
  #session;
  #tell;
  #token;
  #updates;
  #live;
  #hydration;
  #subscriptions;
  #moments;
  #transaction = new Transaction(() => this.#session.is_in_transaction(), () => this.#session.query('rollback'));
  #followers = new Set();
  #cursors = new Map();

  /** Whether all is over, and whether the copy is gone. */
  ended = false;
  deleted = false;

  /** `token()` yields one from our page; `tell(event, data)` tells all clients. */
  constructor(session, place, { token, tell }) {
    this.#session = session;
    this.#subscriptions = new Subscriptions(session, (...what) => this.#read(...what));
    this.#moments = new Moments(place);
    this.#tell = tell;
    this.#token = token;
    this.#updates = new Updates((...what) => this.#move(() => this.#bring(...what)));
    this.#hydration = new Hydration(session, {
      token,
      alone: (change) => this.#updates.alone(() => this.#move(change)),
      again: (token) => this.#updates.run({ token, atOnce: true }, silent()),
      tell: (progress) => {
        if (!progress.error) this.#subscriptions.retry();
        tell('progress', progress);
      },
    });
    this.#live = new Live(place, {
      token,
      position: () => session.position(),
      push: (segment) => this.#updates.alone(() => this.#move(async () => (await this.#settled(), session.push(segment)))),
      refresh: (token) => this.#updates.run({ anew: false, token }, silent()),
      told: (state) => {
        if (state?.connected) {
          // A copy that was opened without the network leaves the rest where it is, until here.
          this.#hydration.start();
          this.#subscriptions.retry();
        }
        tell('follow', state);
      },
    });
  }

  /** What was not whole when the last leader has ended. Where its page was `opened`, there was something. */
  async resume({ offline, opened }) {
    const position = this.#session.position();
    if (offline || position?.whole || !(position || opened)) return;
    try {
      const token = await this.#token();
      if (position) this.#session.authorize(token);
      else await this.#updates.run({ token, atOnce: true }, silent());
      this.#hydration.start();
    } catch {
      // whoever asks is told
    }
  }

  /** What a new client should know. */
  news() {
    return { position: this.#session.position(), follow: this.#live.state };
  }

  query([sql, parameters, limit], { client, signal }) {
    return this.#read(signal, () => {
      const result = this.#transaction.run(sql, client, () => this.#session.query(sql, parameters, limit));
      return Object.assign(result, { txid: this.#session.position().txid });
    });
  }

  /** Whether this client is in a transaction. */
  isInside(client) {
    return this.#transaction.isOf(client);
  }

  /** The first rows of a query, and a cursor for the rest. */
  iterate([sql, parameters, { batch, skip = 0 }], { client, signal }) {
    return this.#read(signal, () => {
      const cursor = this.#session.cursor(sql, parameters, skip);
      this.#cursors.set(cursor, { client, opened: performance.now() });
      return { txid: this.#session.position().txid, ...this.#more(cursor, batch, client) };
    });
  }

  async more([cursor, batch], { client, signal }) {
    // A statement that has begun would not survive that it cannot go on.
    await until(this.#hydration.clear(), signal);
    try {
      return this.#more(cursor, batch, client);
    } catch (error) {
      throw error.code === 'ON_ITS_WAY' ? moved() : error;
    }
  }

  leave([cursor]) {
    this.#session.leave(cursor);
    this.#cursors.delete(cursor);
  }

  /** Which state was there at a time. */
  moment(args) {
    return this.#moments.position(args);
  }

  queryMoment(args) {
    return this.#moments.query(args);
  }

  /** Answers it now, and again when the answer has changed. */
  subscribe(query, { client, signal }) {
    return this.#subscriptions.add(client, query, signal);
  }

  unsubscribe([id], { client }) {
    this.#subscriptions.remove(client, id);
  }

  update([anew, token, atOnce], { signal, progress }) {
    return this.#updates.run({ anew, token, atOnce }, { signal, progress });
  }

  /** Until all of it is here. */
  async whole() {
    await this.#hydration.whole();
    if (this.ended) throw closed();
    return this.#session.position();
  }

  /** As long as anybody wants to. */
  follow([follows], { client }) {
    this.#followers[follows ? 'add' : 'delete'](client);
    if (this.#followers.size) this.#live.start();
    else this.#live.stop();
    return this.#live.state;
  }

  // All at once: nothing is applied in between.
  async export() {
    await this.whole();
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
    if (this.ended) return;
    this.#subscriptions.forget(client);
    this.#transaction.forget(client);
    for (const [cursor, { client: its }] of this.#cursors) if (its === client) this.leave([cursor]);
    if (this.#followers.has(client)) this.follow([false], { client });
  }

  async close() {
    if (this.ended) return;
    await this.#end();
    this.#session.free();
  }

  /** Does `method`, unless all is over. */
  async run(method, args, call) {
    if (this.ended) throw closed();
    return this[method](args, call);
  }

  async #end() {
    this.ended = true;
    this.#live.stop();
    this.#session.end_statements();
    this.#moments.close();
    await this.#hydration.stop();
    await this.#updates.stop();
  }

  async #bring({ anew, token, atOnce }, progress, signal) {
    const session = this.#session;
    // What is brought behind would be of another copy.
    if (anew) await this.#hydration.stop();
    if (!anew) await this.#settled(signal);
    const begins = atOnce && !anew && !session.position();
    const position = await (begins ? session.begin(token, signal) : session.update(Boolean(anew), token, progress, signal));
    this.#hydration.start();
    return position;
  }

  /** Nothing is applied to a copy that no sum proves, until it is whole. */
  async #settled(signal) {
    while (this.#session.position()?.sum === null) {
      if (this.ended || signal?.aborted) throw aborted();
      await new Promise((resolve) => setTimeout(resolve, LOOK));
    }
  }

  /** Reads the copy; again, if that needs what is on its way behind, when it is here. */
  async #read(signal, statement) {
    // A transaction ends with a statement that cannot go on.
    if (this.#transaction.begun) await until(this.#hydration.clear(), signal);
    for (;;) {
      if (this.ended) throw closed();
      try {
        return statement();
      } catch (error) {
        if (error.code !== 'ON_ITS_WAY') throw error;
        this.#transaction.hurry(0);
        await until(this.#hydration.clear(), signal);
      }
    }
  }

  #more(cursor, batch, client) {
    try {
      const rows = this.#session.more(cursor, batch);
      if (rows.done) this.#cursors.delete(cursor);
      return { cursor, ...rows };
    } catch (error) {
      this.#cursors.delete(cursor);
      throw error;
    } finally {
      this.#transaction.note(client);
    }
  }

  /** Tells everybody when this has brought another state, even where it failed in the end. */
  async #move(change) {
    const before = this.#session.position();
    let awaited;
    // Cursors and a transaction keep the copy where it is. Not for ever: who goes on then is told, or reads on from another.
    const hurry = setInterval(() => {
      // What is on its way still takes nothing away from who reads.
      if (!this.#session.is_awaited()) return (awaited = undefined);
      awaited ??= performance.now();
      this.#transaction.hurry(HOLD);
      for (const [cursor, { opened }] of this.#cursors) if (performance.now() - opened > HOLD) this.leave([cursor]);
      // Nobody's: a pragma can make SQLite keep its lock.
      const isNobodys = !this.#transaction.begun && !this.#cursors.size && this.#session.is_being_read();
      if (isNobodys && performance.now() - awaited > HOLD) this.#session.end_statements();
    }, HOLD / 10);
    try {
      return await change();
    } finally {
      clearInterval(hurry);
      const position = this.#session.position();
      const moved = position?.txid !== before?.txid || position?.sum !== before?.sum;
      if (moved || position?.whole !== before?.whole) {
        this.#tell('position', position);
        if (moved) this.#subscriptions.moved();
      }
    }
  }
}
