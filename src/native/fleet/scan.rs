//! Which databases are in the folders of a configuration, and when that may have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use crate::native::config::{Database, Folder};
use crate::native::watch::{Folders, Hub};

/// What every SQLite database starts with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// What SQLite keeps beside a database.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];
/// Entries come in numbers: one look for many.
const GATHER: Duration = Duration::from_millis(50);

/// Looks into folders.
#[derive(Debug)]
pub(super) struct Scanner {
    folders: Vec<Folder>,
    watched: Folders,
    /// Something has changed and nobody has looked yet.
    changed: bool,
}

/// Databases by path; an error is one that has no place to go.
pub type Found = BTreeMap<PathBuf, Result<Database, String>>;

impl Scanner {
    pub(super) fn new(hub: &Hub, folders: Vec<Folder>) -> Self {
        Self {
            folders,
            watched: hub.watch_folders(),
            changed: false,
        }
    }

    /// Whether databases may come and go.
    pub(super) fn watches(&self) -> bool {
        self.folders.iter().any(|folder| folder.watch)
    }

    /// Waits until a database may have come or gone. May be dropped while it waits.
    pub(super) async fn changed(&mut self) {
        if !self.changed {
            self.watched.changed().await;
            self.changed = true;
        }
        sleep(GATHER).await;
        self.changed = false;
    }

    /// The databases that are there. A file that is `known` is not opened: closing it would drop the locks that
    /// SQLite holds on it for this process.
    pub(super) fn scan(&mut self, known: impl Fn(&Path) -> bool) -> Found {
        let Self { folders, watched, .. } = self;
        let mut seen = BTreeSet::new();
        let found = walk(folders, known, |path, is_watched| {
            if is_watched {
                // Before it is read, so that nothing is missed.
                watched.add(path);
            }
            seen.insert(path.to_owned());
        });
        watched.retain(|path| seen.contains(path));
        found
    }
}

/// The databases that are in folders now. Not for a process that has some of them open: see [`Scanner::scan`].
pub fn look(folders: &[Folder]) -> Found {
    walk(folders, |_| false, |_, _| {})
}

/// `enter` is told of every folder before it is read, and whether it is to be watched.
fn walk(folders: &[Folder], known: impl Fn(&Path) -> bool, mut enter: impl FnMut(&Path, bool)) -> Found {
    let mut found = Found::new();
    for folder in folders {
        let mut inside = vec![folder.path.clone()];
        while let Some(path) = inside.pop() {
            enter(&path, folder.watch);
            match std::fs::read_dir(&path) {
                Ok(entries) => look_at(entries, folder, &known, &mut found, &mut inside),
                Err(error) => tracing::warn!("cannot look into the folder {}: {error}", path.display()),
            }
        }
    }
    found
}

fn look_at(
    entries: std::fs::ReadDir,
    folder: &Folder,
    known: &impl Fn(&Path) -> bool,
    found: &mut Found,
    inside: &mut Vec<PathBuf>,
) {
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            // Ours, for instance.
            if folder.recursive && !name.starts_with('.') {
                inside.push(path);
            }
        } else if folder.pattern.is_match(&*name)
            && !COMPANIONS.iter().any(|end| name.ends_with(end))
            && !found.contains_key(&path)
            && (known(&path) || may_be_database(&path))
        {
            found.insert(path.clone(), folder.database(&path));
        }
    }
}

/// Whether it is one, or empty and may become one.
fn may_be_database(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start));
    read.is_ok() && (start.is_empty() || start == MAGIC)
}
