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
    const moment = this.#at(at, token);
    return Object.assign(moment.query(sql, parameters, limit), { txid: moment.position().txid });
  }

  close() {
    for (const moment of this.#open.values()) moment.free();
    this.#open.clear();
  }

  #at({ txid, timestamp }, token) {
    const { url, database } = this.#place;
    const known = this.#open.get(txid);
    if (known) return this.#last(txid, known);
    const moment = Moment.open(url, database, token, txid ? `txid=${txid}` : `timestamp=${encodeURIComponent(timestamp)}`);
    const found = moment.position().txid;
    const same = this.#open.get(found);
    if (same) moment.free();
    return this.#last(found, same ?? moment);
  }

  #last(txid, moment) {
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
