// All databases of a Worker: how far behind each is, how large, who follows. For those with an admin's token.
import { element, make, show, text } from './dom.js';
import { bytes, duration, elapsed, number, plural } from './format.js';
import { sentence } from './notice.js';
import { databases } from './worker.js';

const LOOK = 5000;

export class Fleet {
  #place;
  #open;
  #timer;
  #shown;

  /** `open(name)` when one is chosen. */
  constructor(open) {
    this.#open = open;
  }

  /** Shows them; rejects if that cannot be. */
  async start(place) {
    this.stop();
    this.#place = place;
    this.#shown = undefined;
    const all = await databases(place);
    if (place !== this.#place) return;
    text('fleet-host', new URL(place.url).host);
    this.#show(all);
    this.#later(place);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#place = undefined;
  }

  #later(place) {
    this.#timer = setTimeout(async () => {
      try {
        const all = document.hidden ? undefined : await databases(place);
        if (place !== this.#place) return;
        if (all) this.#show(all);
      } catch (error) {
        if (place !== this.#place) return;
        text('fleet-sum', `${sentence(error)} This is how they were.`);
      }
      this.#later(place);
    }, LOOK);
  }

  #show(all) {
    show('fleet-empty', !all.length);
    show('fleet-table', Boolean(all.length));
    text('fleet-sum', `${plural(all.length, 'database')}, ${bytes(all.reduce((sum, { bytes }) => sum + bytes, 0))} kept`);
    const names = String(all.map(({ name }) => name));
    if (names !== this.#shown) {
      this.#shown = names;
      element('fleet-rows').replaceChildren(...all.map(({ name }) => this.#row(name)));
    }
    all.forEach((report, index) => fill(element('fleet-rows').rows[index], report));
  }

  #row(name) {
    const open = make('button', 'link', name);
    open.type = 'button';
    open.addEventListener('click', () => this.#open(name));
    const head = make('th', '', open);
    head.scope = 'row';
    return make('tr', '', head, ...['Lag', 'Last change', 'Size', 'Kept', 'Followers'].map((label, index) => {
      const cell = make('td', index === 1 ? '' : 'number');
      cell.dataset.label = label;
      return cell;
    }));
  }
}

function fill(row, { lag_ms: lag, last_upload: last, commit, page_size: page, bytes: kept, followers, upkeep_failures: failures }) {
  const values = [
    lag === null || lag === undefined ? '–' : elapsed(Math.max(0, lag)),
    `${last ? `${duration(Date.now() - last)} ago` : '–'}${failures ? `, upkeep failed ${plural(failures, 'time')}` : ''}`,
    page ? bytes(commit * page) : '–',
    bytes(kept),
    number(followers),
  ];
  values.forEach((value, index) => {
    const cell = row.cells[index + 1];
    if (cell.textContent !== value) cell.textContent = value;
  });
}
