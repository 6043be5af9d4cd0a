//! The wish that replication ends.

use std::cell::Cell;

use tokio::sync::Notify;

/// Set once, seen by the loop.
#[derive(Debug, Default)]
pub(super) struct Stop {
    requested: Cell<bool>,
    notify: Notify,
}

impl Stop {
    pub(super) fn request(&self) {
        self.requested.set(true);
        self.notify.notify_one();
    }

    pub(super) fn is_requested(&self) -> bool {
        self.requested.get()
    }

    /// Returns once it is requested.
    pub(super) async fn requested(&self) {
        while !self.is_requested() {
            self.notify.notified().await;
        }
    }
}
