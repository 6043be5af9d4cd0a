//! What can go wrong with a replica's upkeep.

use crate::replica::SegmentId;
use crate::{merge, store};

/// Why a chore was not done. Each is a sentence that can be shown to a person.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Merge(#[from] merge::Error),
    #[error(
        "{0} was merged only now and would be merged again: it waits. This is a fault of walferry; please report it"
    )]
    Again(SegmentId),
    #[error("cannot write what is merged, in the folder of the local state: {0}")]
    Output(#[from] std::io::Error),
}
