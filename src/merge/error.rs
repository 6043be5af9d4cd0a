//! Why segments could not be merged.

use std::io;

use crate::ltx;
use crate::replica::{InvalidBundle, SegmentId};
use crate::restore;
use crate::store;

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
    /// The same, of a bundle.
    #[error("cannot write the bundle: {0}")]
    Write(io::Error),
    /// Raw segments that do not follow each other.
    #[error("cannot bundle raw segments: {0}")]
    Bundle(#[from] InvalidBundle),
    /// Where the result goes to takes no more.
    #[error(transparent)]
    Sink(store::Error),
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
