//! What a database has that is named later, by nothing but its path and a URL.

use std::path::{Path, PathBuf};

use super::database::Database;
use super::paths;
use super::problem::Place;
use super::replica::{Keys, Replica, Settings};

/// What the configuration says of all databases.
#[derive(Clone, Default)]
pub struct Defaults(pub(super) Settings);

impl Defaults {
    /// A database and its replica. An error is a sentence.
    pub fn database(&self, path: &Path, url: &str) -> Result<Database, String> {
        let settings = self.0.clone();
        let keys = Keys {
            kind: None,
            url: Some((url.to_owned(), Place::default())),
            path: None,
            place: Place::default(),
        };
        let destination = settings.destination(keys).map_err(|(_, why)| why)?;
        let replica: Replica = settings.replica(destination, Place::default());
        Ok(Database::new(real_path(path)?, vec![replica]))
    }
}

/// The path by which a database is known.
pub fn real_path(path: &Path) -> Result<PathBuf, String> {
    let text = path.to_string_lossy();
    if !path.is_absolute() && !text.starts_with('~') {
        return Err(format!("the path {text:?} is not absolute"));
    }
    Ok(paths::real(&paths::absolute(&text)?))
}

impl std::fmt::Debug for Defaults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Defaults").finish_non_exhaustive()
    }
}
