// The moments of the database that the Worker keeps, on a slider: any of them answers questions, and can be had as a file.
import { element, show, text } from './dom.js';
import { bytes, duration, moment } from './format.js';
import { notice, sentence } from './notice.js';
import { saveAs } from './position.js';
import { ask, window as kept } from './worker.js';

/** Between two looks at what is kept. */
const LOOK = 30_000;
/** Of the slider. */
const STEP = 1000;

export class Moments {
  #place;
  #range;
  #timer;
  #stop;
  #chosen;
  #db;
  #at;
  // What has come here is kept there.
  #moved = ({ detail }) => {
    if (!this.#range || !(detail?.timestamp > this.#range.last)) return;
    this.#range.last = detail.timestamp;
    this.#show();
  };

  /** `at(past)` hears which state is to answer: a `Past`, or nothing for now. */
  constructor({ at }) {
    this.#at = at;
    const slider = element('moment');
    slider.addEventListener('input', () => this.#choose(Number(slider.value)));
    slider.addEventListener('change', () => this.#go());
    element('moment-live').addEventListener('click', () => this.#live());
    element('moment-save').addEventListener('click', () => (this.#stop ? this.#stop.abort() : this.#save()));
  }

  async open(db, place) {
    this.close();
    this.#place = place;
    this.#db = db;
    db.addEventListener('position', this.#moved);
    this.#live();
    await this.#look();
  }

  close() {
    clearTimeout(this.#timer);
    this.#stop?.abort();
    this.#db?.removeEventListener('position', this.#moved);
    this.#place = this.#range = this.#chosen = undefined;
    element('moment').disabled = true;
  }

  async #look() {
    const place = this.#place;
    try {
      const range = await kept(place);
      if (place !== this.#place) return;
      this.#range = range;
      this.#show();
    } catch (error) {
      if (place !== this.#place) return;
      if (!this.#range) text('moment-range', `${sentence(error)}`);
    }
    this.#timer = setTimeout(() => this.#look(), LOOK);
  }

  #show() {
    const slider = element('moment');
    const { first, last } = this.#range ?? {};
    slider.disabled = !(last > first);
    if (slider.disabled) return text('moment-range', first === undefined ? 'No moment is kept yet.' : 'One moment is kept so far.');
    // Whole seconds from the first: the end of the slider is now.
    const end = first + Math.ceil((last - first) / STEP) * STEP;
    Object.assign(slider, { min: first, max: end });
    if (this.#chosen === undefined) slider.value = end;
    text('moment-range', `Every moment since ${moment(first)} is kept: ${duration(last - first)}.`);
    this.#tell();
  }

  #choose(at) {
    this.#chosen = at >= this.#range.last ? undefined : at;
    this.#tell();
  }

  #live() {
    this.#chosen = undefined;
    if (this.#range) element('moment').value = element('moment').max;
    this.#tell();
    this.#go();
  }

  /** To the moment that is chosen: its pages are read where they lie. */
  async #go() {
    const [db, chosen] = [this.#db, this.#chosen];
    const isWanted = () => db === this.#db && chosen === this.#chosen;
    try {
      const past = chosen === undefined ? undefined : await db.openAt(chosen);
      if (isWanted()) await this.#at(past);
    } catch (error) {
      if (isWanted()) notice(`The database as of ${moment(chosen)} cannot be asked. ${sentence(error)}`);
    }
  }

  #tell() {
    const past = this.#chosen !== undefined;
    text('moment-time', past ? moment(this.#chosen) : 'Now');
    element('moment').setAttribute('aria-valuetext', past ? moment(this.#chosen) : 'now, live');
    element('moment-live').disabled = !past;
    element('moment-save').disabled = !past;
    show('moment-hint', past);
  }

  /** The Worker restores that state, and breaks off unless it is proven. */
  async #save() {
    const { database } = this.#place;
    const at = this.#chosen;
    const stop = (this.#stop = new AbortController());
    try {
      const answer = await ask(this.#place, `${database}/db?timestamp=${at}`, { signal: stop.signal });
      const pieces = [];
      let done = 0;
      for (const reader = answer.body.getReader(); ; ) {
        const { done: over, value } = await reader.read();
        if (over) break;
        pieces.push(value);
        done += value.length;
        text('moment-save', `Stop, ${bytes(done)}`);
      }
      saveAs(new Blob(pieces, { type: 'application/vnd.sqlite3' }), `${database}-${new Date(at).toISOString().replaceAll(':', '-')}.db`);
    } catch (error) {
      if (!stop.signal.aborted) notice(`The database as of ${moment(at)} did not come. ${sentence(error)}`);
    } finally {
      if (this.#stop === stop) this.#stop = undefined;
      text('moment-save', 'Save as a file');
    }
  }
}
