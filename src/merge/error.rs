//! Why segments could not be merged.

use crate::ltx;
use crate::replica::SegmentId;
use crate::restore;

/// Why segments could not be merged. Each is a sentence that can be shown to a person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Too many at once, or none.
    #[error("{0} segments cannot be merged at once")]
    Inputs(usize),
    /// An input is not there, or is not what was written.
    #[error(transparent)]
    Input(#[from] restore::Error),
    /// The result could not be written.
    #[error("cannot write the merged segment: {0}")]
    Output(ltx::Error),
}

impl Error {
    /// The segment that is damaged or gone, where one is: no other attempt will do better with it.
    pub fn damaged(&self) -> Option<SegmentId> {
        match self {
            Self::Input(
                restore::Error::BrokenChain { segment, .. }
                | restore::Error::PageSize(segment)
                | restore::Error::Incomplete(segment),
            ) => Some(*segment),
            Self::Input(error) => error.segment(),
            _ => None,
        }
    }
}
