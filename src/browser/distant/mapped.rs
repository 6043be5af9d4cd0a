//! Where the pages of one state are, and how they are fetched.

use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;

use crate::browser::Error;
use crate::ltx::{Decompressor, IndexEntry, PageSize, Pgno, Timestamp, decode_frame, has_page_check};
use crate::replica::{MapWindow, Position, SegmentId, fetches};
use crate::store;

/// Where a state lies. Answers at once: whoever reads pages for SQLite cannot wait for anything.
pub trait Far {
    /// A window of the state's page map that begins with this page.
    fn map(&self, from: Pgno) -> Result<MapWindow, Error>;

    /// A range of an object that a window names.
    fn read(&self, object: SegmentId, range: Range<u64>) -> store::Result<Bytes>;
}

impl<T: Far + ?Sized> Far for Rc<T> {
    fn map(&self, from: Pgno) -> Result<MapWindow, Error> {
        (**self).map(from)
    }

    fn read(&self, object: SegmentId, range: Range<u64>) -> store::Result<Bytes> {
        (**self).read(object, range)
    }
}

/// One ranged read, and the pages that it brings.
#[derive(Clone, Debug)]
pub struct Read {
    /// Of which object.
    pub object: SegmentId,
    offset: u64,
    len: u64,
    entries: Vec<IndexEntry>,
}

impl Read {
    /// The pages that it brings.
    pub fn pages(&self) -> impl Iterator<Item = Pgno> + '_ {
        self.entries.iter().map(|entry| entry.pgno)
    }

    /// Which part of it.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.len)
    }
}

/// What lies between two pages that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gaps {
    /// Comes along where it is short, though it may be here already: a request costs more.
    Brought,
    /// Is not read again.
    Left,
}

/// A state's page map, as far as it is known, and the way to its pages.
pub struct Mapped<S> {
    far: S,
    first: MapWindow,
    /// Those after it, as they were asked for.
    windows: Vec<MapWindow>,
    decompressor: Decompressor,
    page: Vec<u8>,
    is_verified: bool,
}

impl<S: Far> Mapped<S> {
    pub fn open(far: S) -> Result<Self, Error> {
        let first = far.map(Pgno(1))?;
        Ok(Self::from_first(far, first))
    }

    /// With the first window at hand.
    pub fn from_first(far: S, first: MapWindow) -> Self {
        Self {
            page: vec![0; first.page_size.len()],
            far,
            first,
            windows: Vec::new(),
            decompressor: Decompressor::default(),
            is_verified: true,
        }
    }

    /// From now on, the same state is reached so.
    pub fn go_by(&mut self, far: S) {
        self.far = far;
    }

    pub fn position(&self) -> Position {
        self.first.position
    }

    pub fn timestamp(&self) -> Timestamp {
        self.first.timestamp
    }

    pub fn page_size(&self) -> PageSize {
        self.first.page_size
    }

    pub fn commit(&self) -> u32 {
        self.first.commit
    }

    pub fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// Brings pages, in as few reads as where they lie allows; how many bytes that took. No more than may be held at once.
    pub fn bring(
        &mut self,
        pages: impl Iterator<Item = Pgno>,
        gaps: Gaps,
        mut take: impl FnMut(Pgno, &[u8]) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let mut fetched = 0u64;
        for read in self.reads(pages, u64::MAX, gaps)? {
            let bytes = self.far.read(read.object, read.range())?;
            fetched = fetched.saturating_add(bytes.len() as u64);
            self.unpack(&read, &bytes, &mut take)?;
        }
        Ok(fetched)
    }

    /// The reads of at most `longest` bytes that bring these pages, but for the lock page.
    pub fn reads(
        &mut self,
        pages: impl Iterator<Item = Pgno>,
        longest: u64,
        gaps: Gaps,
    ) -> Result<Vec<Read>, Error> {
        // By the run of pages that one is in.
        let mut wanted: Vec<(u32, SegmentId, IndexEntry)> = Vec::new();
        let (mut run, mut next) = (0u32, Pgno(0));
        let lock_page = self.first.page_size.lock_page();
        for pgno in pages.filter(|pgno| *pgno != lock_page) {
            if gaps == Gaps::Left && pgno != next {
                run = run.saturating_add(1);
            }
            next = self.next_stored(pgno);
            let (object, entry) = self.find(pgno)?;
            wanted.push((run, object, entry));
        }
        wanted.sort_unstable_by_key(|(run, object, entry)| (*run, *object, entry.offset));
        let mut reads = Vec::new();
        for of_one in wanted.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1)) {
            let entries: Vec<IndexEntry> = of_one.iter().map(|(_, _, entry)| *entry).collect();
            let Some((_, object, _)) = of_one.first() else {
                continue;
            };
            reads.extend(fetches(&entries, longest).map(|fetch| Read {
                object: *object,
                offset: fetch.offset,
                len: fetch.len,
                entries: fetch.entries.to_vec(),
            }));
        }
        Ok(reads)
    }

    /// Takes the pages out of what a read has brought.
    pub fn unpack(
        &mut self,
        read: &Read,
        bytes: &[u8],
        mut take: impl FnMut(Pgno, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for entry in &read.entries {
            let damaged = |error| crate::restore::Error::Damaged {
                segment: read.object,
                error,
            };
            let start = usize::try_from(entry.offset.saturating_sub(read.offset)).ok();
            let frame = start.and_then(|start| bytes.get(start..start.checked_add(entry.len as usize)?));
            let frame = frame.ok_or(damaged(crate::ltx::Error::Index("it points outside the file")))?;
            decode_frame(frame, entry.pgno, &mut self.decompressor, &mut self.page).map_err(damaged)?;
            self.is_verified &= has_page_check(frame);
            take(entry.pgno, &self.page)?;
        }
        Ok(())
    }

    fn next_stored(&self, pgno: Pgno) -> Pgno {
        let next = Pgno(pgno.0.saturating_add(1));
        match next == self.first.page_size.lock_page() {
            true => Pgno(next.0.saturating_add(1)),
            false => next,
        }
    }

    fn find(&mut self, pgno: Pgno) -> Result<(SegmentId, IndexEntry), Error> {
        let mut known = std::iter::once(&self.first).chain(&self.windows);
        let found = known.find_map(|window| window.get(pgno));
        let (object, place) = match found {
            Some(found) => found,
            None => {
                let window = self.far.map(pgno)?;
                if (window.position, window.page_size, window.commit)
                    != (self.first.position, self.first.page_size, self.first.commit)
                {
                    return Err(Error::PositionMoved);
                }
                let found = window.get(pgno).ok_or(Error::Invalid(format!(
                    "the page map does not tell where page {} is",
                    pgno.0
                )))?;
                self.windows.push(window);
                found
            }
        };
        let entry = IndexEntry {
            pgno,
            offset: place.offset,
            len: place.len,
        };
        Ok((object, entry))
    }
}

impl<S> std::fmt::Debug for Mapped<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapped").finish_non_exhaustive()
    }
}
