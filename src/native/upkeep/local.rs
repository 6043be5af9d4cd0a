//! The replica as seen by its upkeep: copies of recent segments are here.

use std::cell::RefCell;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use super::recent::Recent;
use crate::ltx::Txid;
use crate::replica::{Level, SegmentId, SegmentInfo};
use crate::store::{Body, Result, Source, Store};

/// Reads what is here from here, everything else from the replica.
pub(super) struct Local<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) recent: &'a RefCell<Recent>,
}

#[async_trait(?Send)]
impl Source for Local<'_> {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        // Others on this thread are in more of a hurry.
        tokio::task::yield_now().await;
        let copy = self.recent.borrow_mut().read(id, range.clone());
        match copy {
            Some(bytes) => Ok(bytes),
            None => self.store.read(id, range).await,
        }
    }
}

#[async_trait(?Send)]
impl Store for Local<'_> {
    async fn list(&self, level: Level, after: Txid) -> Result<Vec<SegmentInfo>> {
        self.store.list(level, after).await
    }

    async fn stat(&self, id: SegmentId) -> Result<Option<SegmentInfo>> {
        self.store.stat(id).await
    }

    async fn create(&self, id: SegmentId, body: &dyn Body) -> Result<()> {
        self.store.create(id, body).await
    }

    async fn delete(&self, id: SegmentId) -> Result<()> {
        self.store.delete(id).await
    }
}
