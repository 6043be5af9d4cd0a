//! Goes through the indexes of all segments at once, in windows of page numbers, so that none of them need be in
//! memory as a whole.

use std::ops::RangeInclusive;

use super::Result;
use super::cursor::Cursor;
use super::opened::Opened;
use crate::ltx::IndexEntry;
use crate::replica::{Fetch, PageMap, PageSet, fetches};
use crate::store::Source;

/// Pages in a window: so many index entries are in memory at most.
const WINDOW: u64 = 256 * 1024;

/// What a walk looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The newest version of each page: the sum of all proves them.
    Newest,
    /// Every frame of every segment: each segment must prove itself.
    Whole,
}

pub(super) struct Walk<'a> {
    mode: Mode,
    /// The newest first.
    cursors: Vec<Cursor<'a>>,
    map: PageMap,
    /// The window, and where in it: which segment is next.
    start: u64,
    segment: usize,
    /// Pages in it.
    window: u64,
    /// Pages that any segment may hold.
    end: u64,
    /// Whether the indexes are walked to their ends.
    is_whole: bool,
}

/// What a segment brings in a window.
#[derive(Debug)]
pub(super) struct Part {
    /// The first page of the window.
    pub(super) start: u64,
    /// Which segment, counted from the newest.
    pub(super) segment: usize,
    pub(super) entries: Vec<IndexEntry>,
    /// Which of them are needed; all, if it is empty.
    pub(super) needed: Vec<bool>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        source: &'a dyn Source,
        opened: &'a [Opened],
        mode: Mode,
        have: PageSet,
    ) -> Result<Option<Self>> {
        let Some(newest) = opened.first() else {
            return Ok(None);
        };
        let commits = opened.iter().map(|opened| opened.header.commit);
        let cursors = opened.iter().map(|opened| Cursor::new(source, opened));
        Ok(Some(Self {
            mode,
            cursors: cursors.collect::<Result<_>>()?,
            map: PageMap::new(newest.header.page_size, commits.clone(), have),
            start: 1,
            segment: 0,
            window: WINDOW,
            end: commits.max().map_or(1, |last| u64::from(last).saturating_add(1)),
            is_whole: true,
        }))
    }

    /// Only over these pages, in one window.
    pub(super) async fn over(mut self, pages: RangeInclusive<u32>) -> Result<Self> {
        for cursor in &mut self.cursors {
            cursor.seek(*pages.start()).await?;
        }
        let start = u64::from(*pages.start());
        Ok(Self {
            start,
            window: u64::from(*pages.end()).saturating_add(1).saturating_sub(start),
            end: u64::from(*pages.end()).saturating_add(1),
            is_whole: false,
            ..self
        })
    }

    /// The same in windows of so many pages.
    pub(super) fn in_windows(self, window: u64) -> Self {
        Self { window, ..self }
    }

    /// What the next segment brings, the newest first in each window; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Part>> {
        while self.start < self.end {
            let end = self.start.saturating_add(self.window);
            // The last window takes the end of each index too.
            let until = if end >= self.end && self.is_whole {
                u64::MAX
            } else {
                end
            };
            while let Some(cursor) = self.cursors.get_mut(self.segment) {
                let segment = self.segment;
                self.segment = segment.saturating_add(1);
                let mut part = Part {
                    start: self.start,
                    segment,
                    entries: Vec::new(),
                    needed: Vec::new(),
                };
                let (map, mode) = (&mut self.map, self.mode);
                let take = |entry: IndexEntry| {
                    let needed = map.needs(segment, entry.pgno);
                    if mode == Mode::Whole {
                        part.needed.push(needed);
                    }
                    if needed || mode == Mode::Whole {
                        part.entries.push(entry);
                    }
                };
                cursor.until(until, take).await?;
                if !part.entries.is_empty() {
                    return Ok(Some(part));
                }
            }
            self.segment = 0;
            self.start = end;
        }
        Ok(None)
    }

    pub(super) fn map(&self) -> &PageMap {
        &self.map
    }

    pub(super) fn cursors(&self) -> &[Cursor<'a>] {
        &self.cursors
    }
}

impl Part {
    /// In reads of at most `read` bytes, each with what is needed of it.
    pub(super) fn reads(&self, read: u64) -> impl Iterator<Item = (Fetch<'_>, &[bool])> {
        let mut rest = &self.needed[..];
        fetches(&self.entries, read).map(move |fetch| {
            let (needed, after) = rest.split_at_checked(fetch.entries.len()).unwrap_or_default();
            rest = after;
            (fetch, needed)
        })
    }

    /// How many pages it brings.
    pub(super) fn pages(&self) -> u64 {
        if self.needed.is_empty() {
            self.entries.len() as u64
        } else {
            self.needed.iter().filter(|needed| **needed).count() as u64
        }
    }
}
