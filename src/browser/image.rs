//! What SQLite reads as a database file.

use super::file;
use crate::ltx::Txid;
use crate::replica::PageSet;

/// A state of a database. While something reads, it stays the same.
pub trait Image {
    /// Length of the database file.
    fn size(&self) -> file::Result<u64>;

    /// Reads as SQLite is to see it, up to the end of the file; returns how many bytes that were.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> file::Result<usize>;

    /// A statement begins to read.
    fn begin_reading(&self) -> Reading;

    /// The statement has ended.
    fn end_reading(&self, reading: Reading);

    /// From now on the pages that are read are written down, by who can change.
    fn record(&self) {}

    /// Those that were read since.
    fn recorded(&self) -> PageSet {
        PageSet::default()
    }
}

/// Counts as one reader, from its making to its end.
#[derive(Debug)]
pub struct Reading(pub(super) ());

/// Puts the served fields of the database header over what was read at `offset`.
///
/// Only page 1 differs from the source's: it says rollback journal where the source says WAL (bytes 18 and 19), since
/// there is no WAL here, and its change counter (24..28, with its confirmation at 92..96) is derived from the
/// position, since a WAL database need not count and SQLite keeps its cache as long as the counter stands. The size
/// in pages (28..32) is the position's too: with a counter that is confirmed, SQLite believes it.
pub(super) fn serve_header(txid: Txid, commit: u32, offset: u64, read: &mut [u8]) {
    // Any 32 bits that differ between two states one after the other.
    let counter = (txid.0 as u32).to_be_bytes();
    let fields: [(u64, &[u8]); 4] = [
        (18, &[1, 1]),
        (24, &counter),
        (28, &commit.to_be_bytes()),
        (92, &counter),
    ];
    for (at, field) in fields {
        for (at, byte) in (at..).zip(field) {
            let index = at
                .checked_sub(offset)
                .and_then(|index| usize::try_from(index).ok());
            if let Some(served) = index.and_then(|index| read.get_mut(index)) {
                *served = *byte;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_served_to_reads_of_any_part() {
        let (txid, commit) = (Txid(0xffff_ffff_0a0b_0c0d), 0x0102_0304);
        let mut whole = [0xee; 512];
        serve_header(txid, commit, 0, &mut whole);
        assert_eq!(whole[17..21], [0xee, 1, 1, 0xee]);
        assert_eq!(whole[23..33], [0xee, 10, 11, 12, 13, 1, 2, 3, 4, 0xee]);
        assert_eq!(whole[91..97], [0xee, 10, 11, 12, 13, 0xee]);
        for (offset, len) in [(24, 16), (0, 100), (19, 1), (95, 10), (26, 1), (200, 50)] {
            let mut part = vec![0xee; len];
            serve_header(txid, commit, offset as u64, &mut part);
            assert_eq!(part, whole[offset..offset + len], "{offset}+{len}");
        }
    }
}
