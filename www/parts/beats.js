// What came in the last minutes, second by second: transactions, and how old they were when they were here.

/** Seconds that are kept. */
export const SPAN = 180;

export class Beats {
  #seconds = new Map();
  #txid;

  /** Counting starts at this position. */
  start({ txid }) {
    this.#seconds.clear();
    this.#txid = BigInt(`0x${txid}`);
  }

  /** The copy is at another position, now. */
  moved({ txid, timestamp }, now = Date.now()) {
    const at = BigInt(`0x${txid}`);
    const count = Number(at - this.#txid);
    this.#txid = at;
    // Another history: nothing to count from.
    if (count <= 0) return;
    const second = this.#at(now);
    second.transactions += count;
    // Clocks differ: what seems to come from the future came at once.
    second.lag = Math.max(second.lag ?? 0, now - timestamp, 0);
  }

  /** Nothing comes: by how many milliseconds the copy may be behind. */
  silent(lag, now = Date.now()) {
    if (lag > 0 && Number.isFinite(lag)) this.#at(now).lag = Math.max(this.#at(now).lag ?? 0, lag);
  }

  /** `[seconds, transactions, lags]`, as a chart wants it; no lag where nothing came. */
  columns(now = Date.now()) {
    const last = Math.floor(now / 1000);
    const times = Array.from({ length: SPAN }, (_, index) => last - SPAN + 1 + index);
    for (const time of this.#seconds.keys()) if (time < times[0]) this.#seconds.delete(time);
    return [times, times.map((time) => this.#seconds.get(time)?.transactions ?? 0), times.map((time) => this.#seconds.get(time)?.lag ?? null)];
  }

  #at(now) {
    const time = Math.floor(now / 1000);
    if (!this.#seconds.has(time)) this.#seconds.set(time, { transactions: 0, lag: undefined });
    return this.#seconds.get(time);
  }
}
