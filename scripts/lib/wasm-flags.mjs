// How the compilers make wasm: what of SQLite the browser carries, and what of Rust none of the builds needs.
import { homedir } from 'node:os';
import { join } from 'node:path';

// What a reader of one database file does not need. All that SQL can say stays: FTS5, R*Tree, JSON, mathematics, dbstat.
const unused = ['API_ARMOR', 'BYTECODE_VTAB', 'COLUMN_METADATA', 'DBPAGE_VTAB', 'OFFSET_SQL_FUNC', 'PREUPDATE_HOOK', 'SESSION', 'STMTVTAB', 'UNKNOWN_SQL_FUNCTION', 'UNLOCK_NOTIFY'];
// The VFS never shows a database in WAL mode. The others are interfaces for C that nobody calls.
const omitted = ['AUTHORIZATION', 'DECLTYPE', 'TCL_VARIABLE', 'TRACE', 'WAL'];

/** For sqlite-wasm-rs, over its own choice. */
export const sqliteFlags = [...unused.map((name) => `-USQLITE_ENABLE_${name}`), ...omitted.map((name) => `-DSQLITE_OMIT_${name}`), '-DSQLITE_UNTESTABLE'].join(' ');

/** For rustc: SHA-256 that is not unrolled, and source paths, which panics name, without the place of this machine's folders. */
export function rustFlags() {
  const registry = join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'registry', 'src');
  return ['--cfg=sha2_backend_soft="compact"', `--remap-path-prefix=${registry}=`].join(' ');
}
