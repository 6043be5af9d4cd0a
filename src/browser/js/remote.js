// Calls to the worker that leads, which may end at any moment, in this tab or another: what it has not answered is asked
// again of the next.
import { WalferryError, aborted, arrived, closed } from './error.js';
import { until } from './signal.js';
import { Tab } from './tab.js';
import { BEGINS_ANEW } from './transaction.js';

/** A statement that goes on for so many milliseconds after it was given up is ended, and the worker with it. */
const GRACE = 300;
/** What is a part of a transaction, if there is one. */
const STATEMENT = /^(query|iterate)$/;

export class Remote {
  #tab;
  #post;
  #calls = new Map();
  #abandoned = new Set();
  #last = 0;
  /** Whether we are in a transaction, and whether we were when the last leader ended, and do not know yet that it is over. */
  #inside = false;
  #left = false;
  #ended;
  #hear;
  #joined;

  /** `hear(event, data)` is told what happens there; `token()` yields one when it is asked for. */
  constructor(place, { hear, token }) {
    this.#hear = hear;
    this.#joined = withResolvers();
    this.#joined.promise.catch(() => {}); // who waits for it is told
    this.#tab = new Tab(place, {
      welcome: (post, news) => this.#welcome(post, news),
      message: (data, post) => (data.ask ? this.#answer(data.ask, post, token) : this.#take(data)),
      asleep: () => (this.#post = undefined),
      failed: (error) => this.#fail(error instanceof Error ? error : arrived(error)),
    });
  }

  /** Whether somebody leads, and has opened the copy. */
  joined(signal) {
    return until(this.#joined.promise, signal);
  }

  /**
   * Without `again`, a call that was under way when the leader ended is not repeated, but fails with `POSITION_MOVED`.
   */
  async call(method, args, { onProgress, signal, again = true } = {}) {
    if (this.#ended) throw this.#ended;
    if (signal?.aborted) throw aborted();
    if (this.#left && STATEMENT.test(method)) {
      this.#left = false;
      if (!BEGINS_ANEW.test(args[0])) throw left();
    }
    const id = ++this.#last;
    const calling = new Promise((resolve, reject) => {
      this.#calls.set(id, { message: { id, method, args, heeds: Boolean(signal) }, resolve, reject, onProgress, again, sent: false });
      if (this.#post) this.#send(id);
    });
    try {
      return await until(calling, signal);
    } catch (error) {
      if (error.code === 'ABORTED') this.#abandon(id);
      throw error;
    } finally {
      this.#calls.delete(id);
    }
  }

  /** No answer is wanted. */
  tell(message) {
    this.#post?.(message);
  }

  /** Lets go of the copy; calls under way are told `why`. */
  async end(why = closed(), gracefully = true) {
    this.#settle(why);
    await this.#tab.stop(gracefully);
  }

  #welcome(post, news) {
    this.#post = post;
    // A transaction is of one connection: what was asked in it, while nobody led too, does not go on with the next leader.
    let isOver = this.#inside;
    let isTold = false;
    this.#inside = false;
    for (const [id, call] of this.#calls) {
      const isStatement = STATEMENT.test(call.message.method);
      if (isStatement && !call.sent && BEGINS_ANEW.test(call.message.args[0])) isOver = false;
      if ((isOver && isStatement) || (call.sent && !call.again)) {
        // Who goes on reading rows asks anew, and is told then.
        isTold ||= call.again;
        call.reject(left());
      } else {
        this.#send(id);
      }
    }
    this.#left ||= isOver && !isTold;
    this.#hear('welcome', news);
    this.#joined.resolve();
  }

  #send(id) {
    const call = this.#calls.get(id);
    Object.assign(call, { sent: true, begun: false });
    try {
      this.#post(call.message);
    } catch (error) {
      call.reject(new WalferryError('INVALID', `these values cannot be sent to the database: ${error.message}.`));
    }
  }

  #abandon(id) {
    const post = this.#post;
    post?.({ abort: id });
    if (!this.#calls.get(id).begun) return;
    this.#abandoned.add(id);
    const end = () => this.#abandoned.delete(id) && this.#post === post && this.#tab.interrupt();
    // An answer that has come while this page was busy is heard first.
    setTimeout(() => setTimeout(end), GRACE);
  }

  #take({ id, begun, progress, result, error, inside, event, data }) {
    if (event) return this.#hear(event, data);
    if (inside !== undefined) this.#inside = inside;
    const call = this.#calls.get(id);
    if (!begun && !progress) this.#abandoned.delete(id);
    if (!call) return;
    if (begun) call.begun = true;
    else if (progress) call.onProgress?.(progress);
    else if (error) call.reject(arrived(error));
    else call.resolve(result);
  }

  async #answer(ask, post, token) {
    const answer = await token().then((token) => ({ token }), (error) => ({ error: String(error?.message ?? error) }));
    post({ answer: ask, ...answer });
  }

  #fail(error) {
    this.#settle(error);
    this.#hear('failed', error);
  }

  #settle(error) {
    this.#ended ??= error;
    this.#joined.reject(this.#ended);
    for (const { reject } of this.#calls.values()) reject(this.#ended);
  }
}

/** What was read was of the connection of the last leader. */
const left = () => new WalferryError('POSITION_MOVED', 'the tab that was answering has closed, and the state it was reading went with it; ask again.');

// Promise.withResolvers is too new.
function withResolvers() {
  let resolve, reject;
  const promise = new Promise((...both) => ([resolve, reject] = both));
  return { promise, resolve, reject };
}
