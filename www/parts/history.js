// What was asked before, the newest first; kept in this browser, for each database.
import { element, make } from './dom.js';

const MOST = 100;

export class History {
  #key;
  #asked = [];
  #at = -1;
  #draft = '';

  /** `take(sql)` gets what is chosen from the list. */
  constructor(take) {
    element('history').addEventListener('change', ({ target }) => {
      const chosen = this.#asked[Number(target.value)];
      target.selectedIndex = 0;
      if (chosen !== undefined) take(chosen);
    });
  }

  open({ url, database }) {
    this.#key = `walferry.history ${new URL(url).host} ${database}`;
    try {
      this.#asked = JSON.parse(localStorage.getItem(this.#key)) ?? [];
    } catch {
      this.#asked = [];
    }
    this.#at = -1;
    this.#show();
  }

  /** The newest that was answered. */
  get last() {
    return this.#asked.find((sql) => sql === localStorage.getItem(`${this.#key} answered`));
  }

  answered(sql) {
    try {
      localStorage.setItem(`${this.#key} answered`, sql);
    } catch {
      // The next visit begins as the first.
    }
  }

  add(sql) {
    this.#at = -1;
    if (!sql.trim() || sql === this.#asked[0]) return;
    this.#asked = [sql, ...this.#asked.filter((one) => one !== sql)].slice(0, MOST);
    try {
      localStorage.setItem(this.#key, JSON.stringify(this.#asked));
    } catch {
      // Full, or closed to us: then it lasts as long as the page.
    }
    this.#show();
  }

  /** What was asked before what is shown now; nothing at the end. */
  older(current) {
    if (this.#at + 1 >= this.#asked.length) return undefined;
    if (this.#at < 0) this.#draft = current;
    if (this.#at < 0 && this.#asked[0] === current && this.#asked.length > 1) this.#at = 0;
    return this.#asked[++this.#at];
  }

  newer() {
    if (this.#at < 0) return undefined;
    this.#at -= 1;
    return this.#at < 0 ? this.#draft : this.#asked[this.#at];
  }

  #show() {
    const options = this.#asked.map((sql, index) => {
      const option = make('option', '', sql.replaceAll(/\s+/g, ' ').slice(0, 90));
      option.value = index;
      return option;
    });
    element('history').replaceChildren(make('option', '', 'History'), ...options);
    element('history').disabled = !options.length;
  }
}
