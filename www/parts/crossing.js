// The restore on its way: how far, how fast, how long yet.
import { element, text } from './dom.js';
import { bytes, number } from './format.js';
import { Rate } from './rate.js';

export class Crossing {
  #stop;
  #rate;

  constructor() {
    element('crossing-stop').addEventListener('click', () => this.#stop?.abort());
  }

  start({ url, database }, stop) {
    this.#stop = stop;
    this.#rate = new Rate();
    text('crossing-title', `Looking for ${database}`);
    text('crossing-from', url.replace(/^https?:\/\//, ''));
    for (const figure of ['bytes', 'pages', 'rate', 'left']) text(`crossing-${figure}`, '–');
    for (const total of ['bytes-total', 'pages-total']) text(`crossing-${total}`, '');
    this.#move(0);
  }

  report({ phase, bytes: done, totalBytes, pages, totalPages }) {
    const { rate = '–', left = '–' } = this.#rate.words(done, totalBytes) ?? {};
    text('crossing-title', phase === 'restore' ? 'Restoring' : 'Bringing what is new');
    text('crossing-bytes', bytes(done));
    text('crossing-bytes-total', ` of ${bytes(totalBytes)}`);
    text('crossing-pages', number(pages));
    text('crossing-pages-total', ` of ${number(totalPages)}`);
    text('crossing-rate', rate);
    text('crossing-left', left);
    this.#move(totalPages ? pages / totalPages : 1);
  }

  #move(part) {
    const water = element('water');
    water.style.setProperty('--done', part);
    water.setAttribute('aria-valuenow', Math.round(part * 100));
  }
}
