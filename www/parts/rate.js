// How fast something comes, and when all of it is there.
import { bytes, duration } from './format.js';

/** Rates are of the last seconds, not of all. */
const WINDOW = 3000;

export class Rate {
  #samples = [];

  /** So much has come by now, of so much: the rate and the time that is left, in words; nothing before they are known. */
  words(done, total) {
    const now = performance.now();
    this.#samples = this.#samples.filter(({ at }) => now - at < WINDOW);
    this.#samples.push({ at: now, done });
    const [{ at, done: before }] = this.#samples;
    const rate = now - at > 50 ? ((done - before) / (now - at)) * 1000 : 0;
    return rate ? { rate: `${bytes(rate)}/s`, left: duration(((total - done) / rate) * 1000) } : undefined;
  }
}
