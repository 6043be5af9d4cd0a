// The question and its answer.
import { element, text } from './dom.js';
import { elapsed, number, plural } from './format.js';
import { sentence } from './notice.js';
import { resultTable } from './result.js';

/** More rows than anybody reads; all of them would cost the page its breath. */
const LIMIT = 1000;

export class Desk {
  #db;
  #asked;
  #rows;

  constructor() {
    const sql = element('sql');
    element('run-key').textContent = /Mac|iPhone|iPad/.test(navigator.platform) ? '⌘' : 'Ctrl';
    element('query-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.run(sql.value);
    });
    sql.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.run(sql.value);
      }
    });
  }

  open(db) {
    this.#db = db;
    this.#asked = undefined;
    element('result').replaceChildren();
    text('outcome', '');
  }

  /** Asks the first question, unless there is one from before. */
  async start(sql) {
    await this.run(element('sql').value.trim() || sql);
    // On a touch screen that would bring up the keyboard, over the answer.
    if (matchMedia('(pointer: fine)').matches) element('sql').focus();
  }

  async run(sql) {
    element('sql').value = sql;
    this.#asked = sql;
    this.#rows = undefined;
    await this.#ask(sql);
  }

  /** The same question to a newer state. */
  async again() {
    if (this.#asked) await this.#ask(this.#asked);
  }

  async #ask(sql) {
    element('run').disabled = true;
    const started = performance.now();
    try {
      const result = await this.#db.query(sql, [], { limit: LIMIT });
      if (sql !== this.#asked) return;
      this.#show(result, performance.now() - started);
    } catch (error) {
      if (sql !== this.#asked) return;
      this.#tell(sentence(error), true);
      element('result').replaceChildren();
    } finally {
      element('run').disabled = false;
    }
  }

  #show({ columns, rows, truncated }, time) {
    this.#tell(`${truncated ? `the first ${number(rows.length)} rows` : plural(rows.length, 'row')} in ${elapsed(time)}`, false);
    const keys = new Set();
    const isNew = (key) => {
      keys.add(key);
      return this.#rows !== undefined && !this.#rows.has(key);
    };
    element('result').replaceChildren(...(columns.length ? [resultTable(columns, rows, isNew)] : []));
    this.#rows = keys;
  }

  #tell(outcome, failed) {
    text('outcome', outcome);
    element('outcome').classList.toggle('failed', failed);
  }
}
