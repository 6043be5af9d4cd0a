// A database as its pages, and the segments that a client would send of it.
import { databaseSum, encode, hex16 } from './ltx.mjs';

export const START = 1_700_000_000_000;

export class Database {
  txid = 0n;
  pages = [];

  constructor({ pageSize = 512 } = {}) {
    this.pageSize = pageSize;
  }

  get sum() {
    return databaseSum(this.pages);
  }

  get position() {
    return { txid: hex16(this.txid), sum: hex16(this.sum) };
  }

  /** A page that no other is like. */
  page(seed) {
    const page = Buffer.alloc(this.pageSize);
    for (let index = 0, state = seed >>> 0; index < page.length; index++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      page[index] = state >>> 24;
    }
    return page;
  }

  /** The next segment: these pages change ({number: content}), in `count` transactions. */
  next(changes = { 1: this.page(Number(this.txid) + 1) }, { count = 1n, commit, ...others } = {}) {
    const before = this.sum;
    for (const [pgno, page] of Object.entries(changes)) this.pages[pgno - 1] = page;
    if (commit !== undefined) this.pages.length = commit;
    const min = this.txid + 1n;
    this.txid += count;
    const pages = Object.keys(changes).map(Number).sort((a, b) => a - b).map((pgno) => [pgno, changes[pgno]]);
    return this.segment(0, { min, before, pages, ...others });
  }

  /** The whole database as a snapshot. */
  snapshot(others = {}) {
    return this.segment(9, { min: 1n, before: 0n, pages: this.pages.map((page, index) => [index + 1, page]), ...others });
  }

  segment(level, fields) {
    const all = {
      pageSize: this.pageSize,
      commit: this.pages.length,
      max: this.txid,
      timestamp: START + Number(this.txid) * 1000,
      after: this.sum,
      ...fields,
    };
    return { name: `${level}/${hex16(all.min)}-${hex16(all.max)}.ltx`, bytes: encode(all), position: this.position };
  }

  /** As it is now; the copy goes its own way. */
  copy() {
    const copy = new Database(this);
    copy.txid = this.txid;
    copy.pages = [...this.pages];
    return copy;
  }
}
