//! What runs in a dedicated worker of a web page: a local copy of a database in OPFS, brought up to date from a
//! Worker over HTTP, and read by SQLite.
//!
//! [`database`] keeps the copy and proves it, in [`file`]s of any kind; [`distant`] is a state that is read where it lies;
//! [`sql`] reads both through [`vfs`]: that is tested natively, crashes included. Only what speaks with the browser needs one.

pub mod ahead;
pub mod database;
pub mod distant;
mod error;
pub mod file;
pub mod image;
pub mod listing;
pub mod pushed;

// With SQLite.
#[cfg(any(feature = "browser", feature = "native"))]
pub mod sql;
#[cfg(any(feature = "browser", feature = "native"))]
pub mod vfs;

// With a browser.
#[cfg(target_family = "wasm")]
pub mod copy;
#[cfg(all(feature = "fault-points", target_family = "wasm"))]
mod fault_points;
#[cfg(target_family = "wasm")]
pub mod http;
#[cfg(target_family = "wasm")]
pub mod opfs;
#[cfg(target_family = "wasm")]
mod told;

// With both.
#[cfg(all(feature = "browser", target_family = "wasm"))]
pub mod moment;
#[cfg(all(feature = "browser", target_family = "wasm"))]
pub mod session;
#[cfg(all(feature = "browser", target_family = "wasm"))]
mod values;

pub use error::Error;

/// The replica that the tests of the copy share with those in a browser, in `tests/opfs.rs`.
#[cfg(test)]
#[path = "../../tests/support/replica.rs"]
mod test_replica;
