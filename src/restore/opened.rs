//! A segment whose header and index have been read.

use bytes::Bytes;
use futures_util::future::try_join;

use super::{Error, Result};
use crate::ltx::index::{Tail, locate};
use crate::ltx::{self, Header, IndexEntry};
use crate::replica::{Position, SegmentInfo};
use crate::store::Store;

/// The first read takes so much from the end: small segments come whole, in one request.
const TAIL: u64 = 64 * 1024;
/// Small segments that came whole are kept for when their pages are wanted, up to this sum.
const MAX_CACHED: usize = 8 * 1024 * 1024;

#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) segment: SegmentInfo,
    pub(super) header: Header,
    pub(super) entries: Vec<IndexEntry>,
    /// The whole object, if it is small.
    pub(super) cached: Option<Bytes>,
}

impl Opened {
    /// Reads header and index, in one request where the segment is small.
    pub(super) async fn open(store: &dyn Store, segment: SegmentInfo) -> Result<Self> {
        let (id, size) = (segment.id, segment.size);
        let damaged = |error| Error::Damaged { segment: id, error };
        let tail = store.read(id, size.saturating_sub(TAIL)..size);
        let (tail, head, cached) = if size <= TAIL {
            let all = tail.await?;
            (all.clone(), all.clone(), Some(all))
        } else {
            let (tail, head) = try_join(tail, store.read(id, 0..Header::LEN as u64)).await?;
            (tail, head, None)
        };
        let header = head
            .first_chunk()
            .ok_or_else(|| damaged(ltx::Error::Truncated(size)))?;
        let header = Header::parse(header).map_err(damaged)?;
        if (header.min_txid, header.max_txid) != (id.min, id.max) {
            return Err(Error::WrongName {
                segment: id,
                min: header.min_txid,
                max: header.max_txid,
            });
        }
        let index = match locate(&tail, size).map_err(damaged)? {
            Tail::Index(index) => index,
            Tail::Need(len) => {
                let tail = store.read(id, size.saturating_sub(len)..size).await?;
                match locate(&tail, size).map_err(damaged)? {
                    Tail::Index(index) => index,
                    Tail::Need(_) => return Err(damaged(ltx::Error::Truncated(size))),
                }
            }
        };
        index.check(&header).map_err(damaged)?;
        Ok(Self {
            segment,
            header,
            entries: index.entries,
            cached,
        })
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

    /// Keeps the object only while the sum of what is kept is small.
    pub(super) fn limit_cache(&mut self, cached: &mut usize) {
        let len = self.cached.as_ref().map_or(0, Bytes::len);
        if cached.saturating_add(len) > MAX_CACHED {
            self.cached = None;
        } else {
            *cached = cached.saturating_add(len);
        }
    }
}
