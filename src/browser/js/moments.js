// States of the database beside the copy, read where they lie: those that were asked for last are kept open.
import { Moment } from './engine.js';

const KEPT = 4;

export class Moments {
  #place;
  #open = new Map();

  constructor(place) {
    this.#place = place;
  }

  /** Which state that is: the one of a transaction, or the last one at or before a time. */
  position([at, token]) {
    return this.#at(at, token).position();
  }

  query([at, token, sql, parameters, limit]) {
    const run = () => Object.assign(this.#at(at, token).query(sql, parameters, limit), { txid: at.txid });
    try {
      return run();
    } catch (error) {
      // Where its pages were, they were merged and deleted: where they are now is asked once more.
      const gone = error.code === 'NOT_FOUND' && this.#open.get(at.txid);
      if (!gone) throw error;
      this.#open.delete(at.txid);
      gone.free();
      return run();
    }
  }

  close() {
    for (const moment of this.#open.values()) moment.free();
    this.#open.clear();
  }

  #at({ txid, timestamp }, token) {
    const { url, database } = this.#place;
    const known = this.#open.get(txid);
    if (known) return this.#last(txid, known, token);
    const moment = Moment.open(url, database, token, txid ? `txid=${txid}` : `timestamp=${encodeURIComponent(timestamp)}`);
    moment.token = token;
    const found = moment.position().txid;
    const same = this.#open.get(found);
    if (same) moment.free();
    return this.#last(found, same ?? moment, token);
  }

  #last(txid, moment, token) {
    if (moment.token !== token) moment.authorize((moment.token = token));
    this.#open.delete(txid);
    this.#open.set(txid, moment);
    if (this.#open.size > KEPT) {
      const [[oldest, least]] = this.#open;
      this.#open.delete(oldest);
      least.free();
    }
    return moment;
  }
}
