// A query that is asked again whenever its answer has changed.
import { arrived } from './error.js';

let last = 0;

export class Subscription {
  #remote;
  #query;
  #options;
  #id = ++last;
  #seen;
  #ended = false;
  #stop = new AbortController();
  #over;

  /** `over()` is called at its end. */
  constructor(remote, { sql, parameters, callback, onError = reportError, limit }, over) {
    this.#remote = remote;
    this.#query = [sql, parameters, limit];
    this.#options = { callback, onError };
    this.#over = over;
  }

  /** Returns what ends it, as the signal does. */
  start(signal) {
    const end = () => this.end();
    if (signal?.aborted) end();
    else signal?.addEventListener('abort', end, { once: true });
    this.resume();
    return end;
  }

  /** At a new leader, who knows nothing of it. */
  resume() {
    if (this.#ended) return;
    const first = this.#remote.call('subscribe', [this.#id, ...this.#query], { signal: this.#stop.signal });
    first.then((result) => this.#deliver(result), (error) => this.#failed(error));
  }

  /** What has come for one of the subscriptions of this page. */
  take({ subscription, result, error }) {
    if (subscription !== this.#id) return;
    if (error) this.#failed(arrived(error));
    else this.#deliver(result);
  }

  end() {
    if (this.#ended) return;
    this.#ended = true;
    this.#over();
    this.#stop.abort();
    this.#remote.call('unsubscribe', [this.#id]).catch(() => {});
  }

  #deliver(result) {
    // A new leader at the same state has nothing new to say.
    if (this.#ended || this.#seen === result.txid) return;
    this.#seen = result.txid;
    this.#options.callback(result);
  }

  #failed(error) {
    if (this.#ended) return;
    // Closed is no failure: nothing more will come.
    if (error.code === 'CLOSED') this.end();
    else this.#options.onError(error);
  }
}
