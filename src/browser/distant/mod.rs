//! A state of a database that is read where it lies, page by page: nothing of it need be here before the first query.
//!
//! The page map tells where each page is, in windows that are asked for when they are needed. A page that is missing comes
//! with its neighbours; who reads on and on gets more of them at once. What has come stays, as far as there is room.

mod blocks;
mod mapped;
mod read_ahead;

pub use mapped::{Far, Gaps, Mapped, Read};
pub use read_ahead::ReadAhead;

use std::cell::RefCell;

use super::Error;
use super::file;
use super::image::{Image, Reading, serve_header};
use crate::ltx::{PageSize, Pgno, Timestamp};
use crate::replica::Position;
use blocks::Blocks;

/// What is kept.
const KEPT: usize = 64 * 1024 * 1024;

/// A state of a database that is somewhere else.
pub struct Distant<S> {
    mapped: RefCell<Mapped<S>>,
    blocks: RefCell<Blocks>,
    ahead: RefCell<ReadAhead>,
    /// Why it could not be read.
    failure: RefCell<Option<Error>>,
}

impl<S: Far> Distant<S> {
    /// Asks where the first pages are. The state is the one that `far` tells of.
    pub fn open(far: S) -> Result<Self, Error> {
        let mapped = Mapped::open(far)?;
        let pages = ReadAhead::pages(mapped.page_size());
        Ok(Self {
            blocks: RefCell::new(Blocks::new(mapped.page_size(), pages, KEPT)),
            mapped: RefCell::new(mapped),
            ahead: RefCell::default(),
            failure: RefCell::default(),
        })
    }

    /// From now on, the same state is reached so.
    pub fn go_by(&self, far: S) {
        self.mapped.borrow_mut().go_by(far);
    }

    /// The state.
    pub fn position(&self) -> Position {
        self.mapped.borrow().position()
    }

    /// When it was seen.
    pub fn timestamp(&self) -> Timestamp {
        self.mapped.borrow().timestamp()
    }

    /// Size of every page.
    pub fn page_size(&self) -> PageSize {
        self.mapped.borrow().page_size()
    }

    /// Size of the database in pages.
    pub fn commit(&self) -> u32 {
        self.mapped.borrow().commit()
    }

    /// Whether every page that was read so far was held against a check of its own.
    pub fn is_verified(&self) -> bool {
        self.mapped.borrow().is_verified()
    }

    /// Why the last read failed, more exactly than SQLite can tell.
    pub fn take_failure(&self) -> Option<Error> {
        self.failure.take()
    }

    fn page(&self, pgno: Pgno, within: usize, buffer: &mut [u8]) -> Result<(), Error> {
        if self.blocks.borrow_mut().read(pgno, within, buffer) {
            return Ok(());
        }
        let mut blocks = self.blocks.borrow_mut();
        let block = blocks.block_of(pgno);
        let count = self.ahead.borrow_mut().blocks(block);
        let mut mapped = self.mapped.borrow_mut();
        let pages = blocks.pages(block, count, mapped.commit());
        blocks.make_room(block, count);
        let pages = (pages.start().0..=pages.end().0).map(Pgno);
        let missing: Vec<Pgno> = pages.filter(|pgno| !blocks.has(*pgno)).collect();
        mapped.bring(missing.into_iter(), Gaps::Brought, |pgno, page| {
            blocks.put(pgno, page);
            Ok(())
        })?;
        match blocks.read(pgno, within, buffer) {
            true => Ok(()),
            false => Err(Error::Invalid(format!("page {} is nowhere", pgno.0))),
        }
    }

    fn read_pages(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let (page_size, commit) = (self.page_size(), self.commit());
        let left = page_size.file_size(commit).saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let mut rest = buffer.get_mut(..len).unwrap_or_default();
        let mut at = offset;
        let size = page_size.len() as u64;
        while !rest.is_empty() {
            let (page, within) = (at / size, at % size);
            let pgno = Pgno(u32::try_from(page).unwrap_or(u32::MAX).saturating_add(1));
            let in_page = usize::try_from(size.saturating_sub(within)).unwrap_or(0);
            let (part, after) = rest.split_at_mut(in_page.min(rest.len()));
            if pgno == page_size.lock_page() {
                part.fill(0);
            } else {
                self.page(pgno, usize::try_from(within).unwrap_or(0), part)?;
            }
            at = at.saturating_add(part.len() as u64);
            rest = after;
        }
        Ok(len)
    }
}

impl<S: Far> Image for Distant<S> {
    fn size(&self) -> file::Result<u64> {
        Ok(self.page_size().file_size(self.commit()))
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> file::Result<usize> {
        let len = self.read_pages(offset, buffer).map_err(|error| {
            let why = error.to_string();
            self.failure.replace(Some(error));
            file::Error::Failed {
                what: "reading a page from where the database lies".to_owned(),
                why,
            }
        })?;
        let txid = self.position().txid;
        serve_header(
            txid,
            self.commit(),
            offset,
            buffer.get_mut(..len).unwrap_or_default(),
        );
        Ok(len)
    }

    /// It never changes.
    fn begin_reading(&self) -> Reading {
        Reading(())
    }

    fn end_reading(&self, Reading(()): Reading) {}
}

impl<S> std::fmt::Debug for Distant<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Distant").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
