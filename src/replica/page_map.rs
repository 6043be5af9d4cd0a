//! Where the newest version of each page is.

use super::Plan;
use crate::ltx::{IndexEntry, PageSize};

/// For each segment of a plan, the frames that are needed of it: those whose page no later segment holds.
#[derive(Clone, Debug)]
pub struct PageMap {
    /// Size of every page.
    pub page_size: PageSize,
    /// Size of the database in pages.
    pub commit: u32,
    /// As the plan's segments, oldest first; each ascending by page and by offset.
    pub wanted: Vec<Vec<IndexEntry>>,
}

/// Builds a [`PageMap`] from the indexes of a plan's segments, newest first.
#[derive(Debug)]
pub struct PageMapBuilder {
    page_size: PageSize,
    commit: u32,
    /// A bit a page.
    seen: Vec<u64>,
    count: u32,
    newest_first: Vec<Vec<IndexEntry>>,
}

impl PageMapBuilder {
    /// For a database of `commit` pages, as the newest segment's header says.
    pub fn new(page_size: PageSize, commit: u32) -> Self {
        let words = (commit as usize).div_ceil(64);
        Self {
            page_size,
            commit,
            seen: vec![0; words],
            count: 0,
            newest_first: Vec::new(),
        }
    }

    /// Takes the index of the next older segment.
    pub fn older(&mut self, mut entries: Vec<IndexEntry>) {
        entries.retain(|entry| self.first_time(entry.pgno.0));
        entries.shrink_to_fit();
        self.newest_first.push(entries);
    }

    /// Whether every page but the lock page has been seen; older segments need not be looked at then.
    pub fn is_complete(&self) -> bool {
        self.count == self.page_size.stored_pages(self.commit)
    }

    /// The map; `plan` tells how many segments there are, those not looked at are not needed.
    pub fn finish(mut self, plan: &Plan) -> PageMap {
        self.newest_first.resize(plan.segments.len(), Vec::new());
        self.newest_first.reverse();
        PageMap {
            page_size: self.page_size,
            commit: self.commit,
            wanted: self.newest_first,
        }
    }

    fn first_time(&mut self, pgno: u32) -> bool {
        let Some(index) = pgno.checked_sub(1).filter(|_| pgno <= self.commit) else {
            return false;
        };
        let Some(word) = self.seen.get_mut((index / 64) as usize) else {
            return false;
        };
        let bit = 1u64 << (index % 64);
        let first = *word & bit == 0;
        *word |= bit;
        self.count = self.count.saturating_add(u32::from(first));
        first
    }
}

impl PageMap {
    /// How many pages it holds.
    pub fn pages(&self) -> u64 {
        self.wanted.iter().map(|entries| entries.len() as u64).sum()
    }

    /// How many bytes of frames they are.
    pub fn frame_bytes(&self) -> u64 {
        self.wanted
            .iter()
            .flatten()
            .map(|entry| u64::from(entry.len))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ltx::Pgno;

    fn entries(pages: &[u32]) -> Vec<IndexEntry> {
        pages
            .iter()
            .map(|&pgno| IndexEntry {
                pgno: Pgno(pgno),
                offset: u64::from(pgno) * 10,
                len: 10,
            })
            .collect()
    }

    #[test]
    fn newest_version_wins_and_pages_beyond_the_end_are_dropped() {
        let mut map = PageMapBuilder::new(PageSize::new(4096).unwrap(), 4);
        map.older(entries(&[2, 4]));
        assert!(!map.is_complete());
        map.older(entries(&[2, 3]));
        map.older(entries(&[1, 2, 3, 4, 5]));
        assert!(map.is_complete());
        let plan = Plan { segments: Vec::new() };
        assert_eq!(map.finish(&plan).wanted.len(), 0);
    }
}
