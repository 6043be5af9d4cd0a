//! Tries again what a passing fault broke off, and counts.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::ltx::Txid;
use crate::replica::{Level, SegmentId, SegmentInfo};
use crate::store::{Body, Error, Result, Source, Store};

/// The pauses before the second and further attempts.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// A store for commands that a person waits for: reads are tried again for some seconds. Writes are not: who
/// ships decides itself how long to be patient.
pub struct Patient {
    inner: Rc<dyn Store>,
    requests: Cell<u64>,
    fetched: Cell<u64>,
}

impl Patient {
    /// On top of a store.
    pub fn new(inner: Rc<dyn Store>) -> Self {
        Self {
            inner,
            requests: Cell::new(0),
            fetched: Cell::new(0),
        }
    }

    /// How many requests were made.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// How many bytes of segments were read.
    pub fn fetched(&self) -> u64 {
        self.fetched.get()
    }

    /// Asks until there is an answer that another attempt would not change, for some seconds.
    pub async fn again<T>(&self, attempt: impl AsyncFn() -> Result<T>) -> Result<T> {
        for pause in PAUSES {
            self.requests.set(self.requests.get().saturating_add(1));
            match attempt().await {
                Err(Error::Unavailable(why)) => {
                    tracing::warn!("{why}; trying again in {pause:?}");
                    tokio::time::sleep(pause).await;
                }
                result => return result,
            }
        }
        self.requests.set(self.requests.get().saturating_add(1));
        attempt().await
    }
}

impl std::fmt::Debug for Patient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patient")
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

#[async_trait(?Send)]
impl Source for Patient {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        let bytes = self
            .again(async || self.inner.read(id, range.clone()).await)
            .await?;
        self.fetched
            .set(self.fetched.get().saturating_add(bytes.len() as u64));
        Ok(bytes)
    }
}

#[async_trait(?Send)]
impl Store for Patient {
    async fn list(&self, level: Level, after: Txid) -> Result<Vec<SegmentInfo>> {
        self.again(async || self.inner.list(level, after).await).await
    }

    async fn list_all(&self, after: Txid) -> Result<Vec<SegmentInfo>> {
        self.again(async || self.inner.list_all(after).await).await
    }

    async fn stat(&self, id: SegmentId) -> Result<Option<SegmentInfo>> {
        self.again(async || self.inner.stat(id).await).await
    }

    async fn create(&self, id: SegmentId, body: &dyn Body) -> Result<()> {
        self.inner.create(id, body).await
    }

    async fn delete(&self, id: SegmentId) -> Result<()> {
        self.inner.delete(id).await
    }

    async fn delete_all(&self, ids: &[SegmentId]) -> Result<()> {
        self.inner.delete_all(ids).await
    }
}
