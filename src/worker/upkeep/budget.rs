//! What one slice of work may ask of R2.

use std::cell::Cell;
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;

use crate::ltx::Txid;
use crate::replica::{Level, SegmentId, SegmentInfo};
use crate::store::{Body, Result, Source, Store};
use crate::worker::gate::Permit;
use crate::worker::r2::R2Store;

/// Requests: the free plan allows 50.
const REQUESTS: u32 = 40;
/// Bytes to read and to write.
const BYTES: u64 = 32 << 20;

/// What is left of it.
#[derive(Debug, Default)]
pub(super) struct Budget {
    requests: Cell<u32>,
    bytes: Cell<u64>,
    is_spent: Cell<bool>,
}

impl Budget {
    pub(super) fn refill(&self) {
        self.requests.set(REQUESTS);
        self.bytes.set(BYTES);
        self.is_spent.set(false);
    }

    /// Whether someone waits for the next slice.
    pub(super) fn is_spent(&self) -> bool {
        self.is_spent.get()
    }

    /// Takes a request of so many bytes; waits for the next slice if none is left.
    pub(super) async fn take(&self, bytes: u64) {
        poll_fn(|_| {
            // The last may exceed it: a request is not divided.
            let is_left = self.requests.get() > 0 && self.bytes.get() > 0;
            self.is_spent.set(!is_left);
            if is_left { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.requests.set(self.requests.get().saturating_sub(1));
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
    }
}

/// A replica's objects, read within the budget.
pub(super) struct Within<'a> {
    pub(super) store: &'a R2Store,
    pub(super) budget: &'a Rc<Budget>,
    /// What allows to hold some of it in memory.
    pub(super) permit: Option<&'a Permit>,
}

#[async_trait(?Send)]
impl Source for Within<'_> {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        if let Some(permit) = self.permit {
            permit.renew();
        }
        // Nobody counts what is kept here.
        if self.store.kept(id)?.is_none() {
            self.budget.take(range.end.saturating_sub(range.start)).await;
        }
        self.store.read(id, range).await
    }
}

#[async_trait(?Send)]
impl Store for Within<'_> {
    async fn list(&self, level: Level, after: Txid) -> Result<Vec<SegmentInfo>> {
        self.budget.take(0).await;
        self.store.list(level, after).await
    }

    async fn stat(&self, id: SegmentId) -> Result<Option<SegmentInfo>> {
        self.budget.take(0).await;
        self.store.stat(id).await
    }

    async fn create(&self, id: SegmentId, body: &dyn Body) -> Result<()> {
        self.budget.take(body.len()).await;
        self.store.create(id, body).await
    }

    async fn delete(&self, id: SegmentId) -> Result<()> {
        self.budget.take(0).await;
        self.store.delete(id).await
    }

    async fn delete_all(&self, ids: &[SegmentId]) -> Result<()> {
        self.budget.take(0).await;
        self.store.delete_all(ids).await
    }
}
