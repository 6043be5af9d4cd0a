//! What can go wrong with a store, by what a caller does about it.

use crate::replica::Position;

/// Why a store did not do what it was asked. Each is a sentence that can be shown to a person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such object, database or folder.
    #[error("{0} does not exist")]
    NotFound(String),
    /// There is an object of that name already.
    #[error("{0} exists already")]
    Exists(String),
    /// A read beyond the end of an object.
    #[error("{0} is shorter than expected")]
    OutOfRange(String),
    /// The segment does not go on where the replica stands.
    #[error("the replica stands at {head}: another writer has moved it")]
    Conflict {
        /// Where it stands.
        head: Position,
    },
    /// The destination does not let us in.
    #[error("{0}")]
    Denied(String),
    /// The destination refuses the content: trying again will not help.
    #[error("{0}")]
    Refused(String),
    /// A passing fault: try again later.
    #[error("{0}")]
    Unavailable(String),
    /// The destination answered something that is not of its protocol.
    #[error("{0}")]
    Protocol(String),
    /// A local file could not be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, to what.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the same request may succeed later. A full or failing disk may: what is unsent stays queued.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Io { .. })
    }
}
