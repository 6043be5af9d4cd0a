// Who leads has the files open and SQLite, and does for all tabs what they ask.
import { Client } from './client.js';
import init, { Session } from './engine.js';
import { Methods } from './methods.js';
import { patiently, sleep } from './patience.js';

/** How long the others may take to leave a copy that was deleted. */
const FAREWELL = 1000;

export class Leader {
  #clients = new Map();
  #methods;
  #page;

  /** Opens the copy as it is; there may be none. What the last leader was about goes on. */
  static async open({ engine, ...place }, page) {
    await load(engine, page);
    const leader = new Leader(await patiently(() => Session.open(place.url, place.database)), place, page);
    await leader.#methods.resume(place);
    return leader;
  }

  constructor(session, place, page) {
    this.#page = page;
    this.#methods = new Methods(session, place, { token: () => page.token(), tell: (...news) => this.#tell(...news) });
  }

  get ended() {
    return this.#methods.ended;
  }

  knows(id) {
    return this.#clients.has(id);
  }

  /** A client, which is told that we lead. */
  admit(id, post) {
    const client = new Client(post, this.#methods, { broken: () => this.#page.tell({ broken: true }), dismissed: () => this.#clients.delete(id) });
    this.#clients.set(id, client);
    post({ welcome: this.#methods.news() });
    return client;
  }

  /** Puts the files away; what is under way ends first, for it holds them. */
  async close() {
    await this.#methods.close();
    // Nobody should lead where there is nothing left: those who have heard of it leave the line before we do.
    const given = performance.now() + FAREWELL;
    while (this.#methods.deleted && this.#clients.size > 1 && performance.now() < given) await sleep(10);
  }

  /** Every client hears it, but one. */
  #tell(event, data, except) {
    for (const client of this.#clients.values()) if (client !== except) client.post({ event, data });
  }
}

/**
 * The module, which other workers of our page need not compile again. Where that fails, it comes as it can, or the failure is told;
 * but without a network, where another tab had it and we do not, the database is not over: it comes when there is one.
 */
async function load(engine, page) {
  const compiled = engine ?? (await WebAssembly.compileStreaming(fetch(new URL('./engine_bg.wasm', import.meta.url))).catch(() => {}));
  try {
    await init(compiled && { module_or_path: compiled });
  } catch (error) {
    if (navigator.onLine !== false) throw error;
    await sleep(1000);
    return load(engine, page);
  }
  if (compiled !== engine) page.tell({ engine: compiled });
}
