/** Restores a live SQLite database into this browser, keeps it up to date, and queries it. */

export interface OpenOptions {
  /** Where the Worker is, for instance `https://walferry.example.workers.dev`. */
  url: string | URL;
  /** The name of the database there. */
  database: string;
  /** A token that may read it. */
  token: string;
  onProgress?: (progress: Progress) => void;
  /** Gives up: the promise is rejected with `ABORTED`. */
  signal?: AbortSignal;
  /** Open an existing local copy as it is, without asking the Worker. */
  offline?: boolean;
}

export interface UpdateOptions {
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
}

/** How far a restore or a refresh has come. */
export interface Progress {
  /** `restore`: the first copy; `refresh`: newer pages on top of it. */
  phase: 'restore' | 'refresh';
  bytes: number;
  totalBytes: number;
  pages: number;
  totalPages: number;
}

/** Which state of a database. */
export interface Position {
  /** The newest transaction: 16 hexadecimal digits. */
  txid: string;
  /** The sum of all pages, computed here: 16 hexadecimal digits. */
  sum: string;
  /** When that state was seen on the server: Unix milliseconds. */
  timestamp: number;
  pages: number;
  pageSize: number;
  /** Bytes of the database file. */
  size: number;
}

/** `bigint` for integers beyond ±(2^53 - 1), `Uint8Array` for blobs. */
export type Value = null | number | bigint | string | Uint8Array;

export type Parameter = null | number | bigint | string | boolean | ArrayBuffer | ArrayBufferView;

/** For `?` in order, or for `:name`, `@name` and `$name`. */
export type Parameters = readonly Parameter[] | { readonly [name: string]: Parameter };

export interface Result {
  columns: string[];
  rows: Value[][];
  /** Whether `limit` left rows out. */
  truncated: boolean;
}

export interface Database {
  /** Which state this is; it moves with `refresh`. */
  readonly position: Position;
  /** Runs one SQL statement, read-only. Inside `BEGIN` … `COMMIT` the state stands still and `refresh` waits. */
  query(sql: string, parameters?: Parameters, options?: { limit?: number }): Promise<Result>;
  /** Brings only what is newer, if anything. `DIVERGED` if the history there was replaced: then `restore`. */
  refresh(options?: UpdateOptions): Promise<Position>;
  /** Replaces the local copy by a new one. */
  restore(options?: UpdateOptions): Promise<Position>;
  /** The database file, byte for byte as the server has it. */
  export(): Promise<Blob>;
  /** Lets go of the local copy, which stays for the next `open`. */
  close(): Promise<void>;
  /** Closes, and deletes the local copy. */
  delete(): Promise<void>;
}

export type ErrorCode =
  /** The options or parameters are wrong. */
  | 'INVALID'
  /** The Worker does not accept the token. */
  | 'DENIED'
  /** There is no such database. */
  | 'NOT_FOUND'
  /** The Worker does not answer, or is in trouble; may pass. */
  | 'UNREACHABLE'
  /** Something answers, but not as a Worker does. */
  | 'PROTOCOL'
  /** The segments there do not lead to a state. */
  | 'NO_PLAN'
  /** A segment is not what was written: refused. */
  | 'DAMAGED'
  /** The local copy is of another history than the replica's; `restore` replaces it. */
  | 'DIVERGED'
  /** The local copy is open in another tab. */
  | 'LOCKED'
  /** The browser gives no more storage. */
  | 'STORAGE_FULL'
  /** The browser's storage has failed. */
  | 'STORAGE'
  /** There is no local copy: a restore has not been completed. */
  | 'NO_COPY'
  /** Given up by the signal. */
  | 'ABORTED'
  /** After `close`. */
  | 'CLOSED'
  /** A fault of this module. */
  | 'INTERNAL'
  /** SQLite's own: `SQLITE_ERROR`, `SQLITE_READONLY` and so on. */
  | `SQLITE_${string}`;

export class WalferryError extends Error {
  readonly name: 'WalferryError';
  readonly code: ErrorCode;
}

export function open(options: OpenOptions): Promise<Database>;
