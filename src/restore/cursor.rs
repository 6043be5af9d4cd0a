//! Goes through the index of a segment, page by page, in memory or by pieces.

use bytes::Bytes;

use super::opened::Opened;
use super::{Error, Result};
use crate::ltx::index::{Entries, Step};
use crate::ltx::{FileHasher, IndexEntry};
use crate::store::Source;

/// An index that does not fit in memory is read in pieces of this size.
const PIECE: u64 = 512 * 1024;
/// What is enough to find entries in.
const GLIMPSE: u64 = 4 * 1024;

pub(super) struct Cursor<'a> {
    source: &'a dyn Source,
    opened: &'a Opened,
    entries: Entries,
    /// What was read of the index and not taken.
    bytes: Bytes,
    /// Where in the object the bytes after those are.
    at: u64,
    /// Taken, but beyond the window that was asked for.
    ahead: Option<IndexEntry>,
    ended: bool,
    /// Of the index as far as it was read.
    hasher: FileHasher,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(source: &'a dyn Source, opened: &'a Opened) -> Result<Self> {
        let entries =
            Entries::new(&opened.header, &opened.location).map_err(|error| damaged(opened, error))?;
        let mut cursor = Self {
            source,
            opened,
            entries,
            bytes: Bytes::new(),
            at: opened.location.start,
            ahead: None,
            ended: false,
            hasher: FileHasher::new(opened.header.page_size),
        };
        if let Some(index) = &opened.index {
            cursor.bytes = index.clone();
            cursor.at = cursor.end();
            cursor.hasher.update(index);
        }
        Ok(cursor)
    }

    /// Takes the entries of pages below `end`; after the last, that the index is what it must be.
    pub(super) async fn until(&mut self, end: u64, mut take: impl FnMut(IndexEntry)) -> Result<()> {
        loop {
            if let Some(entry) = self.ahead {
                if u64::from(entry.pgno.0) >= end {
                    return Ok(());
                }
                take(entry);
                self.ahead = None;
            }
            if self.ended {
                return Ok(());
            }
            let mut rest = &self.bytes[..];
            let step = self.entries.next(&mut rest);
            let step = step.map_err(|error| damaged(self.opened, error))?;
            let taken = self.bytes.len().saturating_sub(rest.len());
            let _ = self.bytes.split_to(taken);
            match step {
                Step::Entry(entry) => self.ahead = Some(entry),
                Step::End => self.ended = true,
                Step::NeedMore => self.read().await?,
            }
        }
    }

    /// Goes to just before `page`, without what comes before it: an index that is not in memory is searched, in as many reads
    /// as its length has binary digits at most. The whole of it is not proven then.
    pub(super) async fn seek(&mut self, page: u32) -> Result<()> {
        let mut end = self.end();
        while self.opened.index.is_none() && end.saturating_sub(self.at) > PIECE {
            let middle = self.at.midpoint(end);
            let read_to = middle.saturating_add(GLIMPSE).min(end);
            let id = self.opened.segment.id;
            let glimpse = self.source.read(id, middle..read_to).await;
            let glimpse = glimpse.map_err(|error| Error::read(id, error))?;
            let Opened { header, location, .. } = self.opened;
            let within = middle.saturating_sub(location.start);
            let found = Entries::amid(header, location, within, &glimpse);
            let found = found.map_err(|error| damaged(self.opened, error))?;
            let unreadable = || {
                damaged(
                    self.opened,
                    crate::ltx::Error::Index("its frames leave a gap or overlap"),
                )
            };
            let (before, entries) = found.ok_or_else(unreadable)?;
            let mut rest = glimpse.get(before..).unwrap_or_default();
            match entries.clone().next(&mut rest) {
                Ok(Step::Entry(entry)) if entry.pgno.0 <= page => {
                    self.at = middle.saturating_add(before as u64);
                    self.entries = entries;
                }
                Ok(_) => end = middle,
                Err(error) => return Err(damaged(self.opened, error)),
            }
        }
        self.until(u64::from(page), |_| ()).await
    }

    /// The hash of the whole index, once it has been taken.
    pub(super) fn hash(&self) -> Option<&FileHasher> {
        self.ended.then_some(&self.hasher)
    }

    async fn read(&mut self) -> Result<()> {
        let end = self.at.saturating_add(PIECE).min(self.end());
        let id = self.opened.segment.id;
        let piece = self.source.read(id, self.at..end).await;
        let piece = piece.map_err(|error| Error::read(id, error))?;
        if piece.is_empty() {
            return Err(damaged(self.opened, crate::ltx::Error::Index("it is cut off")));
        }
        self.hasher.update(&piece);
        self.at = end;
        self.bytes = [&self.bytes[..], &piece[..]].concat().into();
        Ok(())
    }

    fn end(&self) -> u64 {
        let location = &self.opened.location;
        location.start.saturating_add(location.len)
    }
}

fn damaged(opened: &Opened, error: crate::ltx::Error) -> Error {
    Error::Damaged {
        segment: opened.segment.id,
        error,
    }
}
