// What a page imports. The work is done in dedicated workers: of all tabs that have a database open, one has its files.
import { Database } from './database.js';
import { WalferryError } from './error.js';
import { checkBrowser, placeOf, tokenOf } from './options.js';

export { Database, WalferryError };
export { objects } from './rows.js';
export { persist, storage } from './storage.js';

/**
 * Opens the local copy of a database at the newest state. What is not here yet is brought as it is read, and the rest behind.
 * With `offline`, an existing copy is opened as it is; without `atOnce`, all of it is waited for.
 */
export async function open({ token = '', onProgress, signal, offline = false, atOnce = true, follow = false, ...where }) {
  const place = { ...placeOf(where), offline };
  const given = tokenOf(token);
  checkBrowser();
  const db = new Database(place, given);
  try {
    await db.opened({ onProgress, signal, offline, atOnce });
    if (follow) db.follow(typeof follow === 'function' ? follow : undefined);
    return db;
  } catch (error) {
    await db.close();
    throw error;
  }
}
