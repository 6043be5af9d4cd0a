// The database as it was, as a page has it. Made by `openAt`.
import { WalferryError, closed } from './error.js';
import { checkQuery } from './options.js';
import { objects } from './rows.js';

export class Past {
  #ask;
  #closed = false;

  /** Which state this is. */
  position;

  /** `ask(method, at, rest, options)` asks of the state at `at`. */
  static async open(timestamp, ask, options) {
    const past = new Past();
    past.#ask = ask;
    past.position = await ask('moment', { timestamp: written(timestamp) }, [], options);
    return past;
  }

  /** Runs one SQL statement. */
  async query(sql, parameters, { limit, signal } = {}) {
    if (this.#closed) throw closed();
    checkQuery(sql, limit);
    return this.#ask('queryMoment', { txid: this.position.txid }, [sql, parameters, limit], { signal });
  }

  /** The rows of `query` as objects. */
  async objects(sql, parameters, options) {
    return objects(await this.query(sql, parameters, options));
  }

  close() {
    this.#closed = true;
  }
}

/** A time as the Worker reads it. */
function written(timestamp) {
  const time = new Date(timestamp);
  if (Number.isNaN(time.getTime())) throw new WalferryError('INVALID', `${timestamp} is not a time: a Date, milliseconds since 1970, or 2026-01-31T12:00:00Z.`);
  return time.toISOString();
}
