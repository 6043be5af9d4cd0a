// The question and its answer.
import { keyOf } from './cells.js';
import { element, text } from './dom.js';
import { Editor } from './editor.js';
import { elapsed, moment, number, plural } from './format.js';
import { Grid } from './grid.js';
import { History } from './history.js';
import { sentence } from './notice.js';

/** Rows that come at once; an answer no longer than this can be live. */
const SHORT = 1000;
/** What a page can hold; more rows are not brought. */
const MOST = { rows: 1_000_000, cells: 12_000_000 };
/** Rows of a batch of a long answer. */
const BATCH = 4000;
/** Between two looks at how many have come. */
const LOOK = 200;
/** What can be asked again whenever a page that it was read from has changed. */
const WATCHED = /^\s*(select|with|values)\b/i;

export class Desk {
  #db;
  #past;
  #asked;
  #short = false;
  #lacks = false;
  #unwatch;
  #known;
  #stop;
  #grid = new Grid();
  #history = new History((sql) => (this.#editor.write(sql), this.#editor.focus()));
  #editor = new Editor({ run: () => this.run(), older: () => this.#history.older(this.#editor.text), newer: () => this.#history.newer() });

  constructor() {
    element('run-key').textContent = /Mac|iPhone|iPad/.test(navigator.platform) ? '⌘' : 'Ctrl';
    element('query-form').addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.#stop) this.#stop.abort();
      else this.run();
    });
    element('live').addEventListener('change', () => this.#asked && this.#ask(this.#asked, true));
  }

  open(db, place) {
    this.#leave();
    this.#db = db;
    this.#past = this.#asked = undefined;
    this.#lacks = false;
    element('live').disabled = false;
    this.#history.open(place);
    this.#editor.write('');
    this.#grid.clear();
    this.#tell('');
  }

  /** Asks the first question: the last of the time before, or `sql`. */
  async start(sql) {
    // Who has begun to write is not interrupted.
    if (!this.#editor.text && this.#asked === undefined) await this.run(this.#history.last ?? sql, { remember: false });
    // On a touch screen that would bring up the keyboard, over the answer.
    if (matchMedia('(pointer: fine)').matches) this.#editor.focus();
  }

  async run(sql = this.#editor.text, { remember = true } = {}) {
    this.#editor.write(sql);
    if (remember) this.#history.add(sql);
    this.#asked = sql;
    this.#known = undefined;
    await this.#ask(sql, false);
  }

  /** The database has moved. What is watched comes by itself. */
  async again() {
    if (!this.#asked || this.#stop || this.#past || this.#unwatch) return;
    if (this.#short && element('live').checked) await this.#ask(this.#asked, true);
    else element('outcome').dataset.old = 'The database has moved on since.';
  }

  /** The server is there again, which the last answer may have needed. */
  async reached() {
    if (this.#lacks && !this.#stop) await this.#ask(this.#asked, true);
  }

  /** From now on it is the database as it was that answers; without `past`, as it is. */
  async at(past) {
    if (this.#past === past) return;
    this.#past = past;
    element('live').disabled = Boolean(past);
    if (this.#asked) await this.#ask(this.#asked, true);
  }

  /** `{ table: [column, …] }` */
  knows(schema) {
    this.#editor.knows(schema);
  }

  async #ask(sql, stay) {
    this.#leave();
    this.#lacks = false;
    const past = this.#past;
    const stop = new AbortController();
    this.#stop = stop;
    const slow = setTimeout(() => this.#working(true), 150);
    const started = performance.now();
    const took = () => elapsed(performance.now() - started);
    const { signal } = stop;
    try {
      const watched = !past && element('live').checked && WATCHED.test(sql);
      const asking = watched ? this.#watch(sql, signal) : (past ?? this.#db).query(sql, [], { limit: SHORT, signal });
      const { columns, rows, truncated } = await asking;
      if (sql !== this.#asked || this.#stop !== stop) return;
      this.#short = !truncated;
      if (!stay) this.#history.answered(sql);
      const first = `the first ${number(rows.length)} rows in ${took()}`;
      const then = past ? `, as of ${moment(past.position.timestamp)}${past.position.verified ? ', verified' : ''}` : '';
      this.#tell(truncated ? first + (then || ', more on their way') : `${plural(rows.length, 'row')} in ${took()}${then}`);
      this.#show(columns, rows, stay);
      if (truncated && !past) await this.#rest(sql, columns, signal, took);
    } catch (error) {
      if (sql !== this.#asked || this.#stop !== stop) return;
      if (error.code === 'ABORTED') return this.#leave(), this.#tell('stopped');
      this.#short = true;
      this.#lacks = error.code === 'UNREACHABLE';
      this.#tell(sentence(error), true);
      this.#grid.clear();
    } finally {
      clearTimeout(slow);
      if (this.#stop === stop) {
        this.#stop = undefined;
        this.#working(false);
      }
    }
  }

  /** The answer, and each that comes after it while it is short. */
  #watch(sql, signal) {
    return new Promise((resolve, reject) => {
      let first = true;
      const failed = (error) => {
        if (!first) this.#grid.clear();
        if (!first) this.#tell(sentence(error), true);
        first = false;
        reject(error);
      };
      signal.addEventListener('abort', () => first && failed(Object.assign(new Error(), { code: 'ABORTED' })), { once: true });
      const came = (answer) => {
        const again = !first;
        this.#lacks = false;
        first = false;
        // A long one is not brought again and again.
        if (answer.truncated) this.#unwatch?.();
        if (answer.truncated) this.#unwatch = undefined;
        if (!again) return resolve(answer);
        this.#show(answer.columns, answer.rows, true);
        this.#tell(`${answer.truncated ? 'the first ' : ''}${plural(answer.rows.length, 'row')}, as they are now`);
      };
      this.#unwatch = this.#db.subscribe(sql, [], came, { limit: SHORT, onError: failed });
    });
  }

  /** Nothing more is wanted of what was asked. */
  #leave() {
    this.#stop?.abort();
    this.#unwatch?.();
    this.#unwatch = undefined;
  }

  /** All rows of a long answer, of one state, from the first on. */
  async #rest(sql, columns, signal, took) {
    const rows = [];
    const most = Math.min(MOST.rows, Math.floor(MOST.cells / Math.max(1, columns.length)));
    let looked = performance.now();
    let shown = false;
    const look = () => {
      if (shown) this.#grid.grown();
      else if (rows.length >= SHORT) this.#grid.show(columns, rows, { stay: (shown = true) });
    };
    let more = false;
    try {
      for await (const row of this.#db.iterate(sql, [], { batch: BATCH, signal })) {
        if ((more = rows.length >= most)) break;
        rows.push(row);
        if (rows.length % BATCH || performance.now() - looked < LOOK) continue;
        looked = performance.now();
        look();
        this.#tell(`${number(rows.length)} rows so far, in ${took()}`);
      }
    } catch (error) {
      look();
      if (error.code !== 'ABORTED') throw error;
      return this.#tell(`the first ${number(Math.max(rows.length, SHORT))} rows; stopped after ${took()}`);
    }
    look();
    this.#tell(`${more ? 'the first ' : ''}${plural(rows.length, 'row')} in ${took()}`);
  }

  #show(columns, rows, stay) {
    const before = this.#known;
    const known = new Set(rows.map(keyOf));
    this.#grid.show(columns, rows, { stay, isNew: (row) => before !== undefined && !before.has(keyOf(row)) });
    this.#known = known;
  }

  #working(works) {
    text('run', works ? 'Stop' : 'Run');
    element('result').setAttribute('aria-busy', works);
  }

  #tell(outcome, failed = false) {
    text('outcome', outcome);
    delete element('outcome').dataset.old;
    element('outcome').classList.toggle('failed', failed);
  }
}
