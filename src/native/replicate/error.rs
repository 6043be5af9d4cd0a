//! Why replication ends.

use std::path::PathBuf;

use crate::ltx::PageSize;
use crate::native::sqlite;
use crate::replica::Position;
use crate::{ltx, restore, store};

/// Why replication could not start or go on. Each is a sentence that can be shown to a person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database.
    #[error(transparent)]
    Database(#[from] sqlite::Error),
    /// The destination.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The replica could not be read back to learn what it holds.
    #[error(transparent)]
    Replica(#[from] restore::Error),
    /// A segment could not be written.
    #[error(transparent)]
    Segment(#[from] ltx::Error),
    /// A file of the local state.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, to what.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Another process follows the database.
    #[error("another walferry is replicating this database: it owns {0}; stop it first")]
    InUse(PathBuf),
    /// Someone else writes to the replica.
    #[error(
        "the replica was at {ours} and someone else has moved it ({store}); two databases or two processes must not \
         share a replica: give each its own"
    )]
    Moved {
        /// Where it was.
        ours: Position,
        /// What it said.
        store: store::Error,
    },
    /// The replica is another database's.
    #[error(
        "the replica {replica} belongs to the database {owner}: two databases must not share a replica, so give this \
         one its own; or, if it is to go on with that history, take the replica over with --takeover"
    )]
    Owned {
        /// The replica.
        replica: String,
        /// The database: its path, its host, and since when.
        owner: String,
    },
    /// Another database has taken the replica over.
    #[error(
        "the replica {replica} was taken over by the database {owner}, so nothing more is shipped to it from here"
    )]
    TakenOver {
        /// The replica.
        replica: String,
        /// The database: its path, its host, and since when.
        owner: String,
    },
    /// The database has other pages than its replica.
    #[error(
        "the database has pages of {database} bytes and the replica pages of {replica}: start a new replica for it, \
         at another path"
    )]
    PageSize {
        /// Of the database.
        database: u32,
        /// Of the replica.
        replica: u32,
    },
    /// The file was replaced while it was followed.
    #[error(
        "the database {0} was replaced or deleted while it was followed: start again to follow the new file"
    )]
    Replaced(PathBuf),
    /// Ending without having shipped everything.
    #[error("not everything is shipped: {0}; it stays in the database and is shipped at the next start")]
    Unshipped(String),
}

impl Error {
    /// Whether it may go better when the same is tried again after a while.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Database(error) => error.class() != sqlite::Class::Input,
            Self::Store(error) => !matches!(error, store::Error::Protocol(_)),
            Self::Replica(_)
            | Self::Segment(_)
            | Self::Io { .. }
            | Self::Replaced(_)
            | Self::Unshipped(_) => true,
            Self::InUse(_)
            | Self::Moved { .. }
            | Self::Owned { .. }
            | Self::TakenOver { .. }
            | Self::PageSize { .. } => false,
        }
    }

    /// Whether others are at the database just now.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Self::Database(error) if error.class() == sqlite::Class::Busy)
    }

    /// Whether the destination may answer later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Store(error) | Self::Replica(restore::Error::Store(error)) => error.is_passing(),
            _ => false,
        }
    }

    /// Whether an object that was listed is not there any more.
    pub(super) fn is_gone(&self) -> bool {
        matches!(
            self,
            Self::Store(store::Error::NotFound(_))
                | Self::Replica(restore::Error::Store(store::Error::NotFound(_)))
        )
    }

    pub(super) fn page_size(database: PageSize, replica: PageSize) -> Self {
        Self::PageSize {
            database: database.get(),
            replica: replica.get(),
        }
    }
}
