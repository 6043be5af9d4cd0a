//! Where the newest version of each page is.

use super::Plan;
use crate::ltx::{IndexEntry, PageSize, Pgno};

/// For each segment of a plan, the frames that are needed of it: those whose page no later segment holds.
#[derive(Clone, Debug)]
pub struct PageMap {
    /// Size of every page.
    pub page_size: PageSize,
    /// Size of the database in pages.
    pub commit: u32,
    /// As the plan's segments, oldest first; each ascending by page and by offset.
    pub wanted: Vec<Vec<IndexEntry>>,
    /// The last page that no segment holds, 0 if there is none: a state at hand must bring it.
    pub last_missing: u32,
}

/// Builds a [`PageMap`] from the indexes of a plan's segments, newest first.
#[derive(Debug)]
pub struct PageMapBuilder {
    page_size: PageSize,
    commit: u32,
    /// Pages beyond this were cut off by a segment that was seen: older segments hold other pages of these numbers.
    end: u32,
    /// A bit a page, as far as pages were seen.
    seen: Vec<u64>,
    count: u32,
    newest_first: Vec<Vec<IndexEntry>>,
}

impl PageMapBuilder {
    /// For a database of `commit` pages, as the newest segment's header says.
    pub fn new(page_size: PageSize, commit: u32) -> Self {
        Self {
            page_size,
            commit,
            end: commit,
            seen: Vec::new(),
            count: 0,
            newest_first: Vec::new(),
        }
    }

    /// Takes the index of the next older segment, after which the database had `commit` pages.
    pub fn older(&mut self, commit: u32, mut entries: Vec<IndexEntry>) {
        entries.retain(|entry| self.first_time(entry.pgno));
        entries.shrink_to_fit();
        self.newest_first.push(entries);
        self.end = self.end.min(commit);
    }

    /// Whether every page but the lock page has been seen; older segments need not be looked at then.
    pub fn is_complete(&self) -> bool {
        self.count == self.page_size.stored_pages(self.commit)
    }

    /// The map; `plan` tells how many segments there are, those not looked at are not needed. `None` where a page
    /// is missing that no older state can bring either: the database had shrunk below it in between.
    pub fn finish(mut self, plan: &Plan) -> Option<PageMap> {
        let last_missing = self.last_missing();
        if last_missing > self.end {
            return None;
        }
        self.newest_first.resize(plan.segments.len(), Vec::new());
        self.newest_first.reverse();
        Some(PageMap {
            page_size: self.page_size,
            commit: self.commit,
            wanted: self.newest_first,
            last_missing,
        })
    }

    /// Whether a page is needed and was not seen yet; it has been seen then.
    fn first_time(&mut self, pgno: Pgno) -> bool {
        if pgno.0 == 0 || pgno.0 > self.end || pgno == self.page_size.lock_page() {
            return false;
        }
        let (word, bit) = place(pgno.0);
        if self.seen.len() <= word {
            self.seen.resize(word.saturating_add(1), 0);
        }
        let Some(word) = self.seen.get_mut(word) else {
            return false;
        };
        let first = *word & bit == 0;
        *word |= bit;
        self.count = self.count.saturating_add(u32::from(first));
        first
    }

    fn last_missing(&self) -> u32 {
        if self.is_complete() {
            return 0;
        }
        let missing = |&pgno: &u32| {
            let (word, bit) = place(pgno);
            Pgno(pgno) != self.page_size.lock_page() && self.seen.get(word).is_none_or(|word| word & bit == 0)
        };
        (1..=self.commit).rev().find(missing).unwrap_or(0)
    }
}

/// Where a page's bit is.
fn place(pgno: u32) -> (usize, u64) {
    ((pgno / 64) as usize, 1 << (pgno % 64))
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
    use crate::ltx::Txid;
    use crate::replica::{Level, SegmentId, SegmentInfo};

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

    fn builder(commit: u32) -> PageMapBuilder {
        PageMapBuilder::new(PageSize::new(65_536).unwrap(), commit)
    }

    fn plan(segments: usize) -> Plan {
        let id = SegmentId::new(Level::RAW, Txid(1), Txid(1)).unwrap();
        let info = SegmentInfo {
            id,
            size: 0,
            timestamp: None,
        };
        Plan {
            segments: vec![info; segments],
        }
    }

    fn wanted(map: &PageMap) -> Vec<Vec<u32>> {
        let numbers = |entries: &Vec<IndexEntry>| entries.iter().map(|entry| entry.pgno.0).collect();
        map.wanted.iter().map(numbers).collect()
    }

    #[test]
    fn newest_version_wins_and_pages_beyond_the_end_are_dropped() {
        let mut map = builder(4);
        map.older(4, entries(&[2, 4]));
        assert!(!map.is_complete());
        map.older(4, entries(&[2, 3]));
        map.older(5, entries(&[1, 2, 3, 4, 5]));
        assert!(map.is_complete());
        let map = map.finish(&plan(4)).unwrap();
        assert_eq!(wanted(&map), [vec![], vec![1], vec![3], vec![2, 4]]);
        assert_eq!(map.last_missing, 0);
    }

    #[test]
    fn what_a_segment_does_not_hold_must_come_from_a_state_at_hand() {
        let mut map = builder(9);
        map.older(9, entries(&[1, 8, 9]));
        assert_eq!(map.finish(&plan(1)).unwrap().last_missing, 7);
    }

    /// The database shrank to 3 pages and grew to 6 again: page 5 of before is another page.
    #[test]
    fn pages_that_were_cut_off_do_not_come_back() {
        let snapshot = || entries(&[1, 2, 3, 4, 5, 6]);
        let mut map = builder(6);
        map.older(6, entries(&[4, 6]));
        map.older(3, entries(&[1]));
        map.older(6, snapshot());
        assert!(map.finish(&plan(3)).is_none());
        let mut map = builder(6);
        map.older(6, entries(&[4, 5, 6]));
        map.older(3, entries(&[1]));
        map.older(6, snapshot());
        assert_eq!(
            wanted(&map.finish(&plan(3)).unwrap()),
            [vec![2, 3], vec![1], vec![4, 5, 6]]
        );
    }

    #[test]
    fn lock_page_is_neither_taken_nor_missed() {
        let mut map = builder(16_386);
        map.older(16_386, entries(&[16_385, 16_386]));
        map.older(16_384, entries(&(1..=16_384).collect::<Vec<_>>()));
        assert!(map.is_complete());
        let map = map.finish(&plan(2)).unwrap();
        assert_eq!(map.wanted[1].len(), 1);
        assert_eq!(map.last_missing, 0);
    }
}
