//! walferry carries the write-ahead log of a live SQLite database to object storage, and the database to
//! wherever it is read.
//!
//! One crate, three builds, chosen by feature:
//!
//! | feature   | runs                                            | does                                               |
//! |-----------|-------------------------------------------------|----------------------------------------------------|
//! | `native`  | next to the application                         | follows the WAL, ships segments, restores          |
//! | `worker`  | on Cloudflare Workers, with R2                  | accepts, checks, keeps and serves segments         |
//! | `browser` | in a dedicated worker of a web page, with OPFS  | restores, verifies, refreshes, answers SQL         |
//!
//! `browser-restore` is the last without SQLite.
//!
//! What they share has no I/O, no clock and no C, and compiles for every target:
//!
//! * [`ltx`], the file format of a segment;
//! * [`wal`], SQLite's write-ahead log;
//! * [`replica`], what a replica is: keys, levels, positions, restore plans, page maps;
//! * [`store`], the trait through which a replica's objects are listed, read and created;
//! * [`merge`], which makes one segment of many;
//! * [`json`], which reads what the Worker is told;
//! * `token`, who may do what at a Worker (without the browser);
//! * [`restore`], which turns a replica in a store back into a database, and proves the result.
//!
//! These know none of `native`, `worker` and `browser`, and those three never know each other.

// Test support that unit tests share with integration tests names the crate as those do.
#[cfg(test)]
extern crate self as walferry;

pub mod json;
pub mod ltx;
pub mod merge;
pub mod replica;
pub mod restore;
pub mod store;
#[cfg(any(feature = "native", feature = "worker"))]
pub mod token;
pub mod wal;

// Most of it is tested natively.
#[cfg(any(all(feature = "browser-restore", target_family = "wasm"), test))]
pub mod browser;
#[cfg(all(feature = "native", not(target_family = "wasm")))]
pub mod native;
#[cfg(all(feature = "worker", target_family = "wasm"))]
pub mod worker;
