//! What hears for all databases of this process.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::folders::Folders;
#[cfg(target_os = "linux")]
use super::inotify::{Notifier, Subscription};
use super::listener::{Listener, Told};
use super::watcher::{Signals, Wake, Watcher};

/// How often to wake where the system does not notify. Looking costs next to nothing: the wal-index is in memory.
const POLL: Duration = Duration::from_millis(250);

/// Hears of writes for everybody who watches by it; a clone is the same hub.
#[derive(Clone, Debug)]
pub struct Hub(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    ears: Ears,
    deaf: Arc<Deaf>,
    warned: Cell<bool>,
}

#[derive(Debug)]
enum Ears {
    System(Notifier),
    /// Hears what it is told.
    Manual(RefCell<Vec<(PathBuf, Weak<Signals>)>>),
    None,
}

impl Hub {
    /// Hears by the system's notification, or by looking now and then where there is none. Within a runtime.
    pub fn new() -> Self {
        let ears = match Notifier::start() {
            Ok(notifier) => Ears::System(notifier),
            Err(error) => {
                tracing::warn!("no file notification, looking four times a second instead: {error}");
                Ears::None
            }
        };
        Self::with(ears)
    }

    /// Hears only what [`Hub::wake`] says.
    pub fn manual() -> Self {
        Self::with(Ears::Manual(RefCell::default()))
    }

    fn with(ears: Ears) -> Self {
        Self(Rc::new(Inner {
            ears,
            deaf: Arc::default(),
            warned: Cell::new(false),
        }))
    }

    /// Watches the database at `database`, an absolute path without symbolic links, and the WAL at `wal`.
    pub fn watch(&self, database: &Path, wal: &Path) -> Watcher {
        let watcher = Watcher::new(self.clone(), database.into(), wal.into());
        if let Ears::Manual(watched) = &self.0.ears {
            let mut watched = watched.borrow_mut();
            watched.retain(|(_, signals)| signals.strong_count() > 0);
            watched.push((database.into(), Arc::downgrade(watcher.signals())));
        }
        watcher
    }

    /// Watches the entries of folders; none yet.
    pub fn watch_folders(&self) -> Folders {
        Folders::new(self.clone())
    }

    /// For a manual hub: wakes whoever watches this database, as if its files had been written.
    pub fn wake(&self, database: &Path, wake: Wake) {
        let Ears::Manual(watched) = &self.0.ears else {
            return;
        };
        for (path, signals) in watched.borrow().iter() {
            if path == database
                && let Some(signals) = signals.upgrade()
            {
                signals.wake(wake);
            }
        }
    }

    /// Hears of a file from now on; `None` where that cannot be.
    pub(super) fn file(&self, path: &Path, listener: Arc<dyn Listener>) -> Option<Hearing> {
        self.subscribe(path, |notifier| notifier.file(path, listener))
    }

    /// Hears of the entries of a folder from now on; `None` where that cannot be.
    pub(super) fn folder(&self, path: &Path, listener: Arc<dyn Listener>) -> Option<Hearing> {
        self.subscribe(path, |notifier| notifier.folder(path, listener))
    }

    /// Wakes a listener that does not hear after a while, once.
    pub(super) fn later(&self, listener: Arc<dyn Listener>) {
        self.0.deaf.add(Arc::downgrade(&listener));
    }

    fn subscribe(
        &self,
        path: &Path,
        subscribe: impl FnOnce(&Notifier) -> io::Result<Subscription>,
    ) -> Option<Hearing> {
        match &self.0.ears {
            Ears::System(notifier) => subscribe(notifier)
                .inspect_err(|error| self.cannot_hear(path, error))
                .map(|subscription| Hearing(Some(subscription)))
                .ok(),
            Ears::Manual(_) => Some(Hearing(None)),
            Ears::None => None,
        }
    }

    /// A file that is not there is nothing to talk about; a limit is, once.
    fn cannot_hear(&self, path: &Path, error: &io::Error) {
        if error.kind() != io::ErrorKind::NotFound && !self.0.warned.replace(true) {
            tracing::warn!(
                "cannot be notified of {}, looking four times a second instead: {error}; if the system's watches are \
                 used up, raise fs.inotify.max_user_watches",
                path.display()
            );
        }
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

/// While it lives, a path is heard of.
#[derive(Debug)]
pub(super) struct Hearing(#[expect(dead_code, reason = "it hears until it is dropped")] Option<Subscription>);

/// Those that nothing tells when their files are written.
#[derive(Debug, Default)]
struct Deaf(Mutex<Vec<Weak<dyn Listener>>>);

impl Deaf {
    /// One timer for all of them, while there are any.
    fn add(self: &Arc<Self>, listener: Weak<dyn Listener>) {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.push(listener);
        if listeners.len() > 1 {
            return;
        }
        let deaf = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(POLL).await;
            let listeners = std::mem::take(&mut *deaf.0.lock().unwrap_or_else(PoisonError::into_inner));
            for listener in listeners.iter().filter_map(Weak::upgrade) {
                listener.told(Told::Anything);
            }
        });
    }
}

/// Where there is no notification.
#[cfg(not(target_os = "linux"))]
mod silent {
    use super::{Arc, Listener, Path, io};

    #[derive(Debug)]
    pub(super) enum Notifier {}
    #[derive(Debug)]
    pub(super) enum Subscription {}

    impl Notifier {
        pub(super) fn start() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn file(&self, _: &Path, _: Arc<dyn Listener>) -> io::Result<Subscription> {
            match *self {}
        }

        pub(super) fn folder(&self, _: &Path, _: Arc<dyn Listener>) -> io::Result<Subscription> {
            match *self {}
        }
    }
}
#[cfg(not(target_os = "linux"))]
use silent::{Notifier, Subscription};
