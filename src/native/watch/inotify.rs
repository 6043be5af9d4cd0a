//! Linux: one inotify descriptor, read on the event loop.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

use super::listener::{Listener, Told};

/// What tells of the content of a file, and that its path may mean another: an unlinked file that is still open
/// gets nothing but a new attribute, its number of links.
const FILE: WatchFlags = WatchFlags::MODIFY.union(SELF);
/// What tells of the entries of a folder. What is written to them is nobody's business here.
const FOLDER: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);
const SELF: WatchFlags = WatchFlags::ATTRIB
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);

/// The system's notification. It ends with this value.
#[derive(Debug)]
pub(super) struct Notifier {
    shared: Arc<Shared>,
    reader: AbortHandle,
}

/// One path that is watched, until this is dropped.
#[derive(Debug)]
pub(super) struct Subscription {
    shared: Arc<Shared>,
    watch: i32,
    number: u64,
}

/// Who listens to which of the kernel's watches: one of those stands for a file, whatever paths lead to it.
type Listeners = HashMap<i32, Vec<(u64, Arc<dyn Listener>)>>;

#[derive(Debug)]
struct Shared {
    descriptor: AsyncFd<OwnedFd>,
    listeners: Mutex<Listeners>,
    next_number: AtomicU64,
}

impl Notifier {
    /// Within a runtime.
    pub(super) fn start() -> io::Result<Self> {
        let descriptor = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // SAFETY: an `OwnedFd` is the same open descriptor from now until it is dropped, with the registration.
        let descriptor = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
        let shared = Arc::new(Shared {
            descriptor,
            listeners: Mutex::default(),
            next_number: AtomicU64::default(),
        });
        let reader = tokio::spawn(read(Arc::clone(&shared))).abort_handle();
        Ok(Self { shared, reader })
    }

    pub(super) fn file(&self, path: &Path, listener: Arc<dyn Listener>) -> io::Result<Subscription> {
        self.subscribe(path, FILE, listener)
    }

    pub(super) fn folder(&self, path: &Path, listener: Arc<dyn Listener>) -> io::Result<Subscription> {
        self.subscribe(path, FOLDER, listener)
    }

    fn subscribe(
        &self,
        path: &Path,
        flags: WatchFlags,
        listener: Arc<dyn Listener>,
    ) -> io::Result<Subscription> {
        let mut listeners = self.shared.listeners();
        let watch = inotify::add_watch(&self.shared.descriptor, path, flags)?;
        let number = self.shared.next_number.fetch_add(1, Ordering::Relaxed);
        listeners.entry(watch).or_default().push((number, listener));
        Ok(Subscription {
            shared: Arc::clone(&self.shared),
            watch,
            number,
        })
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut listeners = self.shared.listeners();
        // The kernel has removed the watch of a file that is gone, and said so.
        let Some(those) = listeners.get_mut(&self.watch) else {
            return;
        };
        those.retain(|(number, _)| *number != self.number);
        if those.is_empty() {
            listeners.remove(&self.watch);
            inotify::remove_watch(&self.shared.descriptor, self.watch).ok();
        }
    }
}

impl Shared {
    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: &inotify::Event<'_>) {
        let mut listeners = self.listeners();
        let flags = event.events();
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            for (_, listener) in listeners.values().flatten() {
                listener.told(Told::Anything);
            }
            return;
        }
        let told = match event.file_name() {
            Some(name) => Told::Entry(OsStr::from_bytes(name.to_bytes())),
            None if flags == ReadFlags::MODIFY => Told::Written,
            None => Told::Elsewhere,
        };
        for (_, listener) in listeners.get(&event.wd()).into_iter().flatten() {
            listener.told(told);
        }
        if flags.contains(ReadFlags::IGNORED) {
            listeners.remove(&event.wd());
        }
    }
}

async fn read(shared: Arc<Shared>) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    loop {
        let Ok(mut ready) = shared.descriptor.readable().await else {
            return;
        };
        let mut reader = Reader::new(&shared.descriptor, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => shared.tell(&event),
                Err(Errno::INTR) => {}
                Err(error) => {
                    if error != Errno::AGAIN {
                        tracing::error!("cannot read file notifications: {error}");
                    }
                    ready.clear_ready();
                    break;
                }
            }
        }
    }
}
