// Following live: the Worker's WebSocket pushes each change as it lands. Where there is none, or it is closed to us, we look
// for changes every now and then.

/** Between two attempts, while nothing answers: doubled from the first to the last. */
const PAUSES = { first: 250, last: 30_000 };
/** A silent connection is asked whether it lives, and given up after twice this. */
const PING = 25_000;
/** No answer to the handshake after this is a refusal. */
const HANDSHAKE = 10_000;

export class Live {
  #place;
  #copy;
  #socket;
  #timer;
  /** Of what is attempted: whatever drops it, ends it, however far it is. */
  #turn = 0;
  #failures = 0;
  #refused = 0;
  #heard = 0;
  #behind = 0;
  #work = Promise.resolve();
  #state;

  /**
   * `copy` is what is kept up to date: `token()`, `position()`, `push(segment)` which says whether it could be applied,
   * `refresh(token)`, and `told(state)`, which hears how it goes.
   */
  constructor(place, copy) {
    this.#place = place;
    this.#copy = copy;
    addEventListener('online', () => this.#state && this.#now());
    addEventListener('offline', () => this.#state && this.#offline());
  }

  /** How it goes; nothing while nobody wants to follow. */
  get state() {
    return this.#state;
  }

  start() {
    if (this.#state) return;
    this.#tell('connecting');
    this.#now();
  }

  stop() {
    this.#drop();
    this.#state = undefined;
  }

  /** Tries at once, whatever has failed before. */
  #now() {
    this.#failures = this.#refused = 0;
    this.#drop();
    this.#attempt();
  }

  async #attempt() {
    if (navigator.onLine === false) return this.#offline();
    const turn = ++this.#turn;
    const isOver = () => turn !== this.#turn;
    try {
      const token = await this.#copy.token();
      if (isOver()) return;
      // One that was refused twice is asked again only every now and then; only a Worker has one.
      const asks = /^http/.test(this.#place.url) && (this.#refused < 2 || this.#refused % 16 === 0);
      if (asks && (await this.#connect(token))) return;
      if (!isOver()) await this.#copy.refresh(token);
      if (isOver()) return;
      // All the rest goes: it is the WebSocket that is not let through.
      this.#refused += 1;
      this.#failures = this.#behind = 0;
      this.#tell('polling');
      this.#later(this.#place.poll);
    } catch (error) {
      if (!isOver()) this.#failed(error);
    }
  }

  /** Whether it is open now. */
  async #connect(token) {
    const { url, database } = this.#place;
    let socket;
    try {
      // A token may hold what no name of a protocol may.
      socket = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/${database}/follow`, ['walferry.v1', `bearer.${token}`]);
    } catch {
      return false;
    }
    socket.binaryType = 'arraybuffer';
    const opened = new Promise((resolve) => {
      socket.onopen = () => resolve(true);
      socket.onclose = () => resolve(false);
      setTimeout(resolve, HANDSHAKE, false);
    });
    this.#socket = socket;
    if (!(await opened) || this.#socket !== socket) {
      socket.close();
      return false;
    }
    socket.onclose = () => this.#closed(socket);
    socket.onmessage = ({ data }) => this.#take(socket, data);
    this.#refused = 0;
    this.#heard = performance.now();
    this.#keepAlive(socket);
    return true;
  }

  #take(socket, data) {
    this.#heard = performance.now();
    if (data === 'pong') return;
    // One after the other, in their order.
    this.#work = this.#work.then(async () => {
      if (this.#socket !== socket) return;
      try {
        await this.#apply(data);
        this.#failures = this.#behind = 0;
        if (this.#socket === socket) this.#tell('live');
      } catch (error) {
        if (this.#socket === socket) this.#failed(error);
      }
    });
  }

  async #apply(data) {
    if (typeof data !== 'string') {
      if (!(await this.#copy.push(new Uint8Array(data)))) await this.#copy.refresh(await this.#copy.token());
      return;
    }
    const { position } = JSON.parse(data);
    const ours = this.#copy.position();
    if (ours && ours.txid === position.txid && ours.sum === position.sum) return;
    const behind = Number(BigInt(`0x${position.txid}`) - BigInt(`0x${ours?.txid ?? 0}`));
    if (behind > 0) this.#behind = behind;
    this.#tell('live');
    await this.#copy.refresh(await this.#copy.token());
  }

  #keepAlive(socket) {
    const timer = setInterval(() => {
      if (this.#socket !== socket) return clearInterval(timer);
      const silent = performance.now() - this.#heard;
      if (silent > 2 * PING) this.#closed(socket);
      else if (silent > PING / 2) socket.send('ping');
    }, PING);
  }

  #closed(socket) {
    if (this.#socket !== socket) return;
    this.#drop();
    this.#tell('connecting');
    // The first time at once: a Worker that was deployed anew closes all of them.
    this.#later(this.#failures ? this.#pause() : 0);
    this.#failures += 1;
  }

  #failed(error) {
    this.#drop();
    this.#refused = 0;
    this.#failures += 1;
    this.#tell('offline', error);
    this.#later(this.#pause());
  }

  #offline() {
    this.#drop();
    this.#tell('offline');
  }

  #pause() {
    const pause = Math.min(PAUSES.first * 2 ** (this.#failures - 1), PAUSES.last);
    return pause * (0.5 + Math.random() / 2); // not all pages at the same moment
  }

  #later(pause) {
    clearTimeout(this.#timer);
    if (this.#state) this.#timer = setTimeout(() => this.#attempt(), pause);
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#turn += 1;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }

  #tell(status, error) {
    if (!this.#state && status !== 'connecting') return;
    const connected = status === 'live' || status === 'polling';
    const checked = connected && !this.#behind ? Date.now() : this.#state?.checked;
    this.#state = { status, connected, behind: this.#behind, checked, ...(error && { error: { code: error.code, message: error.message } }) };
    this.#copy.told(this.#state);
  }
}
