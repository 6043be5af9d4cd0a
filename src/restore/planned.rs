//! A replica as a plan sees it: segments in bundles are read as if they were objects.

use std::collections::BTreeMap;
use std::ops::Range;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::lock::Mutex;

use crate::replica::{InBundle, Plan, SegmentId, SegmentInfo};
use crate::store::{Error, Result, Source};

/// What is read of a bundle at once: its members are small, and neighbours are wanted together.
const BLOCK: u64 = 2 * 1024 * 1024;
/// So many of these are kept.
const BLOCKS: usize = 8;

/// A source whose bundles' members can be read by name, those of one plan.
pub(super) struct Planned<'a> {
    source: &'a dyn Source,
    places: BTreeMap<SegmentId, InBundle>,
    /// The last one was used last.
    blocks: Mutex<Vec<Block>>,
}

struct Block {
    bundle: SegmentId,
    start: u64,
    bytes: Bytes,
}

impl<'a> Planned<'a> {
    pub(super) fn new(source: &'a dyn Source, plan: &Plan) -> Self {
        Self {
            source,
            places: plan.bundled.clone(),
            blocks: Mutex::default(),
        }
    }

    async fn read_member(&self, bundle: SegmentInfo, range: Range<u64>) -> Result<Bytes> {
        // One after the other: who waits finds the block that another has fetched.
        let mut blocks = self.blocks.lock().await;
        let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        let mut out = BytesMut::with_capacity(len);
        let mut at = range.start;
        while at < range.end {
            let start = at.saturating_sub(at % BLOCK);
            let end = start.saturating_add(BLOCK).min(bundle.size);
            let known = blocks
                .iter()
                .position(|block| block.bundle == bundle.id && block.start == start);
            let block = match known {
                Some(place) => blocks.remove(place),
                None => Block {
                    bundle: bundle.id,
                    start,
                    bytes: self.source.read(bundle.id, start..end).await?,
                },
            };
            let place = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
            let piece = block.bytes.get(place(at)..place(range.end.min(end)));
            out.extend_from_slice(piece.ok_or_else(|| Error::OutOfRange(format!("bundle {}", bundle.id)))?);
            blocks.push(block);
            if blocks.len() > BLOCKS {
                blocks.remove(0);
            }
            at = end;
        }
        Ok(out.freeze())
    }
}

#[async_trait(?Send)]
impl Source for Planned<'_> {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        let Some(place) = self.places.get(&id) else {
            return self.source.read(id, range).await;
        };
        if range.start > range.end || range.end > place.size {
            return Err(Error::OutOfRange(format!("segment {id}")));
        }
        let at = |within: u64| place.offset.saturating_add(within);
        self.read_member(place.bundle, at(range.start)..at(range.end))
            .await
    }
}
