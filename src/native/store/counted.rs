//! A destination whose requests are counted.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;

use super::meter::{Kind, Meter};
use crate::ltx::Txid;
use crate::replica::{Level, SegmentId, SegmentInfo};
use crate::store::{Body, Error, Result, Source, Store};

/// A store with the [`Meter`] of all that was asked of it.
pub struct Counted {
    inner: Box<dyn Store>,
    meter: Arc<Meter>,
    /// Whether each operation is a request. Otherwise the store counts its own requests: one operation may take
    /// several.
    by_operation: bool,
}

impl Counted {
    /// Counts operations.
    pub fn operations(inner: impl Store + 'static) -> Self {
        Self {
            inner: Box::new(inner),
            meter: Meter::new(),
            by_operation: true,
        }
    }

    /// The store counts its requests in `meter` itself.
    pub fn requests(inner: impl Store + 'static, meter: Arc<Meter>) -> Self {
        Self {
            inner: Box::new(inner),
            meter,
            by_operation: false,
        }
    }

    /// What was asked so far.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    async fn count<T>(&self, kind: Kind, operation: impl Future<Output = Result<T>>) -> Result<T> {
        if !self.by_operation {
            return operation.await;
        }
        let start = Instant::now();
        let result = operation.await;
        self.meter.request(kind, start.elapsed());
        if let Err(error) = &result {
            self.meter.error(kind, code(error));
        }
        result
    }
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counted")
            .field("meter", &self.meter)
            .finish_non_exhaustive()
    }
}

/// A fault in a word.
fn code(error: &Error) -> &'static str {
    match error {
        Error::NotFound(_) => "not_found",
        Error::Exists(_) => "exists",
        Error::OutOfRange(_) => "out_of_range",
        Error::Conflict { .. } => "conflict",
        Error::Denied(_) => "denied",
        Error::Refused(_) => "refused",
        Error::Unavailable(_) => "unavailable",
        Error::Protocol(_) => "protocol",
        Error::Io { .. } => "io",
    }
}

#[async_trait(?Send)]
impl Source for Counted {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.count(Kind::Get, self.inner.read(id, range)).await?;
        if self.by_operation {
            self.meter.received(Kind::Get, bytes.len() as u64);
        }
        Ok(bytes)
    }
}

#[async_trait(?Send)]
impl Store for Counted {
    async fn list(&self, level: Level, after: Txid) -> Result<Vec<SegmentInfo>> {
        self.count(Kind::List, self.inner.list(level, after)).await
    }

    async fn list_all(&self, after: Txid) -> Result<Vec<SegmentInfo>> {
        self.count(Kind::List, self.inner.list_all(after)).await
    }

    async fn stat(&self, id: SegmentId) -> Result<Option<SegmentInfo>> {
        self.count(Kind::Head, self.inner.stat(id)).await
    }

    async fn create(&self, id: SegmentId, body: &dyn Body) -> Result<()> {
        self.count(Kind::Put, self.inner.create(id, body)).await?;
        if self.by_operation {
            self.meter.sent(Kind::Put, body.len());
        }
        Ok(())
    }

    async fn delete(&self, id: SegmentId) -> Result<()> {
        self.count(Kind::Delete, self.inner.delete(id)).await
    }

    async fn delete_all(&self, ids: &[SegmentId]) -> Result<()> {
        self.count(Kind::Delete, self.inner.delete_all(ids)).await
    }
}
