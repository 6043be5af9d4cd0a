//! Puts decoded pages where they belong.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::ltx::{DbSum, PageSize, Pgno};
use crate::restore::{Chunk, Error, Scratch};

/// Neighbouring pages are written together, up to this length.
const MAX_RUN: usize = 256 * 1024;

/// Memory that decoding uses again and again; one a thread.
#[derive(Debug, Default)]
pub(super) struct Memory {
    scratch: Scratch,
    run: Vec<u8>,
}

/// Why a chunk was not placed.
#[derive(Debug)]
pub(super) enum Failure {
    Replica(Error),
    Output(io::Error),
}

/// What has been placed.
#[derive(Debug)]
pub(super) struct Placed {
    /// Its part of the database sum.
    pub(super) sum: DbSum,
    pub(super) pages: Vec<Pgno>,
}

/// Decodes a chunk into its places. Where nothing was written yet (`is_fresh`) the file reads as zeros.
pub(super) fn place(
    chunk: &Chunk,
    file: &File,
    page_size: PageSize,
    is_fresh: bool,
    memory: &mut Memory,
) -> Result<Placed, Failure> {
    let mut run = Run {
        file,
        is_fresh,
        start: 0,
        bytes: &mut memory.run,
    };
    run.bytes.clear();
    let mut pages = Vec::new();
    let sum = chunk.decode(&mut memory.scratch, |pgno, _, page| {
        pages.push(pgno);
        run.put(page_size.offset_of(pgno), page).map_err(Failure::Output)
    })?;
    run.flush().map_err(Failure::Output)?;
    Ok(Placed { sum, pages })
}

/// Pages that stand one after the other in the file.
struct Run<'a> {
    file: &'a File,
    is_fresh: bool,
    start: u64,
    bytes: &'a mut Vec<u8>,
}

impl Run<'_> {
    fn put(&mut self, offset: u64, page: &[u8]) -> io::Result<()> {
        let end = self.start.saturating_add(self.bytes.len() as u64);
        if offset != end || self.bytes.len().saturating_add(page.len()) > MAX_RUN {
            self.flush()?;
            self.start = offset;
        }
        if self.is_fresh && is_zero(page) {
            // The file reads as zeros there already, and stays sparse.
            self.flush()?;
        } else {
            self.bytes.extend_from_slice(page);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(self.bytes, self.start)?;
        self.bytes.clear();
        Ok(())
    }
}

/// A page's size is a multiple of eight.
fn is_zero(page: &[u8]) -> bool {
    let (words, rest) = page.as_chunks::<8>();
    rest.is_empty() && words.iter().all(|word| *word == [0; 8])
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Replica(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn pages_land_at_their_offsets_and_zeros_take_no_space() {
        let file = tempfile::tempfile().unwrap();
        let page = |byte: u8| vec![byte; 4096];
        let content: Vec<u8> = (0..1000)
            .map(|n| if n % 7 < 3 || n > 400 { 0 } else { n as u8 | 1 })
            .collect();
        file.set_len(content.len() as u64 * 4096).unwrap();
        let mut run = Run {
            file: &file,
            is_fresh: true,
            start: 0,
            bytes: &mut Vec::new(),
        };
        // Two halves, in the wrong order, with a jump between.
        for half in [500..1000, 0..500] {
            for n in half {
                run.put(n as u64 * 4096, &page(content[n])).unwrap();
            }
        }
        run.flush().unwrap();
        for (n, &byte) in content.iter().enumerate() {
            let mut found = page(9);
            file.read_exact_at(&mut found, n as u64 * 4096).unwrap();
            assert_eq!(found, page(byte), "page {n}");
        }
        let written = content.iter().filter(|&&byte| byte != 0).count() as u64;
        assert!(file.metadata().unwrap().blocks() * 512 <= (written + 16) * 4096);
    }
}
