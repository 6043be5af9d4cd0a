//! A set of page numbers, a bit a page where there are any near it.

use std::collections::BTreeMap;

use crate::ltx::Pgno;

/// Pages of one block.
const BLOCK: u32 = 4096;
const WORDS: usize = BLOCK as usize / 64;

/// Which pages. Memory: at most a bit for every page of the database and then some, whatever is in it.
#[derive(Clone, Debug, Default)]
pub(super) struct PageSet {
    blocks: BTreeMap<u32, Box<[u64; WORDS]>>,
}

impl PageSet {
    /// The pages up to `commit`.
    pub(super) fn all(commit: u32) -> Self {
        let mut all = Self::default();
        for number in 0..=commit / BLOCK {
            let words = all.blocks.entry(number).or_insert_with(|| Box::new([0; WORDS]));
            let first = number.saturating_mul(BLOCK);
            for (word, start) in words.iter_mut().zip((first..).step_by(64)) {
                // Bit 0 of the first word stands for page 0, which there is not.
                *word = match commit.saturating_add(1).saturating_sub(start) {
                    0 => 0,
                    many if many >= 64 => u64::MAX,
                    few => (1 << few) - 1,
                };
            }
        }
        if let Some(word) = all.blocks.get_mut(&0).and_then(|words| words.first_mut()) {
            *word &= !1;
        }
        all.blocks.retain(|_, words| words.iter().any(|&word| word != 0));
        all
    }

    pub(super) fn insert(&mut self, pgno: Pgno) {
        let (block, word, bit) = place(pgno);
        let words = self.blocks.entry(block).or_insert_with(|| Box::new([0; WORDS]));
        if let Some(word) = words.get_mut(word) {
            *word |= bit;
        }
    }

    pub(super) fn contains(&self, pgno: Pgno) -> bool {
        let (block, word, bit) = place(pgno);
        let word = self.blocks.get(&block).and_then(|words| words.get(word));
        word.is_some_and(|word| word & bit != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The first page at or after `pgno`.
    pub(super) fn next_from(&self, pgno: Pgno) -> Option<Pgno> {
        let (first, mut at, bit) = place(pgno);
        // Bits below are behind.
        let mut mask = !(bit.wrapping_sub(1));
        for (&block, words) in self.blocks.range(first..) {
            if block != first {
                (at, mask) = (0, u64::MAX);
            }
            for (number, word) in words.iter().enumerate().skip(at) {
                let rest = word & std::mem::replace(&mut mask, u64::MAX);
                if rest != 0 {
                    let within = (number as u32)
                        .saturating_mul(64)
                        .saturating_add(rest.trailing_zeros());
                    return Some(Pgno(block.saturating_mul(BLOCK).saturating_add(within)));
                }
            }
        }
        None
    }
}

impl Extend<Pgno> for PageSet {
    fn extend<T: IntoIterator<Item = Pgno>>(&mut self, pages: T) {
        for pgno in pages {
            self.insert(pgno);
        }
    }
}

impl FromIterator<Pgno> for PageSet {
    fn from_iter<T: IntoIterator<Item = Pgno>>(pages: T) -> Self {
        let mut set = Self::default();
        set.extend(pages);
        set
    }
}

/// The block, the word in it, the bit in that.
fn place(pgno: Pgno) -> (u32, usize, u64) {
    (pgno.0 / BLOCK, (pgno.0 % BLOCK / 64) as usize, 1 << (pgno.0 % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn pages(set: &PageSet) -> Vec<u32> {
        let first = set.next_from(Pgno(0));
        std::iter::successors(first, |last| set.next_from(Pgno(last.0 + 1)))
            .map(|pgno| pgno.0)
            .collect()
    }

    proptest! {
        #[test]
        fn is_a_set_in_order(numbers in prop::collection::btree_set(prop_oneof![1u32..300, 1u32..40_000, any::<u32>()], 0..200), at: u32) {
            let mut set = PageSet::default();
            set.extend(numbers.iter().map(|&number| Pgno(number)));
            prop_assert_eq!(pages(&set), numbers.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.is_empty(), numbers.is_empty());
            prop_assert_eq!(set.next_from(Pgno(at)).map(|pgno| pgno.0), numbers.range(at..).next().copied());
            prop_assert_eq!(set.contains(Pgno(at)), numbers.contains(&at));
        }

        #[test]
        fn all_is_every_page(commit in 0u32..20_000) {
            let expected: BTreeSet<u32> = (1..=commit).collect();
            prop_assert!(pages(&PageSet::all(commit)).into_iter().eq(expected));
        }
    }
}
