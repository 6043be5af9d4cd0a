// An open database, as a page has it.
import { WalferryError, closed } from './error.js';
import { checkQuery } from './options.js';
import { Past } from './past.js';
import { Remote } from './remote.js';
import { Rows, objects } from './rows.js';
import { until } from './signal.js';
import { Subscription } from './subscription.js';

/** Between two looks of `waitFor` while nothing is pushed, from the first to the last. */
const LOOK = { first: 50, last: 1000 };

/**
 * Made by `open`. Its events: `position` when the state has moved, `progress` while the rest of it is brought, `whole` when all of
 * it is here, `follow` when following goes otherwise, `close`.
 */
export class Database extends EventTarget {
  #remote;
  #place;
  #token;
  #position = null;
  #state;
  #following = new Set();
  #subscriptions = new Set();

  constructor(place, token) {
    super();
    this.#place = place;
    this.#token = token;
    this.#remote = new Remote(place, { token, hear: (event, data) => this.#hear(event, data) });
  }

  /** The rest of `open`. */
  async opened({ onProgress, signal, offline, atOnce }) {
    await this.#remote.joined(signal);
    if (offline && !this.#position) throw new WalferryError('NO_COPY', 'there is no local copy of the database.');
    if (offline) return;
    if (onProgress) this.addEventListener('progress', ({ detail }) => onProgress(detail));
    await this.#update(false, { onProgress, signal }, atOnce).catch((error) => {
      // The history there was replaced by another: what is here is of no use to anyone.
      if (error.code === 'DIVERGED') return this.restore({ onProgress, signal });
      throw error;
    });
    // A leader to come may find less than this.
    this.#place.opened = true;
    if (!atOnce) await this.whenWhole({ signal });
  }

  /** Which state of the database this is. */
  get position() {
    return this.#position;
  }

  /** How following goes. */
  get following() {
    return this.#state && { ...this.#state, lag: lagOf(this.#state) };
  }

  /** Runs one SQL statement. */
  async query(sql, parameters, { limit, signal } = {}) {
    checkQuery(sql, limit);
    return this.#remote.call('query', [sql, parameters, limit], { signal });
  }

  /** The rows of `query` as objects. */
  async objects(sql, parameters, options) {
    return objects(await this.query(sql, parameters, options));
  }

  /** The rows as they are read, a batch at a time. */
  iterate(sql, parameters, options) {
    return new Rows(this.#remote, sql, parameters, options);
  }

  /** Calls back with the result, now and whenever it has changed. Returns what ends it. */
  subscribe(sql, parameters, callback, options) {
    checkQuery(sql, options?.limit);
    const subscription = new Subscription(this.#remote, { sql, parameters, callback, ...options }, () => this.#subscriptions.delete(subscription));
    this.#subscriptions.add(subscription);
    return subscription.start(options?.signal);
  }

  /** Keeps the copy up to date as long as anybody wants it. Returns what ends it. */
  follow(callback = () => {}) {
    const tell = () => this.#state && callback(this.following);
    const follow = (follows) => this.#remote.call('follow', [follows]).then((state) => this.#followed(state), () => {});
    this.addEventListener('follow', tell);
    this.#following.add(tell);
    if (this.#following.size === 1) follow(true);
    else tell();
    return () => {
      this.removeEventListener('follow', tell);
      if (this.#following.delete(tell) && !this.#following.size) follow(false);
    };
  }

  /** Until the copy holds what this transaction wrote. */
  async waitFor(txid, { signal } = {}) {
    if (!/^[0-9a-f]{16}$/.test(txid)) throw new WalferryError('INVALID', `${txid} is not a transaction: that is 16 hexadecimal digits, as in a position.`);
    for (let pause = LOOK.first; !(this.#position?.txid >= txid); pause = Math.min(2 * pause, LOOK.last)) {
      if (!this.#state?.connected) await this.refresh({ signal });
      if (this.#position?.txid >= txid) break;
      await until(this.#moved(pause), signal);
    }
    return this.#position;
  }

  /** Brings what is newer, if anything. */
  refresh(options) {
    return this.#update(false, options);
  }

  /** Replaces the local copy by a new one. Until that is whole, there is none. */
  restore(options) {
    return this.#update(true, options);
  }

  /** Until all of the database is here; which state that is. */
  async whenWhole({ signal } = {}) {
    return (this.#position = await this.#remote.call('whole', [], { signal }));
  }

  /** The database as a file, byte for byte as the server has it. */
  export({ signal } = {}) {
    return this.#remote.call('export', [], { signal });
  }

  /** Leaves the copy to others. It stays. */
  async close() {
    await this.#end();
  }

  /** As `close`, and the local copy is gone, for all tabs. */
  async delete() {
    await this.#remote.call('delete', []);
    await this.#end();
  }

  /** The database as it was at a time, beside this one: read where it lies, page by page. */
  openAt(timestamp, { signal } = {}) {
    const ask = async (method, at, rest, options) => this.#remote.call(method, [at, await until(this.#token(), options?.signal), ...rest], options);
    return Past.open(timestamp, ask, { signal });
  }

  async #update(anew, { onProgress, signal } = {}, atOnce = false) {
    const update = async () => this.#remote.call('update', [anew, await until(this.#token(), signal), atOnce], { onProgress, signal });
    this.#place.offline = false;
    this.#position = await update().catch((error) => {
      // It may have become too old since it was made.
      if (error.code === 'DENIED') return update();
      throw error;
    });
    return this.#position;
  }

  #hear(event, data) {
    if (event === 'welcome') {
      this.#hear('position', data.position);
      if (this.#following.size) this.#remote.call('follow', [true]).then((state) => this.#followed(state), () => {});
      for (const subscription of this.#subscriptions) subscription.resume();
    } else if (event === 'position') {
      const moved = data?.txid !== this.#position?.txid || data?.sum !== this.#position?.sum;
      const isWhole = data?.whole && this.#position?.whole === false;
      this.#position = data;
      if (isWhole) this.dispatchEvent(new CustomEvent('whole', { detail: data }));
      if (moved) this.dispatchEvent(new CustomEvent('position', { detail: data }));
    } else if (event === 'progress') {
      this.dispatchEvent(new CustomEvent('progress', { detail: data }));
    } else if (event === 'follow') {
      this.#followed(data);
    } else if (event === 'rows') {
      for (const subscription of this.#subscriptions) subscription.take(data);
    } else {
      // Deleted by another tab, or by this one; or the worker has failed.
      const error = event === 'failed' ? data : closed(': its copy was deleted');
      this.#end(error);
      this.dispatchEvent(new CustomEvent('close', { detail: error }));
    }
  }

  #end(error) {
    this.#following.clear();
    this.#state = undefined;
    return this.#remote.end(error);
  }

  #followed(state) {
    this.#state = this.#following.size ? state : undefined;
    this.dispatchEvent(new CustomEvent('follow', { detail: this.following }));
  }

  /** Until the state moves, or this long. */
  #moved(pause) {
    const over = new AbortController();
    const moved = new Promise((resolve) => {
      setTimeout(resolve, pause);
      this.addEventListener('position', resolve, { signal: over.signal });
    });
    return moved.finally(() => over.abort());
  }
}

/** For how many milliseconds the copy may have been behind: none while it hears of every change and has them all. */
function lagOf({ connected, behind, checked }) {
  if (connected && !behind) return 0;
  return checked === undefined ? Infinity : Date.now() - checked;
}
