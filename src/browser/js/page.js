// The leader's own page, of which it can ask something.

export class Page {
  #questions = new Map();
  #last = 0;

  tell(message) {
    postMessage(message);
  }

  /** Tokens come from a page. */
  token() {
    return new Promise((resolve, reject) => {
      const ask = ++this.#last;
      this.#questions.set(ask, { resolve, reject });
      this.tell({ ask });
    });
  }

  /** What it has answered. */
  answered({ answer, token, error }) {
    const { resolve, reject } = this.#questions.get(answer);
    this.#questions.delete(answer);
    if (error === undefined) resolve(token);
    else reject(Object.assign(new Error(`no token is to be had: ${error}`), { code: 'DENIED' }));
  }
}
