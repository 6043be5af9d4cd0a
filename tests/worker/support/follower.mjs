// A WebSocket client in a few lines (RFC 6455), so that a test sees what is on the wire: Node 20 has none.
import { createHash, randomBytes } from 'node:crypto';
import { request } from 'node:http';

/** Follows a database. Refused, it is `{status, headers, body}`. */
export function follow(url, db, token, headers = {}) {
  const { hostname, port } = new URL(url);
  const key = randomBytes(16).toString('base64');
  const protocols = ['walferry.v1', ...(token === null ? [] : [`bearer.${token}`])].join(', ');
  return new Promise((resolve, reject) => {
    const asking = request({
      host: hostname, port, path: `/v1/${db}/follow`, agent: false,
      headers: { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key, 'Sec-WebSocket-Protocol': protocols, ...headers },
    });
    asking.on('error', reject);
    asking.on('response', (response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk)).on('end', () => resolve({ status: response.statusCode, headers: new Headers(response.headers), body: text && JSON.parse(text) }));
    });
    asking.on('upgrade', (response, socket, first) => {
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      if (response.headers['sec-websocket-accept'] !== accept) return reject(new Error('not the answer to our key'));
      if (response.headers['sec-websocket-protocol'] !== 'walferry.v1') return reject(new Error('another protocol'));
      resolve(new Follower(socket, first));
    });
    asking.end();
  });
}

class Follower {
  #socket;
  #buffer;
  #messages = [];
  #waiting = [];
  #parts = [];

  constructor(socket, first) {
    this.#socket = socket;
    this.#buffer = first;
    this.closed = new Promise((resolve) => (this.closes = resolve));
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('error', () => {});
    socket.on('close', () => this.closes(null));
    this.#take(Buffer.alloc(0));
  }

  /** The next message: a text as the JSON it is, bytes as a Buffer. Fails after a while. */
  async next() {
    const message = await this.#message();
    return Buffer.isBuffer(message) ? message : JSON.parse(message);
  }

  text() {
    return this.#message();
  }

  /** Whether nothing comes for so long. */
  async silence(milliseconds) {
    await new Promise((later) => setTimeout(later, milliseconds));
    return this.#messages.length === 0;
  }

  send(text) {
    this.#frame(1, Buffer.from(text));
  }

  close() {
    this.#frame(8, Buffer.from([3, 232]));
    setTimeout(() => this.#socket.destroy(), 200).unref();
  }

  destroy() {
    this.#socket.destroy();
  }

  /** From now on it reads nothing, or reads again. */
  pause() {
    this.#socket.pause();
  }

  resume() {
    this.#socket.resume();
  }

  /** How many bytes of messages have come that were not asked for. */
  get waiting() {
    return this.#messages.reduce((sum, message) => sum + message.length, 0);
  }

  #message() {
    if (this.#messages.length) return Promise.resolve(this.#messages.shift());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no message within 10 s')), 10_000);
      this.#waiting.push((message) => {
        clearTimeout(timer);
        resolve(message);
      });
    });
  }

  #frame(opcode, payload) {
    const mask = randomBytes(4);
    const masked = Buffer.from(payload.map((byte, index) => byte ^ mask[index % 4]));
    if (payload.length > 125) throw new Error('longer than a test needs');
    this.#socket.write(Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length]), mask, masked]));
  }

  #take(chunk) {
    this.#buffer = Buffer.concat([this.#buffer, chunk]);
    for (;;) {
      const buffer = this.#buffer;
      if (buffer.length < 2) return;
      const short = buffer[1] & 0x7f;
      const start = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (buffer.length < start) return;
      const length = short === 126 ? buffer.readUInt16BE(2) : short === 127 ? Number(buffer.readBigUInt64BE(2)) : short;
      if (buffer.length < start + length) return;
      const payload = buffer.subarray(start, start + length);
      this.#buffer = buffer.subarray(start + length);
      const opcode = buffer[0] & 0xf;
      if (opcode === 8) this.closes(payload.length >= 2 ? payload.readUInt16BE(0) : null);
      if (opcode < 3) {
        this.#parts.push({ opcode, payload });
        if (buffer[0] & 0x80) this.#deliver();
      }
    }
  }

  #deliver() {
    const whole = Buffer.concat(this.#parts.map(({ payload }) => payload));
    const message = this.#parts[0].opcode === 1 ? whole.toString() : whole;
    this.#parts = [];
    const waiting = this.#waiting.shift();
    if (waiting) waiting(message);
    else this.#messages.push(message);
  }
}
