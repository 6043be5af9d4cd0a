//! The segments that reach beyond a transaction, in pages, without walking the ones that do not.

use super::r2::{Page, R2Store, Times, key_before};
use crate::ltx::Txid;
use crate::replica::{Level, SegmentInfo};
use crate::store::{Error, Result};

/// The most that R2 lists at once, and that one answer tells.
pub(super) const MAX_PAGE: u32 = 1000;
/// Requests to R2 for one page: with metadata, R2 may list a tenth at once.
const MAX_REQUESTS: usize = 12;
/// The most that an answer is computed from: 5 MB of memory.
const MAX_SEGMENTS: usize = 100_000;

/// A listing of one level, or of all, in the order of their keys: level, then first transaction.
#[derive(Debug)]
pub(super) struct Listing<'a> {
    store: &'a R2Store,
    level: Option<Level>,
    after: Txid,
    times: Times,
}

impl<'a> Listing<'a> {
    pub(super) fn new(store: &'a R2Store, level: Option<Level>, after: Txid, times: Times) -> Self {
        Self {
            store,
            level,
            after,
            times,
        }
    }

    /// A page of it, from the start or from where the page before said that it goes on. A page may be short, or
    /// empty, and not the last.
    pub(super) async fn page(&self, cursor: Option<&str>, limit: u32) -> Result<Page> {
        let mut page = match cursor {
            Some(_) => self.from(cursor, limit).await?,
            None => self.first(limit).await?,
        };
        page.segments.retain(|segment| segment.id.max > self.after);
        for _ in 1..MAX_REQUESTS {
            let missing = limit.saturating_sub(u32::try_from(page.segments.len()).unwrap_or(limit));
            if missing == 0 || page.next.is_none() {
                break;
            }
            let more = self.from(page.next.as_deref(), missing).await?;
            let wanted = more
                .segments
                .into_iter()
                .filter(|segment| segment.id.max > self.after);
            page.segments.extend(wanted);
            page.next = more.next;
        }
        Ok(page)
    }

    /// All of it.
    pub(super) async fn all(&self) -> Result<Vec<SegmentInfo>> {
        let mut page = self.page(None, MAX_PAGE).await?;
        let mut all = page.segments;
        while let Some(cursor) = page.next {
            page = self.page(Some(&cursor), MAX_PAGE).await?;
            all.append(&mut page.segments);
            if all.len() > MAX_SEGMENTS {
                let message =
                    format!("the replica has more than {MAX_SEGMENTS} segments: it needs compaction");
                return Err(Error::Refused(message));
            }
        }
        Ok(all)
    }

    async fn from(&self, cursor: Option<&str>, limit: u32) -> Result<Page> {
        self.store.page(self.level, cursor, limit, self.times).await
    }

    /// Level 0 is long and its segments do not overlap: start at the one that holds `after`. Its key is known if
    /// it starts there, as most do; if it is longer, look for it in growing steps back.
    async fn first(&self, limit: u32) -> Result<Page> {
        if self.level.is_some_and(|level| level != Level::RAW) {
            return self.from(None, limit).await;
        }
        let mut back = 0u64;
        loop {
            let from = Txid(self.after.0.saturating_sub(back));
            let start = (from > Txid::ZERO).then(|| key_before(Level::RAW, from));
            let page = self.from(start.as_deref(), limit).await?;
            let first = page.segments.first().map(|segment| segment.id);
            if start.is_none() || first.is_some_and(|id| id.level == Level::RAW && id.min <= self.after) {
                return Ok(page);
            }
            back = back.max(8).saturating_mul(8);
        }
    }
}
