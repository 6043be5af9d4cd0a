// A tab's part among those that share a copy: a worker that stands in line to lead, and a channel to whichever leads.
//
// The worker is ended, at once, when the page goes to sleep or leaves: its locks and the files go with it, and the next in
// line leads. When the page wakes, it stands in line again, as a new client.
import { WalferryError } from './error.js';
import { between, leadership } from './names.js';

/** After a worker has ended by a fault, the next is not started before this, in milliseconds. */
const PAUSE = 1000;

/** The module, from the first worker of this page that has compiled it, for all that come after it. */
let engine;

export class Tab {
  #place;
  #to;
  #worker;
  #channel;
  #pages;
  #leads = false;
  #started = -Infinity;
  #stopped = false;
  #joined = false;

  /** `to` hears `welcome(post, news)` from whoever leads from now on, every other `message`, `asleep()`, and `failed(error)`. */
  constructor(place, to) {
    this.#place = place;
    this.#to = to;
    // Between the pages: a worker that computes hears nothing.
    this.#pages = new BroadcastChannel(leadership(place));
    this.#pages.onmessage = () => this.#leads && this.#again();
    this.#listen(true);
    this.#start();
  }

  /** Ends whichever worker leads, whatever it is doing. */
  interrupt() {
    if (this.#leads) this.#again();
    else this.#pages.postMessage('end');
  }

  /** For good. `gracefully` is awaited while the worker puts its files away. */
  async stop(gracefully) {
    this.#stopped = true;
    this.#pages.close();
    this.#listen(false);
    const worker = this.#worker;
    if (worker && gracefully) {
      // Whatever it says, or whether it can say anything, it ends.
      const left = new Promise((resolve) => (worker.onmessage = ({ data }) => data.left && resolve()));
      worker.postMessage({ leave: true });
      await Promise.race([left, new Promise((resolve) => setTimeout(resolve, 2000))]);
    }
    this.#end();
  }

  // One object is the listener for all of them.
  #listen(listens) {
    const change = listens ? 'addEventListener' : 'removeEventListener';
    for (const event of ['pagehide', 'pageshow']) globalThis[change]?.(event, this);
    for (const event of ['freeze', 'resume']) globalThis.document?.[change](event, this);
  }

  handleEvent({ type, persisted }) {
    if (type === 'pagehide' || type === 'freeze') {
      this.#end();
      this.#to.asleep();
    } else if (type === 'resume' || persisted) {
      this.#start();
    }
  }

  #start() {
    if (this.#worker || this.#stopped) return;
    this.#started = performance.now();
    const id = crypto.randomUUID();
    try {
      this.#worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'walferry' });
    } catch ({ message }) {
      // Whoever made us knows us a moment later.
      return queueMicrotask(() => this.#fail(new WalferryError('INVALID', `no worker could be started from ${import.meta.url}: serve the package from the origin of the page (${message}).`)));
    }
    const worker = this.#worker;
    const channel = (this.#channel = new BroadcastChannel(between(id)));
    const take = (from) => ({ data }) => {
      const post = (message) => from.postMessage(message);
      if (data.failed) this.#fail(data.failed);
      else if (data.broken) this.#again();
      else if (data.engine) engine = data.engine;
      else if (data.welcome) this.#welcome(post, data.welcome, from === worker);
      else this.#to.message(data, post);
    };
    channel.onmessage = take(channel);
    worker.onmessage = take(worker);
    worker.onerror = (event) => {
      event.preventDefault?.();
      const why = event.message ?? 'its script could not be loaded (with Vite, exclude walferry in optimizeDeps)';
      if (this.#joined) this.#again();
      else this.#fail(new WalferryError('INTERNAL', `the database's worker could not be started: ${why}.`));
    };
    worker.postMessage({ join: { id, engine, ...this.#place } });
  }

  #welcome(post, news, ours) {
    this.#joined = true;
    this.#leads = ours;
    this.#to.welcome(post, news);
  }

  // What it held is let go of; another tab leads, or this one again.
  #again() {
    this.#end();
    this.#to.asleep();
    setTimeout(() => this.#start(), Math.max(0, this.#started + PAUSE - performance.now()));
  }

  #fail(error) {
    this.stop(false);
    this.#to.failed(error);
  }

  #end() {
    this.#worker?.terminate();
    this.#channel?.close();
    this.#worker = this.#channel = undefined;
    this.#leads = false;
  }
}
