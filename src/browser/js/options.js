// What the caller of `open` gives, looked at before anything is done with it.
import { WalferryError } from './error.js';

/** Whose database it is: what speaks S3 and what serves files is told apart by what its address begins with. */
const REPLICAS = { worker: '', s3: 's3+', files: 'files+' };
const NAME = /^[a-z0-9][a-z0-9_-]{0,62}$/;
const PATH = /^(?!.*(^|\/)[.]+(\/|$))([\w.-]+(\/[\w.-]+)*)?$/;

/** Which database: `{ url, database }`, in the one form that names its copy, and how often there is a look where nothing is pushed. */
export function placeOf({ url, database = '', replica = 'worker', poll = replica === 'worker' ? 2000 : 5000 }) {
  let address;
  try {
    address = new URL(url, globalThis.location?.href);
  } catch {
    throw new WalferryError('INVALID', `${url} is not an address; one looks like https://walferry.example.workers.dev.`);
  }
  if (!/^https?:$/.test(address.protocol)) throw new WalferryError('INVALID', `${url} is not an address of a Worker: it must start with https://.`);
  const prefix = REPLICAS[replica];
  if (typeof prefix !== 'string') throw new WalferryError('INVALID', `${replica} is no kind of replica: that is worker, s3 or files.`);
  if (!(prefix ? PATH : NAME).test(database)) {
    throw new WalferryError('INVALID', `${database} is not a name of a database: that is up to 63 lowercase letters, digits, - and _, with a letter or digit first; of a replica s3 or files, a path of letters, digits, - _ . and /.`);
  }
  return { url: prefix + address.origin + address.pathname.replace(/\/+$/, ''), database, poll: poll >= 100 ? poll : 100 };
}

/** A function that yields a token, whichever way it was given. */
export function tokenOf(token) {
  if (typeof token !== 'string' && typeof token !== 'function') throw new WalferryError('INVALID', 'the token must be a string, or a function that yields one.');
  return async () => {
    const given = typeof token === 'function' ? await token() : token;
    if (typeof given !== 'string') throw new WalferryError('INVALID', 'the function given as token did not yield a string.');
    return given;
  };
}

/** What leads the tabs must not fail by: SQL is a string, and how many rows are wanted, if it is said, a number. */
export function checkQuery(sql, rows, least = 0) {
  if (typeof sql !== 'string') throw new WalferryError('INVALID', 'SQL must be a string.');
  if (rows !== undefined && !(Number.isSafeInteger(rows) && rows >= least)) throw new WalferryError('INVALID', `${rows} is no number of rows.`);
}

/** Without these the browser has no files for us; the last that it learned is to give up a request for either of two reasons. */
export function checkBrowser() {
  if (globalThis.isSecureContext && globalThis.navigator?.locks && globalThis.navigator.storage?.getDirectory && AbortSignal.any) return;
  const why = globalThis.isSecureContext === false ? 'the page must be served by https, or from localhost' : 'this browser is older than Chrome 116, Firefox 124 and Safari 17.4';
  throw new WalferryError('STORAGE', `there is no place for a copy of the database: ${why}.`);
}
