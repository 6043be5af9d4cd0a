//! Gives up on a destination that stays away.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::ltx::Txid;
use crate::replica::{Level, SegmentId, SegmentInfo};
use crate::store::{Body, Error, Result, Source, Store};

/// So long after the first of several failures in a row, the next one is the last.
const LIMIT: Duration = Duration::from_secs(15);

/// A store for who ships once and then ends, from cron for instance: faults pass only for some seconds.
pub struct Impatient {
    inner: Rc<dyn Store>,
    failing_since: Cell<Option<Instant>>,
}

impl Impatient {
    /// On top of a store.
    pub fn new(inner: Rc<dyn Store>) -> Self {
        Self {
            inner,
            failing_since: Cell::new(None),
        }
    }

    fn judge<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            Err(error) if error.is_passing() => {
                let since = self.failing_since.get().unwrap_or_else(Instant::now);
                self.failing_since.set(Some(since));
                if since.elapsed() < LIMIT {
                    return Err(error);
                }
                Err(Error::Refused(format!("{error}; given up after {LIMIT:?}")))
            }
            result => {
                self.failing_since.set(None);
                result
            }
        }
    }
}

impl std::fmt::Debug for Impatient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Impatient")
            .field("failing_since", &self.failing_since)
            .finish_non_exhaustive()
    }
}

#[async_trait(?Send)]
impl Source for Impatient {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        self.judge(self.inner.read(id, range).await)
    }
}

#[async_trait(?Send)]
impl Store for Impatient {
    async fn list(&self, level: Level, after: Txid) -> Result<Vec<SegmentInfo>> {
        self.judge(self.inner.list(level, after).await)
    }

    async fn list_all(&self, after: Txid) -> Result<Vec<SegmentInfo>> {
        self.judge(self.inner.list_all(after).await)
    }

    async fn stat(&self, id: SegmentId) -> Result<Option<SegmentInfo>> {
        self.judge(self.inner.stat(id).await)
    }

    async fn create(&self, id: SegmentId, body: &dyn Body) -> Result<()> {
        self.judge(self.inner.create(id, body).await)
    }

    async fn delete(&self, id: SegmentId) -> Result<()> {
        self.judge(self.inner.delete(id).await)
    }

    async fn delete_all(&self, ids: &[SegmentId]) -> Result<()> {
        self.judge(self.inner.delete_all(ids).await)
    }
}
