//! What can be wrong with a WAL or its index.

/// Why a WAL was refused. Each is a sentence that can be shown to a person.
///
/// A frame that does not continue the one before is no error: it is where the WAL ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first four bytes are neither magic.
    #[error("not a WAL: it starts with {0:#010x} instead of 0x377f0682 or 0x377f0683")]
    Magic(u32),
    /// A format of the future.
    #[error("the {what} has format version {found}; only 3007000 is known")]
    Version {
        /// Of the WAL or of its index.
        what: &'static str,
        /// The version.
        found: u32,
    },
    /// Not a page size SQLite has.
    #[error("the {what} names a page size of {found}: it must be a power of two from 512 to 65536")]
    PageSize {
        /// Of the WAL or of its index.
        what: &'static str,
        /// The size.
        found: u32,
    },
    /// The header's checksum differs from its content.
    #[error("the header of the WAL is damaged: its checksum does not match its content")]
    HeaderChecksum,
    /// The two copies of the wal-index header differ: it is being written.
    #[error("the header of the wal-index is being written: its two copies differ")]
    IndexInFlux,
    /// The wal-index was never filled, or was wiped.
    #[error("the wal-index is not initialized")]
    IndexUninitialized,
    /// The wal-index header's checksum differs from its content.
    #[error("the header of the wal-index is damaged: its checksum does not match its content")]
    IndexChecksum,
    /// More than the reader may keep in memory.
    #[error("a transaction changes more than {0} bytes: too large to be read at once")]
    TransactionTooLarge(usize),
}
