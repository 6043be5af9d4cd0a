// The restore on its way: how far, how fast, how long yet.
import { element, text } from './dom.js';
import { bytes, duration, number } from './format.js';

/** Rates are of the last seconds, not of all. */
const WINDOW = 3000;

export class Crossing {
  #stop;
  #samples = [];

  constructor() {
    element('crossing-stop').addEventListener('click', () => this.#stop?.abort());
  }

  start({ url, database }, stop) {
    this.#stop = stop;
    this.#samples = [];
    text('crossing-title', `Looking for ${database}`);
    text('crossing-from', url.replace(/^https?:\/\//, ''));
    for (const figure of ['bytes', 'pages', 'rate', 'left']) text(`crossing-${figure}`, '–');
    for (const total of ['bytes-total', 'pages-total']) text(`crossing-${total}`, '');
    this.#move(0);
  }

  report({ phase, bytes: done, totalBytes, pages, totalPages }) {
    const now = performance.now();
    this.#samples = this.#samples.filter(({ at }) => now - at < WINDOW);
    this.#samples.push({ at: now, done });
    const [{ at, done: before }] = this.#samples;
    const rate = now - at > 50 ? ((done - before) / (now - at)) * 1000 : 0;
    text('crossing-title', phase === 'restore' ? 'Restoring' : 'Bringing what is new');
    text('crossing-bytes', bytes(done));
    text('crossing-bytes-total', ` of ${bytes(totalBytes)}`);
    text('crossing-pages', number(pages));
    text('crossing-pages-total', ` of ${number(totalPages)}`);
    text('crossing-rate', rate ? `${bytes(rate)}/s` : '–');
    text('crossing-left', rate ? duration(((totalBytes - done) / rate) * 1000) : '–');
    this.#move(totalPages ? pages / totalPages : 1);
  }

  #move(part) {
    const water = element('water');
    water.style.setProperty('--done', part);
    water.setAttribute('aria-valuenow', Math.round(part * 100));
  }
}
