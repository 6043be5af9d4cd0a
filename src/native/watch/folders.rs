//! Folders whose entries come and go.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::hub::{Hearing, Hub};
use super::listener::{Listener, Told};

/// Watches the entries of folders.
#[derive(Debug)]
pub struct Folders {
    hub: Hub,
    /// `None` where nothing tells: it is looked at now and then.
    watched: BTreeMap<PathBuf, Option<Hearing>>,
    signals: Arc<Signals>,
}

#[derive(Debug, Default)]
struct Signals {
    changed: AtomicBool,
    /// A folder was deleted or renamed, and the watch of it with it.
    elsewhere: AtomicBool,
    /// It will be told after a while, whatever happens.
    later: AtomicBool,
    wake: Notify,
}

impl Folders {
    pub(super) fn new(hub: Hub) -> Self {
        Self {
            hub,
            watched: BTreeMap::new(),
            signals: Arc::default(),
        }
    }

    /// Watches a folder too. Look into it after this, and no change is missed.
    pub fn add(&mut self, folder: &Path) {
        if !self.watched.contains_key(folder) {
            let hearing = self.hear(folder);
            self.watched.insert(folder.into(), hearing);
        }
    }

    /// Watches only those from now on.
    pub fn retain(&mut self, mut wanted: impl FnMut(&Path) -> bool) {
        self.watched.retain(|folder, _| wanted(folder));
    }

    /// Waits until an entry comes or goes, of whichever folder. May be dropped while it waits without losing one.
    pub async fn changed(&mut self) {
        loop {
            if self.signals.elsewhere.swap(false, Ordering::AcqRel) {
                self.listen();
            }
            if self.signals.changed.swap(false, Ordering::AcqRel) {
                return;
            }
            let is_deaf = self.watched.values().any(Option::is_none);
            if is_deaf && !self.signals.later.swap(true, Ordering::AcqRel) {
                self.hub.later(self.signals.clone());
            }
            self.signals.wake.notified().await;
        }
    }

    fn listen(&mut self) {
        let folders: Vec<PathBuf> = self.watched.keys().cloned().collect();
        for folder in folders {
            let hearing = self.hear(&folder);
            self.watched.insert(folder, hearing);
        }
    }

    fn hear(&self, folder: &Path) -> Option<Hearing> {
        self.hub.folder(folder, self.signals.clone())
    }
}

impl Listener for Signals {
    fn told(&self, what: Told<'_>) {
        match what {
            Told::Entry(name) if is_passing(name) => return,
            Told::Elsewhere | Told::Anything => self.elsewhere.store(true, Ordering::Release),
            Told::Entry(_) | Told::Written => {}
        }
        if matches!(what, Told::Anything) {
            self.later.store(false, Ordering::Release);
        }
        self.changed.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

/// What SQLite makes and deletes beside a database, over and over.
fn is_passing(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    [b"-journal".as_slice(), b"-shm"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Write;
    use std::time::Duration;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(5);
    const QUIET: Duration = Duration::from_millis(600);

    async fn quiet(folders: &mut Folders) -> bool {
        timeout(QUIET, folders.changed()).await.is_err()
    }

    async fn told(folders: &mut Folders) -> bool {
        timeout(SOON, folders.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn entries_that_come_and_go_wake_and_what_is_written_does_not() {
        let root = tempfile::tempdir().unwrap();
        let (a, b) = (root.path().join("a"), root.path().join("b"));
        fs::create_dir(&a).unwrap();
        fs::create_dir(&b).unwrap();
        let hub = Hub::new();
        let mut folders = hub.watch_folders();
        folders.add(&a);
        folders.add(&b);
        let mut file = File::create(b.join("app.db")).unwrap();
        assert!(told(&mut folders).await);
        file.write_all(b"page").unwrap();
        drop(file);
        fs::read(b.join("app.db")).unwrap();
        File::create(b.join("app.db-journal")).unwrap();
        fs::remove_file(b.join("app.db-journal")).unwrap();
        assert!(quiet(&mut folders).await);
        fs::rename(b.join("app.db"), a.join("app.db")).unwrap();
        assert!(told(&mut folders).await);
        folders.retain(|folder| folder == b);
        fs::remove_file(a.join("app.db")).unwrap();
        assert!(quiet(&mut folders).await);
    }

    #[tokio::test]
    async fn a_folder_deleted_and_made_anew_is_watched_again() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a");
        fs::create_dir(&folder).unwrap();
        let hub = Hub::new();
        let mut folders = hub.watch_folders();
        folders.add(&folder);
        fs::remove_dir(&folder).unwrap();
        assert!(told(&mut folders).await);
        fs::create_dir(&folder).unwrap();
        while !quiet(&mut folders).await {}
        File::create(folder.join("app.db")).unwrap();
        assert!(told(&mut folders).await);
    }
}
