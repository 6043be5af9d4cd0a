//! What can be wrong with a replica.

use crate::ltx::Txid;
use crate::replica::{InvalidBundle, PlanError, Position, SegmentId};
use crate::{ltx, store};

/// Why a database could not be restored. Each is a sentence that can be shown to a person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store did not deliver.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The segments that are there do not lead to the wanted state.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A segment that the listing had is gone.
    #[error("segment {0} is gone: it was deleted after the listing")]
    Missing(SegmentId),
    /// What was wrong could not be made up for.
    #[error("{damage}{}", told(nearest))]
    Lost {
        /// What is wrong.
        damage: Box<Error>,
        /// The nearest state before the wanted one that segments without known damage lead to.
        nearest: Option<Txid>,
    },
    /// A segment is not what was written.
    #[error("segment {segment} is damaged: {error}")]
    Damaged {
        /// The segment.
        segment: SegmentId,
        /// What is wrong with it.
        error: ltx::Error,
    },
    /// A bundle of raw segments is not what was written.
    #[error("bundle {bundle} is damaged: {error}")]
    Bundle {
        /// The bundle.
        bundle: SegmentId,
        /// What is wrong with it.
        error: InvalidBundle,
    },
    /// A segment's header contradicts its name.
    #[error("segment {segment} holds transactions {min} to {max}: it is not the segment that its name says")]
    WrongName {
        /// As it is named.
        segment: SegmentId,
        /// As its header says.
        min: Txid,
        /// As its header says.
        max: Txid,
    },
    /// Two segments that belong to different histories.
    #[error(
        "segment {segment} does not continue the state before it ({before}): they are of different histories"
    )]
    BrokenChain {
        /// The segment.
        segment: SegmentId,
        /// The state that it was to be applied to.
        before: Position,
    },
    /// A listing whose times are not those of the segments.
    #[error(
        "segment {0} is later than the listing says: the replica was copied without its times, so a state cannot be \
         chosen by time; choose one by transaction"
    )]
    Times(SegmentId),
    /// Segments of different page sizes.
    #[error("segment {0} has another page size than the segments after it")]
    PageSize(SegmentId),
    /// The state at hand cannot be of this replica.
    #[error(
        "the database at hand has pages of {have} bytes, those of the replica have {want}: it is another database"
    )]
    OtherDatabase {
        /// Page size at hand.
        have: u32,
        /// Page size of the replica.
        want: u32,
    },
    /// The plan's segments do not hold all pages.
    #[error("the segments up to {0} do not hold all pages of the database")]
    Incomplete(SegmentId),
}

impl Error {
    /// Why a segment could not be read.
    pub(crate) fn read(segment: SegmentId, error: store::Error) -> Self {
        match error {
            store::Error::NotFound(_) => Self::Missing(segment),
            store::Error::OutOfRange(_) => Self::Damaged {
                segment,
                error: ltx::Error::Shorter,
            },
            error => Self::Store(error),
        }
    }

    /// The segment or bundle that is to blame, where it is sure which.
    pub fn segment(&self) -> Option<SegmentId> {
        match self {
            // The sum is of all segments together.
            Self::Damaged {
                error: ltx::Error::DbSum { .. },
                ..
            } => None,
            Self::Missing(segment)
            | Self::Damaged { segment, .. }
            | Self::Bundle { bundle: segment, .. }
            | Self::WrongName { segment, .. } => Some(*segment),
            _ => None,
        }
    }
}

fn told(nearest: &Option<Txid>) -> String {
    match nearest {
        Some(txid) => {
            format!("; no other copy of it leads there. The nearest state before it: --txid {txid}")
        }
        None => "; no other copy of it leads there, and nothing before it can be restored".to_owned(),
    }
}
