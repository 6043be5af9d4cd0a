//! SQLite's write-ahead log: its file, its index in shared memory, and what its transactions changed.
//!
//! A WAL is a header and frames, each frame one version of one page; a frame that carries the size of the database
//! ends a transaction. Sources: sqlite.org/fileformat2.html section 4, sqlite.org/walformat.html.
//!
//! Two ways to read one:
//!
//! * next to the application, [`IndexHeader`] says which frames are committed, and [`Changes`] which pages they
//!   changed; checksums were verified by SQLite;
//! * from bytes that came from elsewhere, [`Reader`] verifies frame after frame and yields transactions.
#![warn(clippy::arithmetic_side_effects)]

mod changes;
mod checksum;
mod cursor;
mod error;
mod frame;
mod header;
mod index_header;
mod reader;
mod salts;

pub use changes::{Changed, Changes};
pub use checksum::{ByteOrder, Checksum};
pub use cursor::Cursor;
pub use error::Error;
pub use frame::{FrameHeader, frame_offset};
pub use header::WalHeader;
pub use index_header::{Backfill, IndexHeader};
pub use reader::{Reader, Transaction};
pub use salts::Salts;

/// The result of reading a WAL.
pub type Result<T> = std::result::Result<T, Error>;
