// A copy of a database as a plain file, for an SQLite of the page's own. To be used in a dedicated worker: only there does a
// browser give files that can be written in place.
import { WalferryError, aborted, arrived, told } from './error.js';
import { Live } from './live.js';
import { leadership } from './names.js';
import { checkBrowser, placeOf, tokenOf } from './options.js';
import { patiently } from './patience.js';
import init, { LocalCopy } from './restore-engine.js';
import { until } from './signal.js';
import { Updates } from './updates.js';

export { WalferryError };

/** Opens the copy of a database, restores it if there is none, and brings it to the newest state. */
export async function openCopy({ token = '', wasm, onProgress, signal, offline = false, url, database }) {
  const place = placeOf({ url, database });
  const given = tokenOf(token);
  checkBrowser();
  await until(init(wasm && { module_or_path: wasm }), signal);
  // As one of those that may have it open as a whole database.
  const letGo = await held(leadership(place), signal);
  const opened = patiently(() => LocalCopy.open(place.url, place.database), signal);
  const copy = new Copy(await opened.catch((error) => (letGo(), fail(signal?.aborted ? aborted() : error))), place, given, letGo);
  try {
    if (offline && !copy.position) throw new WalferryError('NO_COPY', 'there is no local copy of the database.');
    if (!offline) await copy.refresh({ onProgress, signal }).catch((error) => (error.code === 'DIVERGED' ? copy.restore({ onProgress, signal }) : fail(error)));
    return copy;
  } catch (error) {
    await copy.close();
    throw error;
  }
}

/** Made by `openCopy`. While it is open, nobody else has the file. */
export class Copy {
  #copy;
  #place;
  #token;
  #letGo;
  #updates;
  #live;

  constructor(copy, place, token, letGo) {
    this.#copy = copy;
    this.#place = place;
    this.#token = token;
    this.#letGo = letGo;
    this.#updates = new Updates(({ anew, token }, progress, signal) => {
      // A part, which a page has begun, is no file.
      const isPart = copy.position()?.whole === false;
      return copy.update(anew || isPart, token, progress, signal);
    });
  }

  /** Which state this is; null if there is none. */
  get position() {
    const position = this.#copy.position();
    return position?.whole ? position : null;
  }

  /** Where the file is in the origin private file system: names of folders, and its own last. */
  get path() {
    const { url, database } = this.#place;
    return ['walferry', 'v1', `${encodeURIComponent(database)}@${encodeURIComponent(url)}`, 'db'];
  }

  /** Brings what is newer, if anything. */
  refresh(options) {
    return this.#update(false, options);
  }

  /** Replaces it by a new one. */
  restore(options) {
    return this.#update(true, options);
  }

  /** A part of the file; shorter at its end. */
  read(offset, length) {
    try {
      return this.#copy.read(offset, length);
    } catch (error) {
      fail(error);
    }
  }

  /** Keeps it up to date until what is returned is called. `moved(position)` hears of every new state, `going(state)` how it goes. */
  follow(moved, going = () => {}) {
    const silent = { progress: () => {}, signal: new AbortController().signal };
    const move = async (change) => {
      const before = this.position?.txid;
      const result = await change();
      if (this.position?.txid !== before) moved(this.position);
      return result;
    };
    this.#live?.stop();
    const live = (this.#live = new Live(this.#place, {
      token: this.#token,
      position: () => this.position,
      push: (segment) => this.#updates.alone(() => move(() => this.#copy.push(segment))),
      refresh: (token) => move(() => this.#updates.run({ anew: false, token }, silent)),
      told: going,
    }));
    live.start();
    return () => live.stop();
  }

  /** Lets go of the file, which can be opened by others then. */
  async close() {
    await this.#end(() => this.#copy.free());
  }

  /** As `close`, and the file is gone. */
  async delete() {
    await this.#end(() => this.#copy.delete());
  }

  async #end(how) {
    this.#live?.stop();
    await this.#updates.stop();
    try {
      await how();
    } finally {
      this.#letGo();
    }
  }

  async #update(anew, { onProgress = () => {}, signal = new AbortController().signal } = {}) {
    if (signal.aborted) throw aborted();
    return this.#updates.run({ anew, token: await until(this.#token(), signal) }, { progress: onProgress, signal }).catch(fail);
  }
}

function fail(error) {
  throw error instanceof WalferryError ? error : arrived(told(error));
}

/** Has a lock until what is returned is called. */
function held(name, signal) {
  return new Promise((resolve, reject) => {
    navigator.locks.request(name, { signal }, () => new Promise((letGo) => resolve(letGo))).catch(() => reject(aborted()));
  });
}
