/**
 * A copy of a live database as a plain file, for an SQLite of your own: the official sqlite-wasm, wa-sqlite or another. To be used in a
 * dedicated worker.
 *
 * @packageDocumentation
 */
import type { ErrorCode, FollowState, OpenOptions, Position, UpdateOptions } from './walferry.js';

/** What to open, and how. */
export interface OpenCopyOptions extends Omit<OpenOptions, 'follow' | 'atOnce' | 'replica' | 'poll'> {
  /** The wasm, where it is not to be fetched from beside the module. */
  wasm?: string | URL | Request | Response | BufferSource | WebAssembly.Module;
}

/** The file of one database. While it is open, nobody else has it: neither another tab nor an SQLite. */
export interface Copy {
  /** Which state this is; `null` if there is none. */
  readonly position: Position | null;
  /** Where the file is in the origin private file system: the names of its folders, and its own last. */
  readonly path: string[];
  /** Brings what is newer, if anything. */
  refresh(options?: UpdateOptions): Promise<Position>;
  /** Replaces it by a new one. */
  restore(options?: UpdateOptions): Promise<Position>;
  /** A part of the file, byte for byte as the server has it; shorter at its end. */
  read(offset: number, length: number): Uint8Array;
  /** Keeps it up to date. Returns what ends that. */
  follow(moved: (position: Position) => void, going?: (state: Omit<FollowState, 'lag'>) => void): () => void;
  /** Lets go of the file, which stays. */
  close(): Promise<void>;
  /** Lets go of the file, and deletes it. */
  delete(): Promise<void>;
}

/** What every promise is rejected with. */
export class WalferryError extends Error {
  private constructor();
  readonly name: 'WalferryError';
  /** For programs. */
  readonly code: ErrorCode;
}

/** Opens the copy of a database, restores it if there is none, and brings it to the newest state. */
export function openCopy(options: OpenCopyOptions): Promise<Copy>;
