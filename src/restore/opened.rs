//! A segment whose header has been read, and where its index is.

use bytes::Bytes;
use futures_util::future::try_join;

use super::{Error, Result};
use crate::ltx::index::{self, Entries, Location, Step};
use crate::ltx::{self, Header};
use crate::replica::{Position, SegmentInfo};
use crate::store::Source;

/// The first read takes so much from the end: small segments come whole, in one request.
const TAIL: u64 = 64 * 1024;
/// Small segments that came whole are kept for when their pages are wanted, up to this sum.
const MAX_CACHED: u64 = 8 * 1024 * 1024;
/// Indexes are kept in memory up to this sum, in their packed form; others are read again in pieces.
const MAX_INDEXES: u64 = 8 * 1024 * 1024;

#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) segment: SegmentInfo,
    pub(super) header: Header,
    /// As they are stored, for the file checksum.
    pub(super) header_bytes: [u8; Header::LEN],
    pub(super) location: Location,
    /// The index, while there is room for it.
    pub(super) index: Option<Bytes>,
    /// The whole object, if it is small.
    pub(super) cached: Option<Bytes>,
}

/// How much room is left for what is kept.
#[derive(Debug)]
pub(super) struct Room {
    objects: u64,
    indexes: u64,
}

impl Room {
    /// For who wants to know where pages are, not what is in them.
    pub(super) const INDEXES: Self = Self {
        objects: 0,
        indexes: MAX_INDEXES,
    };
}

impl Default for Room {
    fn default() -> Self {
        Self {
            objects: MAX_CACHED,
            indexes: MAX_INDEXES,
        }
    }
}

impl Opened {
    /// Reads header and tail, in one request where the segment is small.
    pub(super) async fn open(source: &dyn Source, segment: SegmentInfo) -> Result<Self> {
        let (id, size) = (segment.id, segment.size);
        let damaged = |error| Error::Damaged { segment: id, error };
        let read = async |range| {
            source
                .read(id, range)
                .await
                .map_err(|error| Error::read(id, error))
        };
        let tail = read(size.saturating_sub(TAIL)..size);
        let (tail, head, cached) = if size <= TAIL {
            let all = tail.await?;
            (all.clone(), all.clone(), Some(all))
        } else {
            let (tail, head) = try_join(tail, read(0..Header::LEN as u64)).await?;
            (tail, head, None)
        };
        let header_bytes = *head
            .first_chunk()
            .ok_or_else(|| damaged(ltx::Error::Truncated(size)))?;
        let header = Header::parse(&header_bytes).map_err(damaged)?;
        if (header.min_txid, header.max_txid) != (id.min, id.max) {
            return Err(Error::WrongName {
                segment: id,
                min: header.min_txid,
                max: header.max_txid,
            });
        }
        let location = index::locate(&tail, size).map_err(damaged)?;
        let before = size.saturating_sub(tail.len() as u64);
        let index = location.start.checked_sub(before).map(|start| {
            let (start, len) = (usize::try_from(start), usize::try_from(location.len));
            let bytes = tail.get(start.unwrap_or(usize::MAX)..).unwrap_or_default();
            // Not a part of the tail, which would be kept whole.
            Bytes::copy_from_slice(bytes.get(..len.unwrap_or(usize::MAX)).unwrap_or_default())
        });
        Ok(Self {
            segment,
            header,
            header_bytes,
            location,
            index,
            cached,
        })
    }

    /// Reads the index if it is longer than the tail and there is room for it; gives up what there is no room for.
    pub(super) async fn settle(&mut self, source: &dyn Source, room: &mut Room) -> Result<()> {
        let id = self.segment.id;
        match room.indexes.checked_sub(self.location.len) {
            Some(left) => {
                room.indexes = left;
                if self.index.is_none() {
                    let range = self.location.start..self.location.start.saturating_add(self.location.len);
                    let index = source.read(id, range).await;
                    self.index = Some(index.map_err(|error| Error::read(id, error))?);
                }
            }
            None => self.index = None,
        }
        match room.objects.checked_sub(self.segment.size) {
            Some(left) if self.cached.is_some() => room.objects = left,
            _ => self.cached = None,
        }
        Ok(())
    }

    /// Whether it holds every page of the database as it was after it, as far as is known without reading more.
    pub(super) fn is_whole(&self) -> Result<bool> {
        let Some(index) = &self.index else {
            return Ok(self.header.is_snapshot());
        };
        let damaged = |error| Error::Damaged {
            segment: self.segment.id,
            error,
        };
        let mut entries = Entries::new(&self.header, &self.location).map_err(damaged)?;
        let (mut rest, mut pages) = (&index[..], 0u32);
        while let Step::Entry(_) = entries.next(&mut rest).map_err(damaged)? {
            pages = pages.saturating_add(1);
        }
        Ok(pages == self.header.page_size.stored_pages(self.header.commit))
    }

    /// Checks that the state after this segment is the one that `newer` applies to.
    pub(super) fn leads_to(&self, newer: &Self) -> Result<()> {
        if self.header.page_size != newer.header.page_size {
            return Err(Error::PageSize(self.segment.id));
        }
        let after = self.header.sums.map(|sums| sums.after);
        newer.continues(Position {
            txid: self.segment.id.max,
            sum: after,
        })
    }

    /// Checks that this segment applies to `before`, as far as both sides tell.
    pub(super) fn continues(&self, before: Position) -> Result<()> {
        let adjacent = before.txid.next() == Some(self.segment.id.min);
        match (self.header.sums, before.sum) {
            (Some(sums), Some(sum)) if adjacent && sums.before != sum => Err(Error::BrokenChain {
                segment: self.segment.id,
                before,
            }),
            _ => Ok(()),
        }
    }
}
