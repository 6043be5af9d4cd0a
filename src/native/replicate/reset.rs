//! Forgetting what was remembered between runs.

use std::path::{Path, PathBuf};

use super::Error;
use super::state::StateFolder;

/// Where the local state of a database is. `database` is absolute.
pub fn local_state(database: &Path) -> PathBuf {
    StateFolder::beside(database)
}

/// Removes the local state of a database, so that the next start compares all pages. Refused while someone follows
/// the database.
pub fn reset(database: &Path) -> Result<(), Error> {
    let folder = local_state(database);
    // Whoever follows it holds the lock.
    let _held = StateFolder::open(folder.clone())?;
    std::fs::remove_dir_all(&folder).map_err(|source| Error::Io {
        what: format!("cannot remove {}", folder.display()),
        source,
    })
}
