/**
 * Restores a live SQLite database into this browser, keeps it up to date, and queries it.
 *
 * @packageDocumentation
 */

/** What to open, and how. */
export interface OpenOptions extends UpdateOptions {
  /**
   * Where the Worker is, for instance `https://walferry.example.workers.dev`; or the bucket, `https://bucket.s3.eu-west-1.amazonaws.com`; or
   * the server of files.
   */
  url: string | URL;
  /** The name of the database there; of a bucket or of files, the path of the replica below `url`, which may be empty. */
  database: string;
  /**
   * What is there: a Worker; a bucket that anyone may list and read (`s3`); a server that shows what is in its folders (`files`). The
   * replica may be Litestream's.
   */
  replica?: 'worker' | 's3' | 'files';
  /** How often to look for changes where none are pushed: milliseconds, 100 at least. 2,000 at a Worker, otherwise 5,000. */
  poll?: number;
  /**
   * A token that may read it, or a function that yields one: it is called whenever one is needed, so that it can fetch a
   * new one when the last is over. Databases that the Worker shows to everybody need none.
   */
  token?: string | (() => string | Promise<string>);
  /** Open an existing local copy as it is, without asking the Worker. */
  offline?: boolean;
  /**
   * Where there is no copy yet, do not wait for one: a page of the database that a query reads is brought then, and all others
   * behind. The copy is durable, as far as it has come: the next `open` goes on with it. That is so unless this is `false`: then
   * `open` waits for all of it.
   */
  atOnce?: boolean;
  /** Follow from the start: as {@link Database.follow}, which may be given what it calls back. */
  follow?: boolean | ((state: FollowState) => void);
}

/** For what brings the copy to another state. */
export interface UpdateOptions {
  /** Called as it goes on. */
  onProgress?: (progress: Progress) => void;
  /** Gives up: the promise is rejected with `ABORTED`. */
  signal?: AbortSignal;
}

/** How far a restore or a refresh has come. */
export interface Progress {
  /** `restore`: the first copy; `refresh`: newer pages on top of it; `hydrate`: the rest of a copy that is read already. */
  phase: 'restore' | 'refresh' | 'hydrate';
  /** Bytes that have come. */
  bytes: number;
  /** Bytes that will come, about. */
  totalBytes: number;
  /** Pages that are written. */
  pages: number;
  /** Pages that will be. */
  totalPages: number;
  /** Of `hydrate`: what has stopped it. It is tried again by itself, later and later. */
  error?: { code: ErrorCode; message: string };
}

/** Which state of a database. */
export interface Position {
  /** The newest transaction: 16 hexadecimal digits, to be compared as text. */
  txid: string;
  /** The sum of all pages, computed here: 16 hexadecimal digits. `null` while not all is here and the replica promises none. */
  sum: string | null;
  /** When that state was seen on the server: Unix milliseconds. */
  timestamp: number;
  /** Pages of the database. */
  pages: number;
  /** Bytes of a page. */
  pageSize: number;
  /** Bytes of the database file. */
  size: number;
  /** Whether all of it is here. While it is not, `sum` is as the server promises it. */
  whole: boolean;
  /**
   * Whether all that is here was checked: page by page, or as a whole. Not known of what an earlier `open` has left, nor of files that
   * Litestream wrote, until it is whole.
   */
  verified: boolean;
}

/** What SQLite yields: `bigint` for integers beyond ±(2^53 - 1), `Uint8Array` for blobs. */
export type Value = null | number | bigint | string | Uint8Array;

/** What SQLite is given. A boolean is 1 or 0. */
export type Parameter = null | number | bigint | string | boolean | ArrayBuffer | ArrayBufferView;

/** For `?` in order, or for `:name`, `@name` and `$name`. */
export type Parameters = readonly Parameter[] | { readonly [name: string]: Parameter };

/** A row by the names of its columns. */
export type RowObject = { [column: string]: Value };

/** The answer to a query. */
export interface Result<Row extends readonly Value[] = Value[]> {
  /** The names of the columns. */
  columns: string[];
  /** The rows, each a value a column. */
  rows: Row[];
  /** Whether `limit` left rows out. */
  truncated: boolean;
  /** The transaction at which this was so. */
  txid: string;
}

/** For a query. */
export interface QueryOptions {
  /** At most so many rows. */
  limit?: number;
  /**
   * The promise is rejected with `ABORTED`, at once. A statement that goes on running is ended a third of a second later, with the worker
   * that runs it: the next one, of this tab or another, answers what else was asked; a transaction that was open is gone.
   */
  signal?: AbortSignal;
}

/** For {@link Database.iterate}. */
export interface IterateOptions {
  /** How many rows come at once (500). */
  batch?: number;
  /** The loop ends with `ABORTED`. */
  signal?: AbortSignal;
}

/** For {@link Database.subscribe}. */
export interface SubscribeOptions {
  /** At most so many rows. */
  limit?: number;
  /** Ends it. */
  signal?: AbortSignal;
  /** When the query fails, at first or later; without it, errors are reported as uncaught. */
  onError?: (error: WalferryError) => void;
}

/** Rows that are read as they are wanted. Each loop asks anew. */
export interface Rows<Row extends readonly Value[] = Value[]> extends AsyncIterable<Row> {
  /** The same rows by the names of their columns. */
  objects<T = RowObject>(): AsyncIterable<T>;
}

/** How following goes. */
export interface FollowState {
  /**
   * `live`: changes are pushed; `polling`: there is no way to push, so it is asked every `poll` milliseconds; `connecting`, for the
   * first time or again; `offline`: nothing answers, and it is tried again by and by.
   */
  status: 'connecting' | 'live' | 'polling' | 'offline';
  /** Whether changes come: `live` or `polling`. */
  connected: boolean;
  /** Transactions that are known to be missing here. */
  behind: number;
  /** When the copy was last known to be the newest state: Unix milliseconds. */
  checked?: number;
  /** Milliseconds for which the copy may have been behind: 0 while it hears of every change and has them all. */
  lag: number;
  /** Why it does not go. */
  error?: { code: ErrorCode; message: string };
}

/** The events of a {@link Database}. */
export interface DatabaseEvents {
  /** The copy has moved to another state, whichever tab asked for it. */
  position: CustomEvent<Position>;
  /** Some more of the rest has come. */
  progress: CustomEvent<Progress>;
  /** All of it is here now. */
  whole: CustomEvent<Position>;
  /** Following goes otherwise than before. */
  follow: CustomEvent<FollowState | undefined>;
  /** The copy was deleted by another tab, or cannot be used any more. */
  close: CustomEvent<WalferryError>;
}

/** An open database. Any number of tabs, and any number of these, share one local copy. */
export interface Database extends EventTarget {
  /** Which state this is; it moves with every refresh. `null` as long as there is no copy. */
  readonly position: Position | null;
  /** How following goes, if anybody wants to follow. */
  readonly following: FollowState | undefined;
  /**
   * Runs one SQL statement, read-only.
   *
   * ```ts
   * const { rows } = await db.query<[number, string]>('select id, name from item where id > ?', [100]);
   * ```
   */
  query<Row extends readonly Value[] = Value[]>(sql: string, parameters?: Parameters, options?: QueryOptions): Promise<Result<Row>>;
  /**
   * The rows of a query as objects. Of two columns of one name the last counts.
   *
   * ```ts
   * const items = await db.objects<{ id: number; name: string }>('select id, name from item');
   * ```
   */
  objects<T = RowObject>(sql: string, parameters?: Parameters, options?: QueryOptions): Promise<T[]>;
  /**
   * The rows of a query, a batch at a time, however many there are. All are of one state.
   *
   * ```ts
   * for await (const [id, name] of db.iterate<[number, string]>('select id, name from item')) console.log(id, name);
   * ```
   */
  iterate<Row extends readonly Value[] = Value[]>(sql: string, parameters?: Parameters, options?: IterateOptions): Rows<Row>;
  /**
   * Calls back with the answer to a query, now and whenever a page of the database that it was read from has changed. Returns what
   * ends it.
   */
  subscribe<Row extends readonly Value[] = Value[]>(sql: string, parameters: Parameters | undefined, callback: (result: Result<Row>) => void, options?: SubscribeOptions): () => void;
  /** Keeps the copy up to date, until every one of its callers has called what it returns. */
  follow(callback?: (state: FollowState) => void): () => void;
  /** Until the copy holds what this transaction wrote: reading one's own writes. */
  waitFor(txid: string, options?: { signal?: AbortSignal }): Promise<Position>;
  /** Brings only what is newer, if anything. `DIVERGED` if the history there was replaced: then `restore`. */
  refresh(options?: UpdateOptions): Promise<Position>;
  /** Replaces the local copy by a new one. Until that is whole, there is none. */
  restore(options?: UpdateOptions): Promise<Position>;
  /**
   * The database as it was, beside this one: the last state at or before a time within the Worker's retention. Only the
   * pages that queries read are fetched.
   *
   * ```ts
   * const before = await db.openAt(Date.now() - 10 * 60_000);
   * const { rows } = await before.query('select count(*) from item');
   * ```
   */
  openAt(timestamp: Date | number | string, options?: { signal?: AbortSignal }): Promise<Past>;
  /** Until all of the database is here. */
  whenWhole(options?: { signal?: AbortSignal }): Promise<Position>;
  /** The database file, byte for byte as the server has it, when all of it is here. */
  export(options?: { signal?: AbortSignal }): Promise<Blob>;
  /** Leaves the local copy to others; it stays for the next `open`. */
  close(): Promise<void>;
  /** Closes it in all tabs, and deletes the local copy. */
  delete(): Promise<void>;
  addEventListener<K extends keyof DatabaseEvents>(type: K, listener: (event: DatabaseEvents[K]) => void, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, callback: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof DatabaseEvents>(type: K, listener: (event: DatabaseEvents[K]) => void, options?: boolean | EventListenerOptions): void;
  removeEventListener(type: string, callback: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}

/** Which state a {@link Past} is. */
export interface PastPosition extends Omit<Position, 'sum' | 'whole'> {
  /** The sum of all pages as the server promises it; `null` where it promises none. */
  sum: string | null;
  /** Whether every page that was read so far was held against a check of its own: not where Litestream has packed them. */
  verified: boolean;
}

/** A database as it was. Made by {@link Database.openAt}. It never changes. */
export interface Past {
  /** Which state this is. */
  readonly position: PastPosition;
  /** Runs one SQL statement, read-only. */
  query<Row extends readonly Value[] = Value[]>(sql: string, parameters?: Parameters, options?: QueryOptions): Promise<Result<Row>>;
  /** The rows of a query as objects. Of two columns of one name the last counts. */
  objects<T = RowObject>(sql: string, parameters?: Parameters, options?: QueryOptions): Promise<T[]>;
  /** Nothing is asked of it any more. */
  close(): void;
}

/** Why something was not done, for programs. */
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
  /** The state that was being read is gone: the copy has moved on, or the tab that was answering has closed. Ask again. */
  | 'POSITION_MOVED'
  /** Something that is not this version of walferry holds the files, and has done so for half a minute. */
  | 'LOCKED'
  /** The browser gives no more storage. */
  | 'STORAGE_FULL'
  /** The browser's storage has failed, or there is none for this page. */
  | 'STORAGE'
  /** There is no local copy: a restore has not been completed. */
  | 'NO_COPY'
  /** Given up by the signal. */
  | 'ABORTED'
  /** After `close`, or after another tab has deleted the copy. */
  | 'CLOSED'
  /** A fault of this module. */
  | 'INTERNAL'
  /** SQLite's own: `SQLITE_ERROR`, `SQLITE_READONLY` and so on. */
  | `SQLITE_${string}`;

/** What every promise is rejected with. */
export class WalferryError extends Error {
  private constructor();
  readonly name: 'WalferryError';
  /** For programs. */
  readonly code: ErrorCode;
}

/**
 * Opens the local copy of a database, restores it if there is none, and brings it to the newest state.
 *
 * ```ts
 * const db = await open({ url: 'https://walferry.example.workers.dev', database: 'app', token, follow: true });
 * ```
 */
export function open(options: OpenOptions): Promise<Database>;

/** The rows of a result as objects; of two columns of one name the last counts. */
export function objects<T = RowObject>(result: Pick<Result, 'columns' | 'rows'>): T[];

/** Asks the browser not to throw copies away when the disk is nearly full; says whether they are safe from that now. */
export function persist(): Promise<boolean>;

/** What this origin uses of what it may, in bytes, and whether it is safe from being thrown away. */
export function storage(): Promise<{ usage: number; quota: number; persisted: boolean }>;
