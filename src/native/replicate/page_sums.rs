//! The page-sum table: the CRC of every page at the position that was last confirmed, eight bytes a page.
//!
//! It tells which pages changed, also after an absence, without reading the replica. Kept in a file and read by
//! position, so that memory does not grow with the database. Nothing is synced: on each start the sum of the
//! table is held against the replica's position ([`PageSums::sum`]), and a table that does not match is mended
//! from the replica.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use crate::ltx::{DbSum, PageCrc, PageSize, Pgno};

/// Bytes a page.
const ENTRY: usize = 8;
/// How many entries are read or written at once.
const RUN: usize = 8 * 1024;

/// The table of one database.
#[derive(Debug)]
pub(super) struct PageSums {
    file: File,
}

impl PageSums {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        Ok(Self { file })
    }

    /// Takes new CRCs, ascending by page; neighbours are written together.
    pub(super) fn set(&self, changed: &[(Pgno, PageCrc)]) -> io::Result<()> {
        let adjacent = |a: &(Pgno, PageCrc), b: &(Pgno, PageCrc)| a.0.0.checked_add(1) == Some(b.0.0);
        for run in changed.chunk_by(adjacent).flat_map(|run| run.chunks(RUN)) {
            let Some((first, _)) = run.first() else { continue };
            let bytes: Vec<u8> = run.iter().flat_map(|(_, crc)| crc.0.to_le_bytes()).collect();
            self.file.write_all_at(&bytes, offset(*first))?;
        }
        Ok(())
    }

    /// Gives the table the length of a database of `commit` pages.
    pub(super) fn resize(&self, commit: u32) -> io::Result<()> {
        self.file.set_len(u64::from(commit).saturating_mul(ENTRY as u64))
    }

    /// How many pages it covers.
    pub(super) fn pages(&self) -> io::Result<u32> {
        let pages = self.file.metadata()?.len() / ENTRY as u64;
        Ok(u32::try_from(pages).unwrap_or(u32::MAX))
    }

    /// The database sum of what it holds.
    pub(super) fn sum(&self, page_size: PageSize) -> io::Result<DbSum> {
        self.sum_from(Pgno(1), page_size)
    }

    /// The part of the pages from `first` on: what a database loses when it shrinks to end before it.
    pub(super) fn sum_from(&self, first: Pgno, page_size: PageSize) -> io::Result<DbSum> {
        let (mut sum, mut pgno) = (DbSum::EMPTY, first.0);
        let mut bytes = vec![0; RUN * ENTRY];
        loop {
            let len = self.file.read_at(&mut bytes, offset(Pgno(pgno)))? / ENTRY * ENTRY;
            if len == 0 {
                return Ok(sum);
            }
            for entry in bytes.get(..len).unwrap_or_default().chunks_exact(ENTRY) {
                if let Some(entry) = entry.first_chunk::<ENTRY>()
                    && pgno != page_size.lock_page().0
                {
                    sum = sum.plus(PageCrc(u64::from_le_bytes(*entry)));
                }
                pgno = pgno.saturating_add(1);
            }
        }
    }
}

/// Reads the table from its start to its end, a window at a time.
#[derive(Debug)]
pub(super) struct SumsCursor {
    sums: Rc<PageSums>,
    /// The first page of the window.
    first: u32,
    window: Vec<u8>,
}

impl SumsCursor {
    /// How many entries there are in a window.
    const WINDOW: usize = 512;

    pub(super) fn new(sums: Rc<PageSums>) -> Self {
        Self {
            sums,
            first: 0,
            window: Vec::new(),
        }
    }

    /// The CRC of a page that is not before the last; zero for one that was never set, which no check relies on.
    pub(super) fn get(&mut self, pgno: Pgno) -> io::Result<PageCrc> {
        if let Some(crc) = self.within(pgno) {
            return Ok(crc);
        }
        self.window.resize(Self::WINDOW * ENTRY, 0);
        let len = self.sums.file.read_at(&mut self.window, offset(pgno))? / ENTRY * ENTRY;
        self.window.truncate(len);
        self.first = pgno.0;
        Ok(self.within(pgno).unwrap_or_default())
    }

    fn within(&self, pgno: Pgno) -> Option<PageCrc> {
        let at = pgno.0.checked_sub(self.first)? as usize * ENTRY;
        let entry = self.window.get(at..)?.first_chunk()?;
        Some(PageCrc(u64::from_le_bytes(*entry)))
    }
}

fn offset(pgno: Pgno) -> u64 {
    u64::from(pgno.0.saturating_sub(1)).saturating_mul(ENTRY as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_the_table_is_the_sum_of_its_pages_without_the_lock_page() {
        let folder = tempfile::tempdir().unwrap();
        let sums = PageSums::open(&folder.path().join("page-sums")).unwrap();
        let size = PageSize::new(65_536).unwrap();
        let lock = size.lock_page().0;
        let all: Vec<(Pgno, PageCrc)> = (1..=lock + 3)
            .map(|pgno| (Pgno(pgno), PageCrc(u64::from(pgno) * 77)))
            .collect();
        sums.set(&all).unwrap();
        assert_eq!(sums.pages().unwrap(), lock + 3);
        let stored = || all.iter().filter(|(pgno, _)| pgno.0 != lock);
        let expected = stored().fold(DbSum::EMPTY, |sum, (_, crc)| sum.plus(*crc));
        assert_eq!(sums.sum(size).unwrap(), expected);

        let beyond_ten = stored()
            .filter(|(pgno, _)| pgno.0 > 10)
            .fold(DbSum::EMPTY, |sum, (_, crc)| sum.plus(*crc));
        assert_eq!(sums.sum_from(Pgno(11), size).unwrap(), beyond_ten);
        sums.resize(10).unwrap();
        assert_eq!(sums.sum_from(Pgno(11), size).unwrap(), DbSum::EMPTY);
        let mut cursor = SumsCursor::new(Rc::new(sums));
        for (pgno, crc) in [(1, 77), (2, 154), (2, 154), (10, 770), (11, 0)] {
            assert_eq!(cursor.get(Pgno(pgno)).unwrap(), PageCrc(crc));
        }
    }
}
