//! Pages that have come, in blocks of neighbours; those that were not read for the longest time give way.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::ltx::{PageSize, Pgno};

pub(super) struct Blocks {
    page_size: PageSize,
    /// Pages in a block.
    pages: u32,
    /// Blocks that are kept at the most.
    most: usize,
    blocks: BTreeMap<u32, Block>,
    clock: u64,
}

struct Block {
    bytes: Vec<u8>,
    /// Which pages of it are there.
    present: Vec<bool>,
    read: u64,
}

impl Blocks {
    pub(super) fn new(page_size: PageSize, pages: u32, kept: usize) -> Self {
        let bytes = page_size.len().saturating_mul(pages as usize).max(1);
        Self {
            page_size,
            pages,
            most: (kept / bytes).max(32),
            blocks: BTreeMap::new(),
            clock: 0,
        }
    }

    /// The block that a page is in.
    pub(super) fn block_of(&self, pgno: Pgno) -> u32 {
        pgno.0.saturating_sub(1).checked_div(self.pages).unwrap_or(0)
    }

    /// The pages of so many blocks, as far as the database has them.
    pub(super) fn pages(&self, block: u32, count: u32, commit: u32) -> RangeInclusive<Pgno> {
        let first = block.saturating_mul(self.pages).saturating_add(1);
        let last = block.saturating_add(count).saturating_mul(self.pages).min(commit);
        Pgno(first)..=Pgno(last)
    }

    /// Whether a page is there.
    pub(super) fn has(&self, pgno: Pgno) -> bool {
        let block = self.blocks.get(&self.block_of(pgno));
        block.is_some_and(|block| block.present.get(self.index(pgno)) == Some(&true))
    }

    /// Reads a part of a page, if it is there.
    pub(super) fn read(&mut self, pgno: Pgno, within: usize, buffer: &mut [u8]) -> bool {
        let (block, index) = (self.block_of(pgno), self.index(pgno));
        self.clock = self.clock.saturating_add(1);
        let Some(block) = self.blocks.get_mut(&block) else {
            return false;
        };
        let start = index.saturating_mul(self.page_size.len()).saturating_add(within);
        let found = block.bytes.get(start..start.saturating_add(buffer.len()));
        match (block.present.get(index), found) {
            (Some(true), Some(found)) => {
                block.read = self.clock;
                buffer.copy_from_slice(found);
                true
            }
            _ => false,
        }
    }

    /// Drops what was not read for the longest time, so that so many blocks from `block` on have room.
    pub(super) fn make_room(&mut self, block: u32, count: u32) {
        let end = block.saturating_add(count);
        let new = (block..end)
            .filter(|block| !self.blocks.contains_key(block))
            .count();
        while self.blocks.len().saturating_add(new) > self.most {
            let oldest = self.blocks.iter().filter(|(at, _)| !(block..end).contains(*at));
            let Some(oldest) = oldest.min_by_key(|(_, block)| block.read).map(|(at, _)| *at) else {
                return;
            };
            self.blocks.remove(&oldest);
        }
    }

    /// Takes a page that has come.
    pub(super) fn put(&mut self, pgno: Pgno, page: &[u8]) {
        let (number, index, len) = (self.block_of(pgno), self.index(pgno), self.page_size.len());
        let pages = self.pages as usize;
        let clock = self.clock;
        let block = self.blocks.entry(number).or_insert_with(|| Block {
            bytes: vec![0; len.saturating_mul(pages)],
            present: vec![false; pages],
            read: clock,
        });
        let start = index.saturating_mul(len);
        if let (Some(place), Some(present)) = (
            block.bytes.get_mut(start..start.saturating_add(page.len())),
            block.present.get_mut(index),
        ) {
            place.copy_from_slice(page);
            *present = true;
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    fn index(&self, pgno: Pgno) -> usize {
        pgno.0.saturating_sub(1).checked_rem(self.pages).unwrap_or(0) as usize
    }
}
