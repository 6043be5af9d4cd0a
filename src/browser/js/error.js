// Failures as they are told: `code` for programs, `message` for people.

/** Why something was not done. */
export class WalferryError extends Error {
  constructor(code, message) {
    super(message);
    this.name = 'WalferryError';
    this.code = code;
  }
}

export const aborted = () => new WalferryError('ABORTED', 'stopped, as was asked.');
export const moved = () => new WalferryError('POSITION_MOVED', 'the database has moved on while its rows were being read; ask again.');
export const closed = (why = '') => new WalferryError('CLOSED', `the database is closed${why}.`);

/** An error as it goes from a worker to a page. */
export function told(error) {
  if (typeof error?.code === 'string') return { code: error.code, message: `${error.message.replace(/[.]$/, '')}.` };
  const message = error instanceof WebAssembly.RuntimeError ? `the database's worker has met a fault of its own (${error.message}).` : `${error?.message ?? error}.`;
  return { code: 'INTERNAL', message };
}

/** And as it arrives. */
export const arrived = ({ code, message }) => new WalferryError(code, message);
