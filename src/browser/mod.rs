//! What runs in a dedicated worker of a web page: a local copy of a database in OPFS, brought up to date from a
//! Worker over HTTP, and read by SQLite.
//!
//! [`database`] keeps the copy and proves it, in [`file`]s of any kind: all of it is tested natively, crashes
//! included. Only what speaks with the browser needs one.

pub mod database;
mod error;
pub mod file;

pub use error::Error;
