// What a page imports. The work is done in a dedicated worker, `worker.js`, one for each open database.

/** Why something was not done: `code` for programs, `message` for people. */
export class WalferryError extends Error {
  constructor(code, message) {
    super(message);
    this.name = 'WalferryError';
    this.code = code;
  }
}

/**
 * Opens the local copy of a database, restores it if there is none, and brings it to the newest state.
 * With `offline`, an existing copy is opened as it is.
 */
export async function open({ url, database, token, onProgress, signal, offline = false }) {
  const where = addressOf(url, database);
  if (typeof token !== 'string') throw new WalferryError('INVALID', 'the token must be a string.');
  const worker = new Remote();
  try {
    const position = await worker.call('open', [where, database, token], { signal });
    const db = new Database(worker, position);
    if (offline && !position) throw new WalferryError('NO_COPY', 'there is no local copy of the database.');
    if (!offline) {
      await db.refresh({ onProgress, signal }).catch((error) => {
        // The history there was replaced by another: what is here is of no use to anyone.
        if (error.code === 'DIVERGED') return db.restore({ onProgress, signal });
        throw error;
      });
    }
    return db;
  } catch (error) {
    worker.end();
    throw error;
  }
}

/** An open database. Made by `open`. */
export class Database {
  #worker;
  #position;
  #refreshing;

  constructor(worker, position) {
    this.#worker = worker;
    this.#position = position;
  }

  /** Which state of the database this is. */
  get position() {
    return this.#position;
  }

  /** Runs one SQL statement. */
  query(sql, parameters, { limit } = {}) {
    return this.#worker.call('query', [sql, parameters, limit]);
  }

  /** Brings what is newer, if anything. */
  refresh({ onProgress, signal } = {}) {
    // Whoever asks while one is under way gets its result.
    this.#refreshing ??= this.#update(false, { onProgress, signal }).finally(() => (this.#refreshing = undefined));
    return this.#refreshing;
  }

  /** Replaces the local copy by a new one. Until that is whole, there is none. */
  async restore({ onProgress, signal } = {}) {
    await this.#refreshing?.catch(() => {});
    return this.#update(true, { onProgress, signal });
  }

  /** The database as a file, byte for byte as the server has it. */
  export() {
    return this.#worker.call('export', []);
  }

  /** Ends the worker. The local copy stays. */
  async close() {
    // However it ends, it ends.
    await this.#worker.last('close').catch(() => {});
    this.#worker.end();
  }

  /** As `close`, and the local copy is gone. */
  async delete() {
    await this.#worker.last('delete');
    this.#worker.end();
  }

  async #update(anew, options) {
    this.#position = await this.#worker.call('update', [anew], options);
    return this.#position;
  }
}

/** The dedicated worker, and the calls that it has not answered yet. */
class Remote {
  #worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
  #calls = new Map();
  #last = 0;
  #closing = false;
  #ended;

  constructor() {
    this.#worker.onmessage = ({ data }) => this.#take(data);
    this.#worker.onerror = (event) => {
      event.preventDefault?.();
      this.#fail(new WalferryError('INTERNAL', `the database's worker could not be started: ${event.message ?? 'its script could not be loaded'}.`));
    };
    this.#worker.onmessageerror = () => this.#fail(new WalferryError('INTERNAL', "an answer of the database's worker could not be read."));
  }

  async call(method, args, { onProgress, signal } = {}) {
    if (this.#ended) throw this.#ended;
    if (signal?.aborted) throw new WalferryError('ABORTED', 'stopped, as was asked.');
    const id = ++this.#last;
    const abort = () => this.#worker.postMessage({ abort: id });
    signal?.addEventListener('abort', abort);
    try {
      return await new Promise((resolve, reject) => {
        this.#calls.set(id, { resolve, reject, onProgress });
        this.#worker.postMessage({ id, method, args });
      });
    } catch (error) {
      if (error instanceof DOMException) throw new WalferryError('INVALID', `these values cannot be sent to the database: ${error.message}`);
      throw error;
    } finally {
      this.#calls.delete(id);
      signal?.removeEventListener('abort', abort);
    }
  }

  /** The last call: what is under way is stopped by it, and told why. */
  last(method) {
    this.#closing = true;
    return this.call(method, []);
  }

  end() {
    this.#fail(closed());
  }

  #take({ id, progress, result, error }) {
    const call = this.#calls.get(id);
    if (!call) return;
    if (progress) call.onProgress?.(progress);
    // After a fault of its own nothing in there can be relied on; its end lets go of the files.
    else if (error?.code === 'INTERNAL') this.#fail(new WalferryError(error.code, error.message));
    else if (error) call.reject(this.#closing && error.code === 'ABORTED' ? closed() : new WalferryError(error.code, error.message));
    else call.resolve(result);
  }

  #fail(error) {
    this.#ended ??= error;
    this.#worker.terminate();
    for (const { reject } of this.#calls.values()) reject(this.#ended);
  }
}

const closed = () => new WalferryError('CLOSED', 'the database is closed.');

function addressOf(url, database) {
  let address;
  try {
    address = new URL(url, globalThis.location?.href);
  } catch {
    throw new WalferryError('INVALID', `${url} is not an address; one looks like https://walferry.example.workers.dev.`);
  }
  if (!/^https?:$/.test(address.protocol)) throw new WalferryError('INVALID', `${url} is not an address of a Worker: it must start with https://.`);
  if (!/^[a-z0-9][a-z0-9_-]{0,62}$/.test(database)) {
    throw new WalferryError('INVALID', `${database} is not a name of a database: that is up to 63 lowercase letters, digits, - and _, with a letter or digit first.`);
  }
  return address.origin + address.pathname.replace(/\/+$/, '');
}
