//! The segments that reach beyond a transaction, in pages, without walking the ones that do not.

use super::r2::{Page, R2Store, key_before};
use crate::ltx::Txid;
use crate::replica::{Level, SegmentInfo};
use crate::store::{Error, Result};

/// The most that R2 lists at once.
pub(super) const MAX_PAGE: u32 = 1000;
/// The most that an answer is computed from: 5 MB of memory, 100 requests to R2.
const MAX_SEGMENTS: usize = 100_000;

/// A listing of one level, or of all, in the order of their keys: level, then first transaction.
#[derive(Debug)]
pub(super) struct Listing<'a> {
    store: &'a R2Store,
    level: Option<Level>,
    after: Txid,
}

impl<'a> Listing<'a> {
    pub(super) fn new(store: &'a R2Store, level: Option<Level>, after: Txid) -> Self {
        Self { store, level, after }
    }

    /// A page of it, from the start or from where the page before said that it goes on. A page may be empty and
    /// not the last.
    pub(super) async fn page(&self, cursor: Option<&str>, limit: u32) -> Result<Page> {
        let mut page = match cursor {
            Some(_) => self.store.page(self.level, cursor, limit).await?,
            None => self.first(limit).await?,
        };
        page.entries.retain(|entry| entry.id.max > self.after);
        Ok(page)
    }

    /// All of it.
    pub(super) async fn all(&self) -> Result<Vec<SegmentInfo>> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = self.page(cursor.as_deref(), MAX_PAGE).await?;
            all.extend(page.entries.iter().map(|entry| entry.info()));
            if all.len() > MAX_SEGMENTS {
                let message =
                    format!("the replica has more than {MAX_SEGMENTS} segments: it needs compaction");
                return Err(Error::Refused(message));
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }

    /// Level 0 is long and its segments do not overlap: start at the one that holds `after`. Its key is known if
    /// it starts there, as most do; if it is longer, look for it in growing steps back.
    async fn first(&self, limit: u32) -> Result<Page> {
        if self.level.is_some_and(|level| level != Level::RAW) {
            return self.store.page(self.level, None, limit).await;
        }
        let mut back = 0u64;
        loop {
            let from = Txid(self.after.0.saturating_sub(back));
            let start = (from > Txid::ZERO).then(|| key_before(Level::RAW, from));
            let page = self.store.page(self.level, start.as_deref(), limit).await?;
            let first = page.entries.first().map(|entry| entry.id);
            if start.is_none() || first.is_some_and(|id| id.level == Level::RAW && id.min <= self.after) {
                return Ok(page);
            }
            back = back.max(8).saturating_mul(8);
        }
    }
}
