//! The two ways pages come: in ranges where the result proves itself, whole where each segment must.

use futures_util::stream::{self, LocalBoxStream, StreamExt};

use super::chunk::Content;
use super::opened::Opened;
use super::{Chunk, Error, PARALLEL, Restore, Result};
use crate::ltx::{self, Decoder, Event, IndexEntry};
use crate::replica::{Fetch, fetches};

/// The length of a read, and about what a chunk holds.
const READ: u64 = 1024 * 1024;

impl Restore<'_> {
    /// Only what is wanted of each segment, several reads at once.
    pub(super) fn ranged(&self) -> LocalBoxStream<'_, Result<Chunk>> {
        let reads = self
            .wanted()
            .flat_map(|(segment, wanted)| fetches(wanted, READ).map(move |fetch| (segment, fetch)));
        stream::iter(reads.map(|(segment, fetch)| self.fetch(segment, fetch)))
            .buffer_unordered(PARALLEL)
            .boxed_local()
    }

    /// Each segment from its first byte to its last.
    pub(super) fn whole(&self) -> LocalBoxStream<'_, Result<Chunk>> {
        let segments = self
            .wanted()
            .map(|(segment, wanted)| self.read_whole(segment, wanted));
        stream::iter(segments).flatten().boxed_local()
    }

    /// The segments that hold wanted pages, oldest first.
    fn wanted(&self) -> impl Iterator<Item = (&Opened, &[IndexEntry])> {
        let newest_first = self.map.wanted.iter().rev().map(Vec::as_slice);
        let mut both: Vec<_> = self
            .opened
            .iter()
            .zip(newest_first)
            .filter(|(_, wanted)| !wanted.is_empty())
            .collect();
        both.reverse();
        both.into_iter()
    }

    async fn fetch(&self, opened: &Opened, fetch: Fetch<'_>) -> Result<Chunk> {
        let id = opened.segment.id;
        let (bytes, offset, fetched) = match &opened.cached {
            Some(all) => (all.clone(), 0, 0),
            None => {
                let end = fetch.offset.saturating_add(fetch.len);
                (
                    self.store.read(id, fetch.offset..end).await?,
                    fetch.offset,
                    fetch.len,
                )
            }
        };
        let content = Content::Frames {
            bytes,
            offset,
            entries: fetch.entries.to_vec(),
        };
        Ok(Chunk {
            segment: id,
            page_size: self.map.page_size,
            fetched,
            content,
        })
    }

    fn read_whole<'s>(
        &'s self,
        opened: &'s Opened,
        wanted: &'s [IndexEntry],
    ) -> LocalBoxStream<'s, Result<Chunk>> {
        let start = Reading {
            decoder: Decoder::new(),
            at: 0,
            wanted,
        };
        stream::try_unfold(start, move |mut reading| async move {
            let size = opened.segment.size;
            if reading.at >= size {
                return Ok(None);
            }
            let end = reading.at.saturating_add(READ).min(size);
            let bytes = match &opened.cached {
                Some(all) => all.clone(),
                None => self.store.read(opened.segment.id, reading.at..end).await?,
            };
            let fetched = bytes.len() as u64;
            reading.at = reading.at.saturating_add(fetched);
            let content = reading.decode(&bytes, size).map_err(|error| Error::Damaged {
                segment: opened.segment.id,
                error,
            })?;
            let chunk = Chunk {
                segment: opened.segment.id,
                page_size: self.map.page_size,
                fetched,
                content,
            };
            Ok(Some((chunk, reading)))
        })
        .boxed_local()
    }
}

/// A segment that is being read whole.
struct Reading<'a> {
    decoder: Decoder,
    at: u64,
    /// What has not come yet.
    wanted: &'a [IndexEntry],
}

impl Reading<'_> {
    /// The wanted pages of the next bytes; at the last bytes, that the whole segment is intact.
    fn decode(&mut self, bytes: &[u8], size: u64) -> ltx::Result<Content> {
        self.decoder.push(bytes);
        let (mut numbers, mut pages) = (Vec::new(), Vec::new());
        while let Some(event) = self.decoder.next()? {
            if let Event::Page(page) = event
                && let Some((next, rest)) = self.wanted.split_first()
                && next.pgno == page.pgno
            {
                numbers.push((page.pgno, page.crc));
                pages.extend_from_slice(page.data);
                self.wanted = rest;
            }
        }
        if self.at >= size {
            self.decoder.finish()?;
            if !self.wanted.is_empty() {
                return Err(ltx::Error::Index("it names pages that the file does not hold"));
            }
        }
        Ok(Content::Pages { numbers, pages })
    }
}
