//! Reads ahead of whoever reads a file from front to back: a call into OPFS costs as much as many kilobytes.

use super::file::Result;

/// What is read at once, in bytes.
const BLOCK: usize = 64 * 1024;
/// After so many reads onward, the next ones are expected to go on like that.
const RUN: u32 = 4;

/// The block of a file that is at hand, and how it is being read.
#[derive(Debug, Default)]
pub struct Ahead {
    start: u64,
    bytes: Vec<u8>,
    /// Where the last read has ended, and how many in a row went onward.
    end: u64,
    run: u32,
}

impl Ahead {
    /// Reads as `read` does, which reads at an offset until its buffer is full or the file ends.
    pub fn read(
        &mut self,
        offset: u64,
        buffer: &mut [u8],
        read: impl Fn(u64, &mut [u8]) -> Result<usize>,
    ) -> Result<usize> {
        // Over pages of something else, too: a table shares its file with indexes.
        let skipped = offset.checked_sub(self.end);
        let is_onward = skipped.is_some_and(|skipped| skipped < BLOCK as u64);
        self.run = if is_onward { self.run.saturating_add(1) } else { 0 };
        self.end = offset.saturating_add(buffer.len() as u64);
        if let Some(held) = self.held(offset, buffer.len()) {
            buffer.copy_from_slice(held);
            return Ok(buffer.len());
        }
        if self.run < RUN || buffer.len() >= BLOCK {
            return read(offset, buffer);
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(BLOCK, 0);
        let len = read(offset, &mut bytes)?;
        bytes.truncate(len);
        let len = len.min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..len), bytes.get(..len)) {
            to.copy_from_slice(from);
        }
        (self.start, self.bytes) = (offset, bytes);
        Ok(len)
    }

    /// The file changes.
    pub fn forget(&mut self) {
        self.bytes.clear();
    }

    fn held(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(len)?)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    const PAGE: usize = 4096;

    /// Reads these pages of a file of `pages` pages: how often the file was asked.
    fn asked(pages: usize, wanted: impl IntoIterator<Item = usize>) -> u32 {
        let file: Vec<u8> = (0..pages * PAGE).map(|at| (at / PAGE) as u8).collect();
        let (mut ahead, count) = (Ahead::default(), Cell::new(0));
        for page in wanted {
            let mut buffer = [0; PAGE];
            let len = ahead.read((page * PAGE) as u64, &mut buffer, |offset, buffer| {
                count.set(count.get() + 1);
                read(&file, offset, buffer)
            });
            assert_eq!((len, buffer), (Ok(PAGE), [page as u8; PAGE]));
        }
        count.get()
    }

    fn read(file: &[u8], offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let rest = file.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    #[test]
    fn a_scan_asks_for_blocks_and_whoever_jumps_for_pages() {
        assert!(asked(1600, 0..1600) <= 104);
        // Every third is another tree's.
        assert!(asked(1600, (0..1600).filter(|page| page % 3 > 0)) <= 104);
        assert_eq!(asked(1600, (0..1600).map(|n| n * 769 % 1600)), 1600);
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_is_there(
            steps in proptest::collection::vec((0..300_u64, 1..40_usize, any::<bool>(), any::<bool>()), 1..200),
        ) {
            let mut file: Vec<u8> = (0..300 * 1000).map(|at| (at / 7) as u8).collect();
            let mut ahead = Ahead::default();
            let mut at = 0;
            for (place, len, jumps, changes) in steps {
                if jumps {
                    at = place * 1000;
                }
                if changes {
                    ahead.forget();
                    let from = (at as usize).min(file.len());
                    file[from..].iter_mut().take(5000).for_each(|byte| *byte = byte.wrapping_add(1));
                }
                let (mut found, mut expected) = (vec![0; len * 500], vec![0; len * 500]);
                let found_len = ahead.read(at, &mut found, |offset, buffer| read(&file, offset, buffer));
                prop_assert_eq!(found_len, read(&file, at, &mut expected));
                prop_assert_eq!(found, expected);
                at += (len * 500) as u64;
            }
        }
    }
}
