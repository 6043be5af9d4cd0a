//! A set of page numbers.

use crate::ltx::{PageSize, Pgno};

/// Pages of one database, a bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageSet {
    words: Vec<u64>,
    count: u32,
}

impl PageSet {
    /// Adds a page; whether it is new.
    pub fn insert(&mut self, pgno: Pgno) -> bool {
        let (word, bit) = place(pgno);
        if self.words.len() <= word {
            self.words.resize(word.saturating_add(1), 0);
        }
        let Some(word) = self.words.get_mut(word) else {
            return false;
        };
        let new = *word & bit == 0;
        *word |= bit;
        self.count = self.count.saturating_add(u32::from(new));
        new
    }

    /// Takes a page out.
    pub fn remove(&mut self, pgno: Pgno) {
        let (word, bit) = place(pgno);
        if let Some(word) = self.words.get_mut(word).filter(|word| **word & bit != 0) {
            *word &= !bit;
            self.count = self.count.saturating_sub(1);
        }
    }

    /// Whether a page is in it.
    pub fn contains(&self, pgno: Pgno) -> bool {
        let (word, bit) = place(pgno);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// As bytes: bit `n % 8` of byte `n / 8` is page n.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// From such bytes, as many as there are: the pages that a database of `commit` pages stores.
    pub fn from_bytes(bytes: &[u8], page_size: PageSize, commit: u32) -> Self {
        let mut set = Self::default();
        let is_set = |&pgno: &u32| {
            let byte = bytes.get((pgno / 8) as usize);
            Pgno(pgno) != page_size.lock_page() && byte.is_some_and(|byte| byte & (1 << (pgno % 8)) != 0)
        };
        set.extend((1..=commit).filter(is_set).map(Pgno));
        set
    }

    /// Takes out what comes after the first `commit` pages.
    pub fn cut(&mut self, commit: u32) {
        let (word, bit) = place(Pgno(commit.saturating_add(1)));
        self.words.truncate(word.saturating_add(1));
        if let Some(last) = self.words.get_mut(word) {
            *last &= bit.wrapping_sub(1);
        }
        self.count = self
            .words
            .iter()
            .fold(0, |count, word| count.saturating_add(word.count_ones()));
    }

    /// How many pages are in it.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The last page that a database of `commit` pages stores and that is not in the set; 0 if all are. The set must
    /// hold none but such pages.
    pub fn last_missing(&self, page_size: PageSize, commit: u32) -> u32 {
        let missing = |&pgno: &u32| Pgno(pgno) != page_size.lock_page() && !self.contains(Pgno(pgno));
        if self.count >= page_size.stored_pages(commit) {
            return 0;
        }
        (1..=commit).rev().find(missing).unwrap_or(0)
    }
}

impl Extend<Pgno> for PageSet {
    fn extend<I: IntoIterator<Item = Pgno>>(&mut self, pages: I) {
        for pgno in pages {
            self.insert(pgno);
        }
    }
}

/// Where a page's bit is.
fn place(pgno: Pgno) -> (usize, u64) {
    ((pgno.0 / 64) as usize, 1 << (pgno.0 % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in_once() {
        let mut set = PageSet::default();
        assert!(set.insert(Pgno(64)) && set.insert(Pgno(1)) && !set.insert(Pgno(64)));
        assert!(set.contains(Pgno(1)) && !set.contains(Pgno(2)) && !set.contains(Pgno(1_000_000)));
        assert_eq!(set.len(), 2);
        let page_size = PageSize::new(512).unwrap();
        assert_eq!(set.last_missing(page_size, 64), 63);
        set.extend((1..64).map(Pgno));
        assert_eq!(set.last_missing(page_size, 64), 0);
        assert_eq!(set.last_missing(page_size, 70), 70);
        assert_eq!(PageSet::from_bytes(&set.to_bytes(), page_size, 100), set);
        assert_eq!(
            PageSet::from_bytes(&set.to_bytes()[..4], page_size, 100).len(),
            31
        );
        for _ in 0..2 {
            set.remove(Pgno(2));
            assert!(!set.contains(Pgno(2)) && set.contains(Pgno(1)) && set.len() == 63);
        }
        set.remove(Pgno(1_000_000));
        set.insert(Pgno(2));
        for commit in [70, 64, 63, 17, 0] {
            set.cut(commit);
            assert_eq!(set.len(), commit.min(64));
            assert!(commit == 0 || set.contains(Pgno(commit.min(64))));
            assert!(!set.contains(Pgno(commit + 1)));
        }
    }
}
