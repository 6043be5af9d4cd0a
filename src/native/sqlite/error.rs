//! What can go wrong with a live database.

use std::path::PathBuf;

/// Why a database could not be followed. Each is a sentence that can be shown to a person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing at the path.
    #[error("there is no database at {0}")]
    Missing(PathBuf),
    /// A directory, a device.
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// Some other format, or encrypted.
    #[error("{0} is not an SQLite database")]
    NotSqlite(PathBuf),
    /// Another journal mode.
    #[error("{0} is not in WAL mode; switch it with `PRAGMA journal_mode=wal`, or let --set-wal do it")]
    NotWal(PathBuf),
    /// The application keeps every lock.
    #[error(
        "{0} is locked by another process and stays so: if the application uses locking_mode=EXCLUSIVE, \
         it must give that up, because nobody else can read its database"
    )]
    Exclusive(PathBuf),
    /// Read-only media or permissions.
    #[error("{0} can only be read: following it needs write permission to it and to its directory")]
    ReadOnly(PathBuf),
    /// -wal or -shm of another user: who opened the database as root, most often.
    #[error(
        "{file} cannot be read and written by this user (uid {uid}), it belongs to uid {owner}: run the application \
         and walferry as one user; if nothing has the database open, chown the file to the owner of the database, \
         but never delete it"
    )]
    Beside {
        /// The file beside the database.
        file: PathBuf,
        /// Who we are.
        uid: u32,
        /// Whose it is.
        owner: u32,
    },
    /// This process follows the file already.
    #[error("{0} is followed by this process already")]
    AlreadyOpen(PathBuf),
    /// SQLite too old.
    #[error(
        "this program was built with SQLite {0}; it needs 3.51.3 or newer, which corrects the WAL-reset bug"
    )]
    TooOld(String),
    /// A lock stayed out of reach for as long as was allowed.
    #[error("could not {action} {path}: other processes kept it locked all the while")]
    Busy {
        /// What was wanted.
        action: &'static str,
        /// The database.
        path: PathBuf,
    },
    /// The WAL was restarted or replaced while its frames were read, and they were not held by the pin. Whoever
    /// follows must compare pages.
    #[error("the WAL of {0} changed while it was read")]
    Moved(PathBuf),
    /// SQLite and its files contradict each other.
    #[error("{path} cannot be followed: {what}")]
    Damaged {
        /// The database.
        path: PathBuf,
        /// The contradiction.
        what: &'static str,
    },
    /// The wal-index is of an unknown kind.
    #[error("the WAL of {path} cannot be followed: {source}")]
    WalIndex {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        source: crate::wal::Error,
    },
    /// SQLite refused.
    #[error("SQLite could not {action} {path}: {source}")]
    Sqlite {
        /// What it was asked.
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
    /// The system refused.
    #[error("could not {action} {path}: {source}")]
    Io {
        /// What it was asked.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
}

/// What kind of trouble an error is, for exit codes and retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What the user named cannot be followed as it is.
    Input,
    /// Others are at it; trying again later may help.
    Busy,
    /// What was read does not continue what was read before: compare pages, then go on.
    Moved,
    /// The database or the disk.
    Database,
}

impl Error {
    /// The kind of trouble.
    pub fn class(&self) -> Class {
        match self {
            Self::Missing(_)
            | Self::NotAFile(_)
            | Self::NotSqlite(_)
            | Self::NotWal(_)
            | Self::ReadOnly(_)
            | Self::Beside { .. }
            | Self::AlreadyOpen(_)
            | Self::TooOld(_) => Class::Input,
            Self::Exclusive(_) | Self::Busy { .. } => Class::Busy,
            Self::Moved(_) => Class::Moved,
            Self::Damaged { .. } | Self::WalIndex { .. } | Self::Sqlite { .. } | Self::Io { .. } => {
                Class::Database
            }
        }
    }
}
