//! Wishes that everything be shipped now: of those who ask for it, and the last one before the end.

use super::shipper::Shipper;
use super::{SyncRequest, Synced};

/// They are numbered from 1, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    newest: u64,
    last: Option<u64>,
    waiting: Vec<(u64, SyncRequest)>,
}

impl Wishes {
    pub(super) fn add(&mut self, request: SyncRequest) {
        self.newest = self.newest.saturating_add(1);
        self.waiting.push((self.newest, request));
    }

    /// What is committed after this is for the next start.
    pub(super) fn make_last(&mut self) {
        if self.last.is_none() {
            self.newest = self.newest.saturating_add(1);
            self.last = Some(self.newest);
        }
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// Tells those whose wish is fulfilled, and those whose wish cannot be.
    pub(super) fn answer(&mut self, shippers: &[Shipper]) {
        let waiting = std::mem::take(&mut self.waiting);
        for (wish, request) in waiting {
            if shippers.iter().any(Shipper::has_failed) {
                drop(request);
            } else if shippers.iter().all(|shipper| shipper.has_granted(wish)) {
                let synced = shippers.iter().map(|shipper| Synced {
                    replica: shipper.name().to_owned(),
                    position: shipper.confirmed().position,
                });
                // Who asked may have gone.
                let _ = request.reply.send(synced.collect());
            } else if !request.reply.is_closed() {
                self.waiting.push((wish, request));
            }
        }
    }

    pub(super) fn is_last_granted(&self, shipper: &Shipper) -> bool {
        self.last.is_some_and(|last| shipper.has_granted(last))
    }

    /// Whether the last one is fulfilled wherever it can be.
    pub(super) fn is_over(&self, shippers: &[Shipper]) -> bool {
        self.last.is_some()
            && shippers
                .iter()
                .all(|shipper| shipper.has_failed() || self.is_last_granted(shipper))
    }
}
