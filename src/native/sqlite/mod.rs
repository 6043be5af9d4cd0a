//! The SQLite side of the native build: one live database, followed without writing to it.
//!
//! A [`Source`] reads what is committed from the wal-index, pages from the WAL and the database file, and holds a
//! *pin*: a read transaction that keeps frames from being overwritten until they are held elsewhere.
//!
//! Three traps, for whoever changes this, or uses the same database in this process:
//!
//! * Closing any descriptor of the database or of its -shm drops every POSIX lock that this process has on it, the
//!   pin among them. So the one descriptor of the database is opened before the connections and closed after them,
//!   one process opens a database once, and nobody opens the -shm. The -wal carries no locks.
//! * A complete transaction in the WAL file is not committed before the wal-index says so: an application killed
//!   inside its commit leaves one that the next writer overwrites.
//! * A reader of a WAL that is copied back completely guards nothing of it: the next writer restarts it.

mod changed_pages;
mod checkpoint;
mod connection;
mod error;
mod files;
mod pin;
mod shared_memory;
mod source;
mod state;

pub use changed_pages::{ChangedPages, View};
pub use checkpoint::Patience;
pub use error::{Class, Error};
pub use source::{Options, Source};
pub use state::{Checkpointed, Committed, Held, Location, Pinned};
