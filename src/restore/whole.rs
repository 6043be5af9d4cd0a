//! Segments from their first byte to their last, where each must prove itself.
//!
//! Also those of which no page is wanted: that nothing is wanted of them is what their index says, and only the
//! whole file proves an index.

use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::{self, LocalBoxStream, StreamExt};

use super::chunk::Content;
use super::opened::Opened;
use super::{Chunk, Error, PARALLEL, READ, Restore, Result};
use crate::ltx::{self, Decoder, Event, IndexEntry};

impl Restore<'_> {
    /// One segment after the other, while the next reads are under way.
    pub(super) fn whole(&self) -> LocalBoxStream<'_, Result<Chunk>> {
        let reads = self
            .pieces()
            .map(|(opened, wanted, range)| self.piece(opened, wanted, range));
        let pieces = stream::iter(reads).buffered(PARALLEL).boxed_local();
        stream::try_unfold(
            (pieces, None::<Reading<'_>>),
            |(mut pieces, mut reading)| async move {
                loop {
                    if let Some(current) = &mut reading
                        && let Some(chunk) = current.chunk()?
                    {
                        return Ok(Some((chunk, (pieces, reading))));
                    }
                    let piece = match pieces.next().await {
                        Some(piece) => piece?,
                        None => return Ok(None),
                    };
                    match &mut reading {
                        Some(current) if piece.start > 0 => current.push(&piece),
                        _ => reading.insert(Reading::new(&piece)).push(&piece),
                    }
                }
            },
        )
        .boxed_local()
    }

    async fn piece<'a>(
        &self,
        opened: &'a Opened,
        wanted: &'a [IndexEntry],
        range: Range<u64>,
    ) -> Result<Piece<'a>> {
        let start = range.start;
        let (bytes, fetched) = match &opened.cached {
            Some(all) => (all.clone(), 0),
            None => {
                let bytes = self.store.read(opened.segment.id, range).await?;
                let fetched = bytes.len() as u64;
                (bytes, fetched)
            }
        };
        Ok(Piece {
            opened,
            wanted,
            start,
            bytes,
            fetched,
        })
    }

    /// What is read, in order; a segment that is at hand already is one piece.
    fn pieces(&self) -> impl Iterator<Item = (&Opened, &[IndexEntry], Range<u64>)> {
        self.oldest_first().flat_map(|(opened, wanted)| {
            let size = opened.segment.size;
            let starts = (0..size).step_by(READ as usize);
            starts.map(move |start| (opened, wanted, start..start.saturating_add(READ).min(size)))
        })
    }
}

struct Piece<'a> {
    opened: &'a Opened,
    wanted: &'a [IndexEntry],
    start: u64,
    bytes: Bytes,
    /// Bytes that came from the store.
    fetched: u64,
}

/// A segment that is being read.
struct Reading<'a> {
    opened: &'a Opened,
    /// What has not come yet.
    wanted: &'a [IndexEntry],
    decoder: Decoder,
    /// Bytes that were read.
    at: u64,
    /// Bytes that came from the store and were not counted in a chunk yet.
    fetched: u64,
}

impl<'a> Reading<'a> {
    fn new(piece: &Piece<'a>) -> Self {
        Self {
            opened: piece.opened,
            wanted: piece.wanted,
            decoder: Decoder::new(),
            at: 0,
            fetched: 0,
        }
    }

    fn push(&mut self, piece: &Piece<'a>) {
        self.decoder.push(&piece.bytes);
        self.at = self.at.saturating_add(piece.bytes.len() as u64);
        self.fetched = self.fetched.saturating_add(piece.fetched);
    }

    /// Some of the pages that can be decoded by now; `None` if there are no more.
    fn chunk(&mut self) -> Result<Option<Chunk>> {
        let content = self.decode().map_err(|error| Error::Damaged {
            segment: self.opened.segment.id,
            error,
        })?;
        let is_empty = matches!(&content, Content::Pages { numbers, .. } if numbers.is_empty());
        if is_empty && self.fetched == 0 {
            return Ok(None);
        }
        Ok(Some(Chunk {
            segment: self.opened.segment.id,
            page_size: self.opened.header.page_size,
            fetched: std::mem::take(&mut self.fetched),
            content,
        }))
    }

    /// The next wanted pages, of bounded size however well they are packed; at the end of the segment, that all
    /// of it is intact.
    fn decode(&mut self) -> ltx::Result<Content> {
        let (mut numbers, mut pages) = (Vec::new(), Vec::new());
        while (pages.len() as u64) < READ {
            match self.decoder.next()? {
                Some(Event::Page(page)) => {
                    if let Some((next, rest)) = self.wanted.split_first()
                        && next.pgno == page.pgno
                    {
                        numbers.push((page.pgno, page.crc));
                        pages.extend_from_slice(page.data);
                        self.wanted = rest;
                    }
                }
                Some(Event::Header(header)) if *header != self.opened.header => {
                    return Err(ltx::Error::Header("it changed while it was read"));
                }
                Some(Event::Header(_) | Event::End(_)) => {}
                None if self.at >= self.opened.segment.size => {
                    self.decoder.finish()?;
                    if !self.wanted.is_empty() {
                        return Err(ltx::Error::Index("it names pages that the file does not hold"));
                    }
                    break;
                }
                None => break,
            }
        }
        Ok(Content::Pages { numbers, pages })
    }
}
