//! Watches the files of one database.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::hub::{Hearing, Hub};
use super::listener::{Listener, Told};

/// Watches a database and its WAL; see [`Hub::watch`].
#[derive(Debug)]
pub struct Watcher {
    hub: Hub,
    database: PathBuf,
    wal: PathBuf,
    signals: Arc<Signals>,
    /// `None` where nothing tells of the database file.
    hears_database: Option<Hearing>,
    /// `None` where nothing tells of the WAL, and while it is left alone.
    hears_wal: Option<Hearing>,
}

/// What was written since the last wake, however often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// The WAL: a commit is under way.
    pub wal: bool,
    /// The database file: somebody copies frames back, or it was replaced.
    pub database: bool,
}

#[derive(Debug, Default)]
pub(super) struct Signals {
    wal: AtomicBool,
    database: AtomicBool,
    /// The WAL is left alone for now.
    paused: AtomicBool,
    /// One of the files was deleted or renamed, and the watch of it with it.
    elsewhere: AtomicBool,
    /// It will be told after a while, whatever happens.
    later: AtomicBool,
    wake: Notify,
}

impl Watcher {
    pub(super) fn new(hub: Hub, database: PathBuf, wal: PathBuf) -> Self {
        let mut watcher = Self {
            hub,
            database,
            wal,
            signals: Arc::default(),
            hears_database: None,
            hears_wal: None,
        };
        watcher.listen();
        watcher
    }

    /// Waits for a write. May be dropped while it waits without losing one.
    pub async fn wait(&mut self) -> Wake {
        loop {
            if self.signals.elsewhere.swap(false, Ordering::AcqRel) {
                self.listen();
            }
            let wake = self.signals.take();
            if wake != Wake::default() {
                return wake;
            }
            if self.is_deaf() && !self.signals.later.swap(true, Ordering::AcqRel) {
                self.hub.later(self.signals.clone());
            }
            self.signals.wake.notified().await;
        }
    }

    /// Leaves the WAL alone: while it is written all the time and read at an interval, events only cost, the writers
    /// too. The database file is listened to as before: whoever copies frames back may have to wait for us.
    pub fn pause(&mut self) {
        self.signals.paused.store(true, Ordering::Release);
        self.listen_to_wal();
    }

    /// Listens to the WAL again. What was written to it meanwhile is not told: look once after this.
    pub fn resume(&mut self) {
        self.signals.paused.store(false, Ordering::Release);
        self.listen_to_wal();
    }

    pub(super) fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    fn is_paused(&self) -> bool {
        self.signals.paused.load(Ordering::Acquire)
    }

    fn is_deaf(&self) -> bool {
        self.hears_database.is_none() || (self.hears_wal.is_none() && !self.is_paused())
    }

    /// Watches both files as they are now.
    fn listen(&mut self) {
        let listener = Arc::new(Database(self.signals.clone()));
        self.hears_database = self.hub.file(&self.database, listener);
        self.listen_to_wal();
    }

    fn listen_to_wal(&mut self) {
        self.hears_wal = if self.is_paused() {
            None
        } else {
            self.hub.file(&self.wal, Arc::new(Wal(self.signals.clone())))
        };
    }
}

impl Signals {
    /// Woken by hand.
    pub(super) fn wake(&self, wake: Wake) {
        if wake.wal && !self.paused.load(Ordering::Acquire) {
            self.written(&self.wal);
        }
        if wake.database {
            self.written(&self.database);
        }
    }

    fn take(&self) -> Wake {
        Wake {
            wal: self.wal.swap(false, Ordering::AcqRel),
            database: self.database.swap(false, Ordering::AcqRel),
        }
    }

    fn written(&self, which: &AtomicBool) {
        which.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    fn told(&self, which: &AtomicBool, what: Told<'_>) {
        if matches!(what, Told::Elsewhere | Told::Anything) {
            self.elsewhere.store(true, Ordering::Release);
        }
        self.written(which);
    }
}

#[derive(Debug)]
struct Database(Arc<Signals>);

#[derive(Debug)]
struct Wal(Arc<Signals>);

impl Listener for Database {
    fn told(&self, what: Told<'_>) {
        self.0.told(&self.0.database, what);
    }
}

impl Listener for Wal {
    fn told(&self, what: Told<'_>) {
        self.0.told(&self.0.wal, what);
    }
}

/// After a while without being told.
impl Listener for Signals {
    fn told(&self, _: Told<'_>) {
        self.later.store(false, Ordering::Release);
        self.elsewhere.store(true, Ordering::Release);
        self.wake(Wake {
            wal: true,
            database: true,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::path::Path;
    use std::time::{Duration, Instant};
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(5);
    const QUIET: Duration = Duration::from_millis(600);
    const WAL: Wake = Wake {
        wal: true,
        database: false,
    };

    struct Files {
        _directory: tempfile::TempDir,
        database: PathBuf,
        wal: PathBuf,
    }

    fn files() -> Files {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let (database, wal) = (root.join("a.db"), root.join("a.db-wal"));
        File::create(&database).unwrap();
        File::create(&wal).unwrap();
        Files {
            _directory: directory,
            database,
            wal,
        }
    }

    fn write(path: &Path) {
        OpenOptions::new()
            .append(true)
            .open(path)
            .unwrap()
            .write_all(b"frame")
            .unwrap();
    }

    #[tokio::test]
    async fn a_write_wakes_and_says_which_file() {
        let files = files();
        let mut watcher = Hub::new().watch(&files.database, &files.wal);
        write(&files.wal);
        assert_eq!(timeout(SOON, watcher.wait()).await.unwrap(), WAL);
        write(&files.database);
        let wake = timeout(SOON, watcher.wait()).await.unwrap();
        assert_eq!(
            wake,
            Wake {
                wal: false,
                database: true
            }
        );
        // Neither reading a file nor writing to its neighbour is a reason.
        File::open(&files.wal).unwrap();
        File::create(files.wal.with_file_name("b.db-wal")).unwrap();
        assert!(timeout(QUIET, watcher.wait()).await.is_err());
    }

    #[tokio::test]
    async fn many_writes_are_few_wakes() {
        let files = files();
        let mut watcher = Hub::new().watch(&files.database, &files.wal);
        for _ in 0..1000 {
            write(&files.wal);
        }
        let (start, mut wakes) = (Instant::now(), 0);
        while let Ok(wake) = timeout(QUIET, watcher.wait()).await {
            assert_eq!(wake, WAL);
            wakes += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(start.elapsed() < SOON);
        }
        assert!((1..=20).contains(&wakes), "{wakes} wakes");
    }

    #[tokio::test]
    async fn a_pause_leaves_the_wal_alone_and_the_database_not() {
        let files = files();
        let mut watcher = Hub::new().watch(&files.database, &files.wal);
        watcher.pause();
        write(&files.wal);
        assert!(timeout(QUIET, watcher.wait()).await.is_err());
        write(&files.database);
        let wake = timeout(SOON, watcher.wait()).await.unwrap();
        assert_eq!(
            wake,
            Wake {
                wal: false,
                database: true
            }
        );
        watcher.resume();
        assert!(timeout(QUIET, watcher.wait()).await.is_err());
        write(&files.wal);
        assert_eq!(timeout(SOON, watcher.wait()).await.unwrap(), WAL);
    }

    #[tokio::test]
    async fn a_wal_deleted_and_created_anew_is_watched_again() {
        let files = files();
        let mut watcher = Hub::new().watch(&files.database, &files.wal);
        std::fs::remove_file(&files.wal).unwrap();
        assert!(timeout(SOON, watcher.wait()).await.unwrap().wal);
        File::create(&files.wal).unwrap();
        // It is polled for until it is there, then quiet again.
        let start = Instant::now();
        while timeout(QUIET, watcher.wait()).await.is_ok() {
            assert!(start.elapsed() < SOON);
        }
        write(&files.wal);
        assert_eq!(timeout(SOON, watcher.wait()).await.unwrap(), WAL);
    }

    #[tokio::test]
    async fn a_file_unlinked_while_it_is_open_is_not_listened_to_any_more() {
        let files = files();
        let _open = [&files.database, &files.wal].map(|path| File::open(path).unwrap());
        let mut watcher = Hub::new().watch(&files.database, &files.wal);
        // As an application replaces a database: rename over it.
        let new = files.database.with_extension("new");
        File::create(&new).unwrap();
        std::fs::rename(&new, &files.database).unwrap();
        assert!(timeout(SOON, watcher.wait()).await.unwrap().database);
        while timeout(QUIET, watcher.wait()).await.is_ok() {}
        write(&files.database);
        assert!(timeout(SOON, watcher.wait()).await.unwrap().database);
    }

    #[tokio::test]
    async fn one_hub_wakes_whom_it_concerns() {
        let (a, b) = (files(), files());
        let hub = Hub::new();
        let mut watch_a = hub.watch(&a.database, &a.wal);
        let mut watch_b = hub.watch(&b.database, &b.wal);
        write(&a.wal);
        assert_eq!(timeout(SOON, watch_a.wait()).await.unwrap(), WAL);
        assert!(timeout(QUIET, watch_b.wait()).await.is_err());
        drop(watch_a);
        write(&b.wal);
        assert_eq!(timeout(SOON, watch_b.wait()).await.unwrap(), WAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_manual_hub_wakes_by_hand_alone() {
        let hub = Hub::manual();
        let (a, b) = (Path::new("/a"), Path::new("/b"));
        let (mut watch_a, mut watch_b) = (
            hub.watch(a, Path::new("/a-wal")),
            hub.watch(b, Path::new("/b-wal")),
        );
        let day = Duration::from_secs(86_400);
        assert!(timeout(day, watch_a.wait()).await.is_err());
        hub.wake(a, WAL);
        assert_eq!(timeout(SOON, watch_a.wait()).await.unwrap(), WAL);
        assert!(timeout(day, watch_b.wait()).await.is_err());
        watch_b.pause();
        hub.wake(b, WAL);
        assert!(timeout(day, watch_b.wait()).await.is_err());
    }

    #[tokio::test]
    async fn files_that_cannot_be_watched_are_polled() {
        let files = files();
        std::fs::remove_file(&files.wal).unwrap();
        let mut watcher = Hub::new().watch(&files.database, &files.wal);
        let wake = timeout(SOON, watcher.wait()).await.unwrap();
        assert_eq!(
            wake,
            Wake {
                wal: true,
                database: true
            }
        );
    }
}
