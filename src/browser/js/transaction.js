// All tabs share one connection, so that there can be one transaction at a time: it is of the tab that began it, keeps the
// copy where it is, and ends with the tab.
import { WalferryError } from './error.js';

const BEGINS = /^\s*(begin|savepoint)\b/i;
/** What nobody says who thinks to be in one: a savepoint may be a part of it. */
export const BEGINS_ANEW = /^\s*begin\b/i;
const ENDS = /^\s*(commit|end|rollback(?!\s+(transaction\s+)?to))\b/i;

export class Transaction {
  #isOpen;
  #rollBack;
  #owner;
  #began;
  #moved = new WeakSet();

  /** `isOpen()` says whether SQLite has one, `rollBack()` ends it. */
  constructor(isOpen, rollBack) {
    this.#isOpen = isOpen;
    this.#rollBack = rollBack;
  }

  /** Whether there is one. */
  get begun() {
    return Boolean(this.#owner);
  }

  /** Whether it is this client's. */
  isOf(client) {
    return this.#owner === client;
  }

  /** Runs `query` of a client as a part of it, or beside it. */
  run(sql, client, query) {
    const begins = BEGINS.test(sql);
    const ends = ENDS.test(sql);
    if (this.#moved.delete(client) && !BEGINS_ANEW.test(sql)) throw new WalferryError('POSITION_MOVED', 'the database has moved on, and the transaction has ended with its state; begin again.');
    if ((begins || ends) && this.#owner && this.#owner !== client) throw new WalferryError('SQLITE_BUSY', 'another tab is in a transaction; try again when it has ended.');
    try {
      return query();
    } finally {
      this.note(client);
    }
  }

  /** After whatever a client has run: SQL can begin and end one in more ways than can be seen in it. */
  note(client) {
    if (!this.#isOpen()) this.#owner = undefined;
    else if (!this.#owner) [this.#owner, this.#began] = [client, performance.now()];
  }

  /** Something waits for its end: it ends if it is older than this, in milliseconds. */
  hurry(age) {
    if (!this.#owner || performance.now() - this.#began < age) return;
    this.#moved.add(this.#owner);
    this.forget(this.#owner);
  }

  /** A client has gone, or has had its time. */
  forget(client) {
    if (this.#owner !== client) return;
    this.#owner = undefined;
    try {
      this.#rollBack();
    } catch {
      // it had ended without our seeing it
    }
  }
}
