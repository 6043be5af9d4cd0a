// The rest of a database that answers already: how much of it has come, how fast, how long yet.
import { element, show, text } from './dom.js';
import { bytes } from './format.js';
import { Rate } from './rate.js';

export class Rest {
  #db;
  #rate;

  open(db) {
    this.close();
    this.#db = db;
    this.#rate = new Rate();
    this.#move(0);
    text('rest-figures', '');
    for (const event of ['position', 'whole']) db.addEventListener(event, this.#show);
    db.addEventListener('progress', this.#report);
    this.#show();
  }

  close() {
    for (const event of ['position', 'whole']) this.#db?.removeEventListener(event, this.#show);
    this.#db?.removeEventListener('progress', this.#report);
    this.#db = undefined;
  }

  #show = () => show('rest', this.#db.position?.whole === false);

  #report = ({ detail: { bytes: done, totalBytes, pages, totalPages, error } }) => {
    if (error) return text('rest-figures', `It does not come now: ${error.message} It is tried again by itself.`);
    const words = this.#rate.words(done, totalBytes);
    text('rest-figures', [`${bytes(done)} of ${bytes(totalBytes)}`, words?.rate, words && `${words.left} left`].filter(Boolean).join(' · '));
    this.#move(totalPages ? pages / totalPages : 1);
  };

  #move(part) {
    const bar = element('rest-bar');
    bar.style.setProperty('--done', part);
    bar.setAttribute('aria-valuenow', Math.round(part * 100));
  }
}
