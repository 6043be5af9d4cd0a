//! Why a replica was not copied.

use crate::ltx::{self, Txid};
use crate::replica::{InvalidBundle, PlanError, SegmentId};
use crate::{restore, store};

/// Why a copy ended early. Each is a sentence that can be shown to a person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// One of the two destinations.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The source does not lead to its newest state.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A segment of the source is not what was written.
    #[error("segment {segment} is damaged: {error}")]
    Damaged {
        /// The segment.
        segment: SegmentId,
        /// What is wrong with it.
        error: ltx::Error,
    },
    /// A bundle of the source is not what was written.
    #[error("{segment}: {error}")]
    Bundle {
        /// The bundle.
        segment: SegmentId,
        /// What is wrong with it.
        error: InvalidBundle,
    },
    /// The destination holds something else.
    #[error(
        "the destination has another {0} already: it holds another replica, or one with another codec; choose a path \
         that is empty"
    )]
    Differs(SegmentId),
    /// The destination does not reach as far as the source did.
    #[error("the copy ends at transaction {reached} and the source at {wanted}: copy again to go on")]
    Incomplete {
        /// The newest transaction of the copy.
        reached: Txid,
        /// The newest transaction of the source.
        wanted: Txid,
    },
    /// A large segment that waits here.
    #[error("cannot write the segment that waits to be copied: {0}")]
    Io(#[from] std::io::Error),
}

/// Of reading a bundle's index.
impl From<restore::Error> for Error {
    fn from(error: restore::Error) -> Self {
        match error {
            restore::Error::Store(error) => error.into(),
            restore::Error::Plan(error) => error.into(),
            restore::Error::Damaged { segment, error } => Self::Damaged { segment, error },
            restore::Error::Bundle { bundle, error } => Self::Bundle {
                segment: bundle,
                error,
            },
            error => store::Error::Protocol(error.to_string()).into(),
        }
    }
}

impl Error {
    /// Whether an object of the source was deleted while it was copied.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Store(store::Error::NotFound(_)))
    }
}
