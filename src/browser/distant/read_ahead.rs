//! How much is brought at once: a block of neighbours, and more and more for who reads on and on.

use crate::ltx::PageSize;

/// What is brought at once, at the least and at the most.
const BLOCK: usize = 64 * 1024;
const LONGEST: usize = 8 * 1024 * 1024;

/// So many places are read at once: a scan looks at its tree's inner pages and at the leaves, an index at its table.
const HEADS: usize = 3;

/// Where readers are expected next.
#[derive(Clone, Debug, Default)]
pub struct ReadAhead {
    /// The one that has moved last comes first.
    heads: Vec<Head>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    /// The block after the last that was brought.
    next: u32,
    /// How many were brought with it.
    count: u32,
}

impl ReadAhead {
    /// Pages of a block.
    pub fn pages(page_size: PageSize) -> u32 {
        u32::try_from(BLOCK / page_size.len()).unwrap_or(1).max(1)
    }

    /// How many blocks to bring from this one on, which is missing.
    pub fn blocks(&mut self, block: u32) -> u32 {
        let longest = u32::try_from(LONGEST / BLOCK).unwrap_or(1);
        let more = |head: &Head| head.count.saturating_mul(2).min(longest);
        // Blocks that are here already are not asked for: whoever reads on may come a little further.
        let is_expected = |head: &Head| (head.next..head.next.saturating_add(more(head))).contains(&block);
        let known = self.heads.iter().position(is_expected);
        let count = known.map_or(1, |at| more(&self.heads.remove(at)));
        self.heads.truncate(HEADS.saturating_sub(1));
        let next = block.saturating_add(count);
        self.heads.insert(0, Head { next, count });
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_on_gets_more_also_over_what_is_here_and_beside_another() {
        let mut ahead = ReadAhead::default();
        assert_eq!([7, 8, 10].map(|block| ahead.blocks(block)), [1, 2, 4]);
        // Two of the eight that come next are here.
        assert_eq!([500, 16, 501, 24].map(|block| ahead.blocks(block)), [1, 8, 2, 16]);
        assert_eq!([40, 72, 136].map(|block| ahead.blocks(block)), [32, 64, 128]);
        assert_eq!(ahead.blocks(264), 128, "but not without end");
        for jump in [9000, 3000, 7000] {
            assert_eq!(ahead.blocks(jump), 1);
        }
        assert_eq!(ahead.blocks(200), 1, "it was forgotten");
    }
}
