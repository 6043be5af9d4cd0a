// Where the copy stands, and how it follows the server.
import { element, text } from './dom.js';
import { bytes, duration, moment, number, plural } from './format.js';
import { hideNotice, notice, sentence } from './notice.js';

export class PositionBar {
  #db;
  #name;
  #moved;
  #reached;
  #reopen;
  #unfollow;
  #told = false;
  #connected = false;
  #working = false;

  /** `moved` is called when the copy is of a new state, `reached` when the server answers again; `reopen` when the copy has to be replaced. */
  constructor({ moved, reached, reopen }) {
    this.#moved = moved;
    this.#reached = reached;
    this.#reopen = reopen;
    element('refresh').addEventListener('click', () => this.#refresh());
    element('follow').addEventListener('change', ({ target }) => this.#follow(target.checked));
    element('export').addEventListener('click', () => this.#save());
    setInterval(() => this.#showLag(), 1000);
  }

  open(db, { database, current }) {
    this.close();
    this.#db = db;
    this.#name = database;
    db.addEventListener('position', this.#onPosition);
    db.addEventListener('whole', this.#onWhole);
    this.#show();
    // A live database is what one came for; without the server, it is found as soon as it is there again.
    element('follow').checked = true;
    this.#told = !current;
    this.#connected = current;
    this.#follow(true);
  }

  close() {
    this.#db?.removeEventListener('position', this.#onPosition);
    this.#db?.removeEventListener('whole', this.#onWhole);
    this.#unfollow?.();
    this.#unfollow = this.#db = undefined;
  }

  #onPosition = () => {
    this.#show();
    this.#moved();
  };

  #onWhole = () => {
    this.#show();
    this.#reached();
  };

  #follow(follows) {
    this.#unfollow?.();
    this.#unfollow = follows ? this.#db?.follow((state) => this.#followed(state)) : undefined;
    this.#showLag();
  }

  #followed({ connected, error }) {
    this.#showLag();
    if (connected && this.#told) hideNotice();
    if (connected) this.#told = false;
    const isBack = connected && !this.#connected;
    this.#connected = connected;
    if (isBack) this.#reached();
    // What passes by itself is in the bar; the rest has to be told, once.
    if (!error || this.#told) return;
    this.#told = true;
    this.#failed(error);
  }

  async #refresh() {
    const db = this.#db;
    if (!db || this.#working) return;
    this.#work(true);
    try {
      await db.refresh();
    } catch (error) {
      if (db === this.#db) this.#failed(error);
    } finally {
      this.#work(false);
    }
  }

  #failed(error) {
    const isLost = error.code === 'DIVERGED' || error.code === 'DAMAGED';
    notice(sentence(error), isLost ? { label: 'Restore anew', run: this.#reopen } : undefined);
  }

  #work(working) {
    this.#working = working;
    element('refresh').disabled = working;
  }

  #show = () => {
    const position = this.#db?.position;
    if (!position) return;
    text('position-time', moment(position.timestamp));
    text('position-txid', number(parseInt(position.txid, 16)));
    element('position-txid').title = position.txid;
    text('position-sum', position.whole ? position.sum : 'when all is here');
    text('position-size', `${bytes(position.size)}, ${plural(position.pages, 'page')}`);
    this.#showLag();
  };

  #showLag() {
    if (!this.#db) return;
    const [lamp, words] = standing(this.#db.following);
    element('lamp').className = `lamp ${lamp}`;
    text('lag', words);
  }

  async #save() {
    try {
      saveAs(await this.#db.export(), `${this.#name}.db`);
    } catch (error) {
      notice(sentence(error));
    }
  }
}

function standing(state) {
  if (!state) return ['', 'not following'];
  const since = state.checked === undefined ? 'not compared with the server yet' : `last in touch ${duration(Date.now() - state.checked)} ago`;
  if (state.status === 'offline') return ['failed', `offline, ${since}`];
  if (state.status === 'connecting') return ['working', 'connecting'];
  if (state.behind) return ['working', `${plural(state.behind, 'transaction')} behind`];
  return ['current', state.status === 'live' ? 'live' : 'up to date, asked every two seconds'];
}

export function saveAs(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
