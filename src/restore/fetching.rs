//! Pages in ranges, several reads at once.

use std::sync::Arc;

use futures_util::stream::{self, LocalBoxStream, StreamExt, TryStreamExt};

use super::chunk::Content;
use super::ledger::Ledger;
use super::walk::{Mode, Part, Walk};
use super::{Chunk, Error, Restore, Result};
use crate::ltx::IndexEntry;
use crate::store::Source;

/// One read that is to be made.
pub(super) struct Read {
    segment: usize,
    offset: u64,
    len: u64,
    entries: Vec<IndexEntry>,
    needed: Vec<bool>,
}

impl Restore<'_> {
    pub(super) fn fetch_all(&self, ledger: Arc<Ledger>) -> LocalBoxStream<'_, Result<Chunk>> {
        let walk = Walk::new(&self.source, &self.opened, self.mode, self.have.clone());
        let indexes = Arc::clone(&ledger);
        let parts = stream::iter(walk.transpose())
            .map(move |walk| {
                let ledger = Arc::clone(&indexes);
                walk.map(|walk| stream::try_unfold((walk, ledger), |state| self.next_part(state)))
            })
            .try_flatten();
        parts
            .map_ok(|part| stream::iter(reads(&part, self.read)).map(Ok))
            .try_flatten()
            .map(move |read: Result<Read>| {
                let ledger = Arc::clone(&ledger);
                async move { self.fetch(read?, ledger).await }
            })
            .buffer_unordered(self.parallelism)
            .boxed_local()
    }

    async fn next_part<'w>(
        &self,
        (mut walk, ledger): (Walk<'w>, Arc<Ledger>),
    ) -> Result<Option<(Part, (Walk<'w>, Arc<Ledger>))>> {
        if let Some(part) = walk.next().await? {
            return Ok(Some((part, (walk, ledger))));
        }
        self.end(&walk, &ledger);
        Ok(None)
    }

    /// Leaves the hashes of the indexes, which have all been read.
    pub(super) fn end(&self, walk: &Walk<'_>, ledger: &Ledger) {
        for (opened, cursor) in self.opened.iter().zip(walk.cursors()) {
            if let Some(hash) = cursor.hash() {
                ledger.index(opened.segment.id, hash.clone());
            }
        }
    }

    pub(super) async fn fetch(&self, read: Read, ledger: Arc<Ledger>) -> Result<Chunk> {
        // The walk counts the segments that were opened.
        let opened = self
            .opened
            .get(read.segment)
            .ok_or(Error::Incomplete(self.newest().id))?;
        let segment = opened.segment.id;
        let (bytes, offset, fetched) = match &opened.cached {
            Some(all) => (all.clone(), 0, 0),
            None => {
                let end = read.offset.saturating_add(read.len);
                let bytes = self.source.read(segment, read.offset..end).await;
                let bytes = bytes.map_err(|error| Error::read(segment, error))?;
                (bytes, read.offset, read.len)
            }
        };
        Ok(Chunk {
            segment,
            page_size: self.page_size(),
            fetched,
            content: Content {
                bytes,
                offset,
                entries: read.entries,
                needed: read.needed,
                ledger: (self.mode == Mode::Whole).then_some(ledger),
            },
        })
    }
}

pub(super) fn reads(part: &Part, read: u64) -> Vec<Read> {
    let reads = part.reads(read).map(|(fetch, needed)| Read {
        segment: part.segment,
        offset: fetch.offset,
        len: fetch.len,
        entries: fetch.entries.to_vec(),
        needed: needed.to_vec(),
    });
    reads.collect()
}
