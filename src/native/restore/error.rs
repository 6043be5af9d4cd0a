//! Why a restore fails.

use std::io;
use std::path::PathBuf;

/// Why a database was not restored. Each is a sentence that can be shown to a person.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The replica does not give it.
    #[error(transparent)]
    Replica(#[from] crate::restore::Error),
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
    /// The file cannot be written.
    #[error("cannot write {path}: {source}")]
    Output {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}
