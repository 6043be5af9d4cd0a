// The rows of a query: as arrays, as objects, all at once or a batch at a time.
import { moved } from './error.js';
import { checkQuery } from './options.js';

/** Rows of a batch: enough that the way costs little, few enough that a page can draw in between. */
const BATCH = 500;

/** The rows of a result as objects; of two columns of one name the last counts. */
export function objects({ columns, rows }) {
  return rows.map((row) => object(columns, row));
}

/** The rows of a query, as arrays, one after the other; each loop over it runs the query anew. */
export class Rows {
  #remote;
  #query;
  #options;

  constructor(remote, sql, parameters, { signal, batch = BATCH } = {}) {
    checkQuery(sql, batch, 1);
    this.#remote = remote;
    this.#query = [sql, parameters];
    this.#options = { signal, batch };
  }

  async *[Symbol.asyncIterator]() {
    for await (const { rows } of this.#batches()) yield* rows;
  }

  /** The same as objects. */
  async *objects() {
    for await (const { columns, rows } of this.#batches()) for (const row of rows) yield object(columns, row);
  }

  async *#batches() {
    const { signal, batch } = this.#options;
    let at = await this.#remote.call('iterate', [...this.#query, { batch }], { signal });
    const { columns, txid } = at;
    let seen = 0;
    try {
      for (;;) {
        seen += at.rows.length;
        // The next is read while this one is looked at.
        const next = at.done ? undefined : this.#next(at.cursor, seen, txid);
        next?.catch(() => {}); // it is awaited below, or nobody wants it
        yield { columns, rows: at.rows };
        if (!next) return;
        at = await next;
      }
    } finally {
      if (!at.done) this.#remote.call('leave', [at.cursor]).catch(() => {});
    }
  }

  async #next(cursor, seen, txid) {
    const { signal, batch } = this.#options;
    try {
      return { cursor, ...(await this.#remote.call('more', [cursor, batch], { signal, again: false })) };
    } catch (error) {
      if (error.code !== 'POSITION_MOVED') throw error;
      // Another leads now. At the same state the same query yields the same rows.
      const again = await this.#remote.call('iterate', [...this.#query, { batch, skip: seen }], { signal });
      if (again.txid === txid) return again;
      throw moved();
    }
  }
}

function object(columns, row) {
  return Object.fromEntries(row.map((value, index) => [columns[index], value]));
}
