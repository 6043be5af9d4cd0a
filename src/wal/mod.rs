//! SQLite's write-ahead log: its file, its index in shared memory, and what its transactions changed.
//!
//! Sources: sqlite.org/fileformat2.html section 4, sqlite.org/walformat.html.

mod checksum;
mod salts;

pub use checksum::{ByteOrder, Checksum};
pub use salts::Salts;
