//! Why a generation is not restored.

/// Why what Litestream 0.3 left was not restored. Each is a sentence that can be shown to a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It counts no transactions.
    #[error(
        "the replica was written by Litestream 0.3, which gives its states no transaction numbers: choose one with -timestamp"
    )]
    NoTxids,
    /// It has ended.
    #[error("the replica was written by Litestream 0.3: it can be restored, but not followed")]
    NotFollowed,
    /// No whole database to start from.
    #[error("no generation that Litestream 0.3 left has a snapshot at or before the wanted time")]
    NoSnapshot,
    /// A hole in the WAL.
    #[error(
        "generation {generation} has a gap: after WAL {index:08x} up to byte {offset} comes {next}. A state before the gap can \
         be restored with -timestamp"
    )]
    Gap {
        /// Where.
        generation: String,
        /// The last WAL that is there.
        index: u64,
        /// How far it goes.
        offset: u64,
        /// What comes instead.
        next: String,
    },
    /// A file is not what was written.
    #[error("{key} is damaged: {why}")]
    Damaged {
        /// The file.
        key: String,
        /// What is wrong.
        why: String,
    },
}
