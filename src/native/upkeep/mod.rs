//! Keeps one replica in order beside the engine that fills it: merges segments into levels, bundles the raw ones so that
//! every moment stays restorable, says when a snapshot is due, deletes what no one may want any more.
//!
//! It works only when there is something to do: after the last write the open windows close once, then it costs no timer
//! and no request. Whatever fails is tried again later, and never holds up shipping. What there is to do is for
//! [`crate::replica::next_chore`] to say.

mod brake;
mod error;
mod local;
mod recent;
mod shared;
mod work;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::ltx::Timestamp;
use crate::native::clock::Clock;
use crate::native::status::ReplicaStatus;
pub use crate::replica::Policy;
use crate::replica::{Catalog, SegmentInfo};
use crate::store::{Body, Store};
use brake::Brake;
use recent::Recent;
use shared::Shared;

/// The engine's end of a replica's upkeep. Dropped, it ends the upkeep wherever it stands: the next one goes on.
pub struct Handle {
    shared: Rc<Shared>,
    task: JoinHandle<()>,
}

/// Starts the upkeep of a replica as a task of the current thread. `listing` is everything that the replica holds at
/// every level; `folder` is where copies of recent segments may lie for as long as this runs; `due` is told when
/// [`Handle::snapshot_due`] becomes true.
pub fn spawn(
    store: Rc<dyn Store>,
    policy: Policy,
    folder: &Path,
    clock: Clock,
    listing: Vec<SegmentInfo>,
    status: Rc<ReplicaStatus>,
    due: Rc<Notify>,
) -> Handle {
    let mut catalog = Catalog::default();
    let now = clock.now();
    for object in listing {
        catalog.add(object, now);
    }
    let shared = Rc::new(Shared {
        store,
        policy,
        folder: folder.to_owned(),
        clock,
        status,
        catalog: RefCell::new(catalog),
        recent: RefCell::new(Recent::new(folder)),
        brake: RefCell::new(Brake::default()),
        alarm: Cell::new(None),
        wake: Notify::new(),
        is_snapshot_due: Cell::new(false),
        snapshot_due: due,
    });
    let task = {
        let shared = Rc::clone(&shared);
        tokio::task::spawn_local(async move { shared.run().await })
    };
    Handle { shared, task }
}

impl Handle {
    /// A segment that the replica has confirmed, at level 0, or a first whole database at [`Level::SNAPSHOT`].
    /// To be told in order.
    ///
    /// [`Level::SNAPSHOT`]: crate::replica::Level::SNAPSHOT
    pub fn shipped(&self, segment: SegmentInfo, body: &Rc<dyn Body>) {
        let shared = &self.shared;
        let now = shared.clock.now();
        shared.catalog.borrow_mut().add(segment, now);
        if let Some(bytes) = body.bytes() {
            shared.recent.borrow_mut().keep(segment.id, &bytes);
        }
        // Nothing that comes is due before the smallest window closes.
        let windows = shared.policy.levels.iter().chain([&shared.policy.history_window]);
        let window = windows.min().map_or(0, |window| window.as_millis().max(1) as i64);
        let end = Timestamp(now.0.saturating_add(window - now.0.rem_euclid(window.max(1))));
        if shared.alarm.get().is_none_or(|alarm| end < alarm) {
            shared.wake.notify_one();
        }
    }

    /// Whether a snapshot should be taken: the database has changed since the last, and its interval has passed.
    pub fn snapshot_due(&self) -> bool {
        self.shared.is_snapshot_due.get()
    }

    /// A snapshot that the replica holds now, or the page-sum table beside it.
    pub fn snapshot_done(&self, snapshot: SegmentInfo) {
        let shared = &self.shared;
        shared.catalog.borrow_mut().add(snapshot, shared.clock.now());
        shared.is_snapshot_due.set(false);
        shared.wake.notify_one();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}
