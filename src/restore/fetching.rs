//! Pages in ranges, where the result proves itself.

use futures_util::stream::{self, LocalBoxStream, StreamExt};

use super::chunk::Content;
use super::opened::Opened;
use super::{Chunk, PARALLEL, READ, Restore, Result};
use crate::ltx::IndexEntry;
use crate::replica::{Fetch, fetches};

impl Restore<'_> {
    /// Only what is wanted of each segment, several reads at once.
    pub(super) fn ranged(&self) -> LocalBoxStream<'_, Result<Chunk>> {
        let reads = self.ranges().map(|(opened, fetch)| self.fetch(opened, fetch));
        stream::iter(reads).buffer_unordered(PARALLEL).boxed_local()
    }

    /// What is wanted, in reads; of a segment that is at hand already, too.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (&Opened, Fetch<'_>)> {
        self.oldest_first()
            .flat_map(|(opened, wanted)| fetches(wanted, READ).map(move |fetch| (opened, fetch)))
    }

    /// The segments that were opened, oldest first, each with the frames that are wanted of it.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = (&Opened, &[IndexEntry])> {
        // The map has a list for each segment of the plan, also for older ones that were not opened.
        let unopened = self.map.wanted.len().saturating_sub(self.opened.len());
        let wanted = self.map.wanted.iter().skip(unopened).map(Vec::as_slice);
        self.opened.iter().rev().zip(wanted)
    }

    async fn fetch(&self, opened: &Opened, fetch: Fetch<'_>) -> Result<Chunk> {
        let segment = opened.segment.id;
        let (bytes, offset, fetched) = match &opened.cached {
            Some(all) => (all.clone(), 0, 0),
            None => {
                let end = fetch.offset.saturating_add(fetch.len);
                let bytes = self.store.read(segment, fetch.offset..end).await?;
                (bytes, fetch.offset, fetch.len)
            }
        };
        let content = Content::Frames {
            bytes,
            offset,
            entries: fetch.entries.to_vec(),
        };
        Ok(Chunk {
            segment,
            page_size: self.map.page_size,
            fetched,
            content,
        })
    }
}
