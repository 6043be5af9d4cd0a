//! Which segment has the newest version of each page.

use super::PageSet;
use crate::ltx::{PageSize, Pgno};

/// Asked for every entry of the indexes of a plan's segments, it tells which are needed: those whose page no newer
/// segment holds.
///
/// For each page the newest segment must ask first. The map itself is a bit a page: indexes need not be in memory,
/// they can be walked in windows of page numbers, from the newest segment to the oldest in each.
#[derive(Clone, Debug)]
pub struct PageMap {
    page_size: PageSize,
    commit: u32,
    /// For each segment, the newest first: pages beyond this were cut off since, so what it holds of these numbers are
    /// other pages.
    ends: Vec<u32>,
    seen: PageSet,
}

impl PageMap {
    /// For segments after which the database had so many pages, the newest first; `have` is there already.
    pub fn new(page_size: PageSize, commits: impl IntoIterator<Item = u32>, have: PageSet) -> Self {
        let mut commits = commits.into_iter().peekable();
        let commit = commits.peek().copied().unwrap_or_default();
        let ends = commits.scan(commit, |end, commit| {
            let cut = *end;
            *end = cut.min(commit);
            Some(cut)
        });
        Self {
            page_size,
            commit,
            ends: ends.collect(),
            seen: have,
        }
    }

    /// Whether a page is needed of this segment, counted from the newest. It has been seen then.
    pub fn needs(&mut self, segment: usize, pgno: Pgno) -> bool {
        let end = self.ends.get(segment).copied().unwrap_or_default();
        pgno.0 > 0 && pgno.0 <= end && pgno != self.page_size.lock_page() && self.seen.insert(pgno)
    }

    /// The last page that no segment holds, 0 if there is none: a state at hand must bring it.
    pub fn last_missing(&self) -> u32 {
        self.seen.last_missing(self.page_size, self.commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is needed of each segment of `(commit, pages)`, the newest first; what is missing.
    fn needed(segments: &[(u32, &[u32])]) -> (Vec<Vec<u32>>, u32) {
        let commits = segments.iter().map(|(commit, _)| *commit);
        let mut map = PageMap::new(PageSize::new(65_536).unwrap(), commits, PageSet::default());
        let needed = segments.iter().enumerate().map(|(at, (_, pages))| {
            let needed = pages.iter().filter(|pgno| map.needs(at, Pgno(**pgno)));
            needed.copied().collect()
        });
        (needed.collect(), map.last_missing())
    }

    #[test]
    fn newest_version_wins_and_pages_beyond_the_end_are_dropped() {
        let (needed, missing) = needed(&[(4, &[2, 4]), (4, &[2, 3]), (5, &[1, 2, 3, 4, 5])]);
        assert_eq!(needed, [vec![2, 4], vec![3], vec![1]]);
        assert_eq!(missing, 0);
    }

    #[test]
    fn what_a_segment_does_not_hold_must_come_from_a_state_at_hand() {
        assert_eq!(needed(&[(9, &[1, 8, 9])]).1, 7);
    }

    /// The database shrank to 3 pages and grew to 6 again: page 5 of before is another page.
    #[test]
    fn pages_that_were_cut_off_do_not_come_back() {
        let (_, missing) = needed(&[(6, &[4, 6]), (3, &[1]), (6, &[1, 2, 3, 4, 5, 6])]);
        assert_eq!(missing, 5);
        let (needed, missing) = needed(&[(6, &[4, 5, 6]), (3, &[1]), (6, &[1, 2, 3, 4, 5, 6])]);
        assert_eq!(needed, [vec![4, 5, 6], vec![1], vec![2, 3]]);
        assert_eq!(missing, 0);
    }

    #[test]
    fn lock_page_is_neither_taken_nor_missed() {
        let older: Vec<u32> = (1..=16_384).collect();
        let (needed, missing) = needed(&[(16_386, &[16_385, 16_386]), (16_384, &older)]);
        assert_eq!(needed[0], [16_386]);
        assert_eq!(missing, 0);
    }

    #[test]
    fn what_is_there_already_is_not_needed() {
        let mut have = PageSet::default();
        have.insert(Pgno(2));
        let mut map = PageMap::new(PageSize::new(512).unwrap(), [3], have);
        let needed: Vec<u32> = (1..=3).filter(|&pgno| map.needs(0, Pgno(pgno))).collect();
        assert_eq!(needed, [1, 3]);
        assert_eq!(map.last_missing(), 0);
    }
}
