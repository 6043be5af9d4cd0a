// Where the copy stands, and its way to where the server stands.
import { element, text } from './dom.js';
import { bytes, duration, moment, number, plural } from './format.js';
import { hideNotice, notice, sentence } from './notice.js';

/** Between two looks while following; a look without news is one small request. */
const INTERVAL = 2000;
/** After failures: up to this. */
const MAX_INTERVAL = 30_000;

export class PositionBar {
  #db;
  #moved;
  #reopen;
  #checked;
  #timer;
  #failures = 0;
  #working = false;

  /** `moved` is called after a new state has been applied; `reopen` when the copy has to be replaced. */
  constructor({ moved, reopen }) {
    this.#moved = moved;
    this.#reopen = reopen;
    element('refresh').addEventListener('click', () => this.#refresh());
    element('follow').addEventListener('change', ({ target }) => (target.checked ? this.#refresh() : clearTimeout(this.#timer)));
    element('export').addEventListener('click', () => this.#save());
    setInterval(() => this.#showLag(), 1000);
  }

  open(db, { current }) {
    this.#db = db;
    this.#checked = current ? Date.now() : undefined;
    this.#failures = 0;
    this.#show();
    this.#schedule();
  }

  close() {
    this.#db = undefined;
    clearTimeout(this.#timer);
    element('follow').checked = false;
  }

  async #refresh() {
    const db = this.#db;
    if (!db || this.#working) return;
    clearTimeout(this.#timer);
    const before = db.position?.txid;
    this.#work(true);
    try {
      await db.refresh();
      if (db !== this.#db) return;
      if (this.#failures) hideNotice();
      this.#failures = 0;
      this.#checked = Date.now();
      this.#show();
      if (db.position.txid !== before) await this.#moved();
    } catch (error) {
      if (db === this.#db) this.#failed(error);
    } finally {
      this.#work(false);
      this.#schedule();
    }
  }

  #failed(error) {
    this.#failures += 1;
    if (error.code === 'DIVERGED' || error.code === 'DAMAGED') {
      element('follow').checked = false;
      notice(sentence(error), { label: 'Restore anew', run: this.#reopen });
    } else {
      notice(sentence(error));
    }
  }

  #schedule() {
    clearTimeout(this.#timer);
    if (!this.#db || !element('follow').checked) return;
    // A page that nobody looks at asks nothing.
    if (document.hidden) document.addEventListener('visibilitychange', () => this.#refresh(), { once: true });
    else this.#timer = setTimeout(() => this.#refresh(), Math.min(INTERVAL * 2 ** this.#failures, MAX_INTERVAL));
  }

  #work(working) {
    this.#working = working;
    element('refresh').disabled = working;
    this.#showLag();
  }

  #show() {
    const position = this.#db.position;
    text('position-time', moment(position.timestamp));
    text('position-txid', number(parseInt(position.txid, 16)));
    element('position-txid').title = position.txid;
    text('position-sum', position.sum);
    text('position-size', `${bytes(position.size)}, ${plural(position.pages, 'page')}`);
    this.#showLag();
  }

  #showLag() {
    if (!this.#db) return;
    const ago = this.#checked === undefined ? undefined : duration(Date.now() - this.#checked);
    const lamp = this.#working ? 'working' : this.#failures || ago === undefined ? 'failed' : 'current';
    // A blink at every look would tell nothing.
    if (!(this.#working && element('follow').checked)) element('lamp').className = `lamp ${lamp}`;
    text('lag', ago === undefined ? 'not compared with the server' : this.#failures ? `last in touch ${ago} ago` : `up to date ${ago === '0 s' ? 'now' : `${ago} ago`}`);
  }

  async #save() {
    try {
      const link = document.createElement('a');
      link.href = URL.createObjectURL(await this.#db.export());
      link.download = `${element('connected-name').textContent}.db`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } catch (error) {
      notice(sentence(error));
    }
  }
}
