//! A store in memory: for what is at hand, and for tests.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Body, Error, Result, Source, Store};
use crate::ltx::{Header, Txid};
use crate::replica::{Level, SegmentId, SegmentInfo};

/// Objects in a map.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: RefCell<BTreeMap<SegmentId, Bytes>>,
}

impl MemoryStore {
    /// Replaces an object's content, as a fault would; no store lets a user do that.
    pub fn tamper(&self, id: SegmentId, bytes: Bytes) {
        self.objects.borrow_mut().insert(id, bytes);
    }

    fn get(&self, id: SegmentId) -> Option<Bytes> {
        self.objects.borrow().get(&id).cloned()
    }
}

#[async_trait(?Send)]
impl Source for MemoryStore {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        let bytes = self
            .get(id)
            .ok_or_else(|| Error::NotFound(format!("segment {id}")))?;
        let out_of_range = || Error::OutOfRange(format!("segment {id}"));
        let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
        let (Ok(start), Ok(end)) = (start, end) else {
            return Err(out_of_range());
        };
        if start > end || end > bytes.len() {
            Err(out_of_range())
        } else {
            Ok(bytes.slice(start..end))
        }
    }
}

#[async_trait(?Send)]
impl Store for MemoryStore {
    async fn list(&self, level: Level, after: Txid) -> Result<Vec<SegmentInfo>> {
        let objects = self.objects.borrow();
        let wanted = objects
            .iter()
            .filter(|(id, _)| id.level == level && id.max > after);
        Ok(wanted.map(|(&id, bytes)| info(id, bytes)).collect())
    }

    async fn stat(&self, id: SegmentId) -> Result<Option<SegmentInfo>> {
        Ok(self.get(id).map(|bytes| info(id, &bytes)))
    }

    async fn create(&self, id: SegmentId, body: &dyn Body) -> Result<()> {
        let bytes = body.read(0..body.len()).await?;
        let mut objects = self.objects.borrow_mut();
        if objects.contains_key(&id) {
            return Err(Error::Exists(format!("segment {id}")));
        }
        objects.insert(id, bytes);
        Ok(())
    }

    async fn delete(&self, id: SegmentId) -> Result<()> {
        self.objects.borrow_mut().remove(&id);
        Ok(())
    }
}

fn info(id: SegmentId, bytes: &Bytes) -> SegmentInfo {
    let header = bytes.first_chunk().and_then(|bytes| Header::parse(bytes).ok());
    SegmentInfo {
        id,
        size: bytes.len() as u64,
        timestamp: header.map(|header| header.timestamp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        futures_util::FutureExt::now_or_never(crate::store::conformance::run(&MemoryStore::default()))
            .unwrap();
    }
}
