//! Wakes whoever follows a database when its files are written.
//!
//! The two files are watched, not their directory: a directory may hold much else that is written, other databases
//! for one. The system's notification comes when bytes are written, which is *before* they are committed, and none
//! comes with the commit itself: whoever is woken may have to look more than once. A file that is mapped into memory,
//! as -shm is, notifies nobody.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// How often to wake where the system does not notify. Looking costs next to nothing: the wal-index is in memory.
const POLL: Duration = Duration::from_millis(250);

/// What hears for all databases of this process; a clone is the same hub.
#[derive(Clone, Debug, Default)]
pub struct Hub;

impl Hub {
    /// Hears by the system's notification.
    pub fn new() -> Self {
        Self
    }

    /// Watches the database at `database`, an absolute path without symbolic links, and the WAL at `wal`.
    pub fn watch(&self, database: &Path, wal: &Path) -> Watcher {
        Watcher::new(database, wal)
    }
}

/// Watches a database and its WAL.
#[derive(Debug)]
pub struct Watcher {
    database: PathBuf,
    wal: PathBuf,
    signals: Arc<Signals>,
    /// `None` where the system has no notification, or no more to give away.
    system: Option<RecommendedWatcher>,
    /// The WAL is left alone for now.
    paused: bool,
    /// The system notifies of the WAL, as far as that is wanted.
    hears_wal: bool,
    /// It notifies of the database.
    hears_database: bool,
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
struct Signals {
    wal: AtomicBool,
    database: AtomicBool,
    /// One of the files was deleted or renamed, and the watch of it with it.
    lost: AtomicBool,
    wake: Notify,
}

impl Watcher {
    /// Watches the database at `database`, an absolute path without symbolic links, and the WAL at `wal`. Falls back
    /// to polling where the system cannot notify.
    pub fn new(database: &Path, wal: &Path) -> Self {
        let signals = Arc::new(Signals::default());
        let handler = handler(database.into(), wal.into(), Arc::clone(&signals));
        let system = notify::recommended_watcher(handler)
            .inspect_err(|error| tracing::warn!(%error, "no file notification: polling instead"))
            .ok();
        let (paused, hears_wal, hears_database) = (false, false, false);
        let (database, wal) = (database.into(), wal.into());
        let mut watcher = Self {
            database,
            wal,
            signals,
            system,
            paused,
            hears_wal,
            hears_database,
        };
        watcher.listen();
        watcher
    }

    /// Waits for a write. May be dropped while it waits without losing one.
    pub async fn wait(&mut self) -> Wake {
        loop {
            if self.signals.lost.swap(false, Ordering::AcqRel) {
                self.listen();
            }
            let wake = self.signals.take();
            if wake != Wake::default() {
                return wake;
            }
            let woken = self.signals.wake.notified();
            if self.hears_wal && self.hears_database {
                woken.await;
            } else if tokio::time::timeout(POLL, woken).await.is_err() {
                self.listen();
                return Wake {
                    wal: !self.paused,
                    database: true,
                };
            }
        }
    }

    /// Leaves the WAL alone: while it is written all the time and read at an interval, events only cost, the writers
    /// too. The database file is listened to as before: whoever copies frames back may have to wait for us.
    pub fn pause(&mut self) {
        self.paused = true;
        self.listen_to_wal();
    }

    /// Listens to the WAL again. What was written to it meanwhile is not told: look once after this.
    pub fn resume(&mut self) {
        self.paused = false;
        self.listen_to_wal();
    }

    /// Watches both files as they are now.
    fn listen(&mut self) {
        self.hears_database = listen_to(&mut self.system, &self.database);
        self.listen_to_wal();
    }

    fn listen_to_wal(&mut self) {
        self.hears_wal = if self.paused {
            ignore(&mut self.system, &self.wal);
            true
        } else {
            listen_to(&mut self.system, &self.wal)
        };
    }
}

/// Watches the file that is now at a path; false if it cannot be watched.
fn listen_to(system: &mut Option<RecommendedWatcher>, path: &Path) -> bool {
    ignore(system, path);
    system
        .as_mut()
        .is_some_and(|system| system.watch(path, RecursiveMode::NonRecursive).is_ok())
}

fn ignore(system: &mut Option<RecommendedWatcher>, path: &Path) {
    if let Some(system) = system {
        // A file that is gone, or was not there, is not watched.
        system.unwatch(path).ok();
    }
}

impl Signals {
    fn take(&self) -> Wake {
        Wake {
            wal: self.wal.swap(false, Ordering::AcqRel),
            database: self.database.swap(false, Ordering::AcqRel),
        }
    }
}

/// What is done on the thread of the system's notification.
fn handler(
    database: PathBuf,
    wal: PathBuf,
    signals: Arc<Signals>,
) -> impl FnMut(notify::Result<notify::Event>) + Send {
    move |event| {
        // An error, or a queue that ran over, may stand for anything.
        let (is_database, is_wal) = match &event {
            Ok(event) if !event.need_rescan() => {
                let gone = matches!(
                    event.kind,
                    EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
                );
                if !gone && !matches!(event.kind, EventKind::Modify(_) | EventKind::Create(_)) {
                    return;
                }
                signals.lost.fetch_or(gone, Ordering::AcqRel);
                (event.paths.contains(&database), event.paths.contains(&wal))
            }
            _ => (true, true),
        };
        signals.database.fetch_or(is_database, Ordering::AcqRel);
        signals.wal.fetch_or(is_wal, Ordering::AcqRel);
        signals.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::time::Instant;
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
        let mut watcher = Watcher::new(&files.database, &files.wal);
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
        let mut watcher = Watcher::new(&files.database, &files.wal);
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
        let mut watcher = Watcher::new(&files.database, &files.wal);
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
        let mut watcher = Watcher::new(&files.database, &files.wal);
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
    async fn files_that_cannot_be_watched_are_polled() {
        let files = files();
        std::fs::remove_file(&files.wal).unwrap();
        let mut watcher = Watcher::new(&files.database, &files.wal);
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
