//! Why a restore fails.

use std::io;
use std::path::PathBuf;

/// Why a database was not restored. Each is a sentence that can be shown to a person.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The replica does not give it.
    #[error(transparent)]
    Replica(#[from] crate::restore::Error),
    /// What Litestream 0.3 left does not give it.
    #[error(transparent)]
    Old(#[from] super::v3::Error),
    /// Nothing is overwritten.
    #[error("{0} exists already: move it away, or restore to another path")]
    Exists(PathBuf),
    /// SQLite would take it for a part of the new database.
    #[error(
        "{0} is left from another database, and SQLite would take it for a part of the restored one: \
         move it away, or restore to another path"
    )]
    Leftover(PathBuf),
    /// Where the file is to go there is no folder.
    #[error("there is no folder {0} to restore to: create it first")]
    NoFolder(PathBuf),
    /// SQLite finds fault with the database.
    #[error("SQLite finds fault with the restored database, which is as it was shipped: {0}")]
    Integrity(String),
    /// A thread of ours did not come to its end.
    #[error("the restore was broken off: {0}")]
    Broken(String),
    /// A copy that is followed has another change counter than it was left with.
    #[error(
        "{0} was changed by someone else: a copy that is followed is to be read only. Move it and its -follow file away, and \
         it is restored anew"
    )]
    Changed(PathBuf),
    /// A copy that is followed cannot be read or written.
    #[error("{path}: {why}")]
    Copy {
        /// The copy.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The file cannot be written.
    #[error("cannot write {path}: {source}")]
    Output {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}
