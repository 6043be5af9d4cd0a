//! Which pages a query reads, and which pages an apply changes: whether the answer to the one can be another after the
//! other.

use crate::browser::database::{Database, State};
use crate::browser::file::{self, File};
use crate::ltx::{PageSize, Pgno};
use crate::replica::PageSet;

/// What has changed since it was last asked.
#[derive(Debug, Default)]
pub struct Changes {
    pages: Vec<Pgno>,
    /// The schema is another, or the size, or so much that it is not kept page by page.
    is_another: bool,
}

/// Pages that are kept one by one, at most.
const MAX_PAGES: usize = 64 * 1024;
/// Where the schema's cookie is in page 1.
const COOKIE: u64 = 40;

impl Changes {
    /// Whether a query that has read these pages may have another answer now. Page 1 is another with every transaction; of it
    /// only the schema matters.
    pub fn concern(&self, read: &PageSet) -> bool {
        self.is_another || self.pages.iter().any(|&pgno| pgno.0 > 1 && read.contains(pgno))
    }

    pub(super) fn page(&mut self, pgno: Pgno) {
        if self.pages.len() < MAX_PAGES {
            self.pages.push(pgno);
        } else {
            self.is_another = true;
        }
    }

    fn join(&mut self, other: Self) {
        self.is_another |= other.is_another;
        for pgno in other.pages {
            self.page(pgno);
        }
    }
}

impl<F: File> Database<F> {
    /// From now on, the pages that are read are written down.
    pub fn record(&self) {
        self.recorded.replace(Some(PageSet::default()));
    }

    /// Those that were, since then.
    pub fn recorded(&self) -> PageSet {
        self.recorded.take().unwrap_or_default()
    }

    /// What has changed since this was last called.
    pub fn changes(&self) -> Changes {
        self.changes.take()
    }

    pub(super) fn note_read(&self, page_size: PageSize, offset: u64, len: usize) {
        let Some(recorded) = &mut *self.recorded.borrow_mut() else {
            return;
        };
        let size = page_size.len() as u64;
        let end = offset.saturating_add(len as u64);
        let mut at = offset;
        while at < end {
            let index = at.checked_div(size).unwrap_or_default();
            recorded.insert(Pgno(u32::try_from(index.saturating_add(1)).unwrap_or(u32::MAX)));
            at = index.saturating_add(1).saturating_mul(size);
        }
    }

    /// Another database is here.
    pub(super) fn note_another(&self) {
        self.changes.borrow_mut().is_another = true;
    }

    /// The pages of `applied` lead from one state to the other; `cookie` is that of the schema before.
    pub(super) fn note_applied(
        &self,
        mut applied: Changes,
        before: State,
        after: State,
        cookie: u32,
    ) -> file::Result<()> {
        applied.is_another |= before.commit != after.commit || cookie != self.cookie()?;
        self.changes.borrow_mut().join(applied);
        Ok(())
    }

    pub(super) fn cookie(&self) -> file::Result<u32> {
        let mut cookie = [0; 4];
        self.files.db.read(COOKIE, &mut cookie)?;
        Ok(u32::from_be_bytes(cookie))
    }
}
