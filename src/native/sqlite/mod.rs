//! The SQLite side of the native build: one live database, followed without writing to it.
//!
//! A [`Source`] reads what is committed from the wal-index, pages from the WAL and the database file, and holds a
//! *pin*: a read transaction that keeps frames from being overwritten until they are held elsewhere.

mod error;
mod source;
mod state;

pub use error::{Class, Error};
pub use source::{ChangedPages, Options, Source, View};
pub use state::{Checkpointed, Committed, Held, Location, Pinned};
