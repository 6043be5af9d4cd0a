//! What can go wrong in the browser, as sentences and as codes for programs.

use super::file;
use crate::replica::PlanError;
use crate::{restore, store};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The browser's storage.
    #[error(transparent)]
    File(#[from] file::Error),
    /// The replica, or the way to it.
    #[error(transparent)]
    Restore(#[from] restore::Error),
    /// There is no local copy.
    #[error("there is no local copy of the database; restore it first")]
    NoCopy,
    /// The local copy is not a state of the replica's history any more.
    #[error("the local copy cannot be brought up to date, it must be restored anew: {0}")]
    Diverged(String),
    /// A statement is open.
    #[error(
        "a statement is still reading the database; it ends with its last row, or its transaction with COMMIT"
    )]
    Reading,
    /// A cursor was left, for the copy had to move on.
    #[error("the database has moved on while its rows were being read; ask again")]
    PositionMoved,
    /// What is missing is being brought behind: it is not brought twice.
    #[error("a page that is needed is on its way; ask again when it is here")]
    OnItsWay,
    /// The browser did not keep what was flushed.
    #[error("the browser has lost data that it had confirmed; the database must be restored anew")]
    LostWrites,
    /// SQLite refuses.
    #[error("{message}")]
    Sql {
        /// SQLite's name of the result code, `SQLITE_ERROR` for instance.
        code: &'static str,
        /// What SQLite says.
        message: String,
    },
    /// The caller's mistake.
    #[error("{0}")]
    Invalid(String),
    /// The caller gave up.
    #[error("stopped, as was asked")]
    Aborted,
}

impl Error {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(file::Error::Locked(_)) => "LOCKED",
            Self::File(file::Error::Full(_)) => "STORAGE_FULL",
            Self::File(_) | Self::LostWrites => "STORAGE",
            Self::Restore(restore::Error::Store(error)) => store_code(error),
            Self::Restore(
                restore::Error::BrokenChain { .. }
                | restore::Error::OtherDatabase { .. }
                | restore::Error::Plan(PlanError::Behind { .. }),
            )
            | Self::Diverged(_) => "DIVERGED",
            Self::Restore(restore::Error::Plan(_)) => "NO_PLAN",
            Self::Restore(_) => "DAMAGED",
            Self::NoCopy => "NO_COPY",
            Self::Reading => "READING",
            Self::PositionMoved => "POSITION_MOVED",
            Self::OnItsWay => "ON_ITS_WAY",
            Self::Sql { code, .. } => code,
            Self::Invalid(_) => "INVALID",
            Self::Aborted => "ABORTED",
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Restore(error.into())
    }
}

fn store_code(error: &store::Error) -> &'static str {
    match error {
        store::Error::NotFound(_) => "NOT_FOUND",
        store::Error::Denied(_) => "DENIED",
        store::Error::Unavailable(_) => "UNREACHABLE",
        store::Error::OutOfRange(_) => "DAMAGED",
        _ => "PROTOCOL",
    }
}
