//! Where the pages of one state are, and how they are fetched.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use bytes::Bytes;

use crate::browser::Error;
use crate::ltx::{Decompressor, IndexEntry, PageSize, Pgno, Timestamp, decode_frame, has_page_check};
use crate::replica::{MapWindow, Position, SegmentId, fetches};
use crate::store;

/// A read brings so much at the most.
const READ: u64 = 1024 * 1024;

/// Where a state lies. Answers at once: whoever reads pages for SQLite cannot wait for anything.
pub trait Far {
    /// A window of the state's page map that begins with this page.
    fn map(&self, from: Pgno) -> Result<MapWindow, Error>;

    /// A range of an object that a window names.
    fn read(&self, object: SegmentId, range: Range<u64>) -> store::Result<Bytes>;
}

pub(super) struct Mapped<S> {
    far: S,
    first: MapWindow,
    /// By their first pages; the first one is not among them.
    windows: BTreeMap<u32, MapWindow>,
    decompressor: Decompressor,
    page: Vec<u8>,
    is_verified: bool,
}

impl<S: Far> Mapped<S> {
    pub(super) fn open(far: S) -> Result<Self, Error> {
        let first = far.map(Pgno(1))?;
        Ok(Self {
            page: vec![0; first.page_size.len()],
            far,
            first,
            windows: BTreeMap::new(),
            decompressor: Decompressor::default(),
            is_verified: true,
        })
    }

    pub(super) fn position(&self) -> Position {
        self.first.position
    }

    pub(super) fn timestamp(&self) -> Timestamp {
        self.first.timestamp
    }

    pub(super) fn page_size(&self) -> PageSize {
        self.first.page_size
    }

    pub(super) fn commit(&self) -> u32 {
        self.first.commit
    }

    pub(super) fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// Brings pages, in as few reads as where they lie allows.
    pub(super) fn bring(
        &mut self,
        pages: RangeInclusive<Pgno>,
        mut take: impl FnMut(Pgno, &[u8]),
    ) -> Result<(), Error> {
        let mut wanted: BTreeMap<SegmentId, Vec<IndexEntry>> = BTreeMap::new();
        for pgno in (pages.start().0..=pages.end().0).map(Pgno) {
            if pgno == self.page_size().lock_page() {
                continue;
            }
            let (object, entry) = self.find(pgno)?;
            wanted.entry(object).or_default().push(entry);
        }
        for (object, mut entries) in wanted {
            entries.sort_unstable_by_key(|entry| entry.offset);
            for fetch in fetches(&entries, READ) {
                let end = fetch.offset.saturating_add(fetch.len);
                let bytes = self.far.read(object, fetch.offset..end)?;
                for entry in fetch.entries {
                    let damaged = |error| crate::restore::Error::Damaged {
                        segment: object,
                        error,
                    };
                    let start = usize::try_from(entry.offset.saturating_sub(fetch.offset)).ok();
                    let frame =
                        start.and_then(|start| bytes.get(start..start.checked_add(entry.len as usize)?));
                    let frame =
                        frame.ok_or(damaged(crate::ltx::Error::Index("it points outside the file")))?;
                    decode_frame(frame, entry.pgno, &mut self.decompressor, &mut self.page)
                        .map_err(damaged)?;
                    self.is_verified &= has_page_check(frame);
                    take(entry.pgno, &self.page);
                }
            }
        }
        Ok(())
    }

    fn find(&mut self, pgno: Pgno) -> Result<(SegmentId, IndexEntry), Error> {
        let known = self.windows.range(..=pgno.0).next_back();
        let found = self
            .first
            .get(pgno)
            .or_else(|| known.and_then(|(_, window)| window.get(pgno)));
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
                self.windows.insert(pgno.0, window);
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
