//! How much is brought at once: a block of neighbours, and more and more for who reads on and on.

use crate::ltx::PageSize;

/// What is brought at once, at the least and at the most.
const BLOCK: usize = 64 * 1024;
const LONGEST: usize = 1024 * 1024;

/// Where a reader is expected next.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadAhead {
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
        let count = match block == self.next && self.count > 0 {
            true => self.count.saturating_mul(2).min(longest),
            false => 1,
        };
        *self = Self {
            next: block.saturating_add(count),
            count,
        };
        count
    }
}
