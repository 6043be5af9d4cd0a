//! The header of the wal-index: what is committed, as the processes that share a database agree.

use super::header::VERSION;
use super::{ByteOrder, Checksum, Error, Result, Salts};
use crate::ltx::PageSize;

/// One state of the wal-index header. It lies twice at the start of the shared memory, in the machine's byte order;
/// a writer writes the second copy first, so a reader that reads the first copy first and finds both equal has read
/// one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexHeader {
    /// Counts commits; starts at 0 anew when the wal-index is rebuilt from the file.
    pub change: u32,
    /// The size of the database's pages; `None` while the WAL has never held a frame.
    pub page_size: Option<PageSize>,
    /// The last committed frame; 0 if there is none.
    pub mx_frame: u32,
    /// The size of the database in pages after that frame; 0 if the WAL has never held one.
    pub commit: u32,
    /// The running checksum after that frame.
    pub frame_checksum: Checksum,
    /// The generation of the WAL.
    pub salts: Salts,
}

impl IndexHeader {
    /// The size of one copy in bytes.
    pub const LEN: usize = 48;

    /// Reads and checks both copies, in the order in which they lie in memory.
    #[rustfmt::skip]
    pub fn parse(first: &[u8; Self::LEN], second: &[u8; Self::LEN]) -> Result<Self> {
        let &[
            v0, v1, v2, v3, _, _, _, _, i0, i1, i2, i3, is_init, _, z0, z1,
            m0, m1, m2, m3, n0, n1, n2, n3, f0, f1, f2, f3, g0, g1, g2, g3,
            s0, s1, s2, s3, s4, s5, s6, s7, c0, c1, c2, c3, d0, d1, d2, d3,
        ] = first;
        if first != second {
            return Err(Error::IndexInFlux);
        }
        if is_init == 0 {
            return Err(Error::IndexUninitialized);
        }
        let (summed, _) = first.split_at(Self::LEN - 8);
        let checksum = native(&[c0, c1, c2, c3], &[d0, d1, d2, d3]);
        if Checksum::default().update(ByteOrder::NATIVE, summed) != checksum {
            return Err(Error::IndexChecksum);
        }
        let version = u32::from_ne_bytes([v0, v1, v2, v3]);
        if version != VERSION {
            return Err(Error::Version { what: "wal-index", found: version });
        }
        Ok(Self {
            change: u32::from_ne_bytes([i0, i1, i2, i3]),
            page_size: page_size(u16::from_ne_bytes([z0, z1]))?,
            mx_frame: u32::from_ne_bytes([m0, m1, m2, m3]),
            commit: u32::from_ne_bytes([n0, n1, n2, n3]),
            frame_checksum: native(&[f0, f1, f2, f3], &[g0, g1, g2, g3]),
            // The salts alone are a copy of the WAL's bytes.
            salts: Salts::from_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
        })
    }
}

/// How far the WAL is copied back, and the marks of its readers: what follows the two headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backfill {
    /// Frames copied back into the database file for certain.
    pub done: u32,
    /// The last frame visible to the readers of each slot; slot 0 is for those who read the database file only.
    pub read_marks: [u32; 5],
    /// Frames that a checkpoint has begun to copy.
    pub attempted: u32,
}

impl Backfill {
    /// Where it starts in the shared memory.
    pub const OFFSET: usize = 2 * IndexHeader::LEN;
    /// Its size in bytes.
    pub const LEN: usize = 40;

    /// Reads it.
    pub fn parse(bytes: &[u8; Self::LEN]) -> Self {
        let mut words = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| u32::from_ne_bytes(*word));
        let mut word = || words.next().unwrap_or_default();
        let done = word();
        let read_marks = [word(), word(), word(), word(), word()];
        // Two words of lock bytes lie between: their content is undefined.
        let attempted = {
            word();
            word();
            word()
        };
        Self {
            done,
            read_marks,
            attempted,
        }
    }
}

/// 65536 does not fit two bytes and is stored as 1; 0 stands before the first frame.
fn page_size(stored: u16) -> Result<Option<PageSize>> {
    let bytes = match stored {
        0 => return Ok(None),
        1 => 65_536,
        other => u32::from(other),
    };
    let size = PageSize::new(bytes).map_err(|_| Error::PageSize {
        what: "wal-index",
        found: bytes,
    })?;
    Ok(Some(size))
}

fn native(s1: &[u8; 4], s2: &[u8; 4]) -> Checksum {
    Checksum {
        s1: u32::from_ne_bytes(*s1),
        s2: u32::from_ne_bytes(*s2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(page_size: u16, version: u32, is_init: u8) -> [u8; 48] {
        let [z0, z1] = page_size.to_ne_bytes();
        let mut bytes = Vec::new();
        for word in [version, 0, 17] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend([is_init, 0, z0, z1]);
        for word in [9u32, 5, 0xaaaa_0001, 0xbbbb_0002] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend([1, 2, 3, 4, 5, 6, 7, 8]);
        let sum = Checksum::default().update(ByteOrder::NATIVE, &bytes);
        bytes.extend(sum.s1.to_ne_bytes());
        bytes.extend(sum.s2.to_ne_bytes());
        bytes.try_into().unwrap()
    }

    #[test]
    fn fields_are_read() {
        let bytes = header(1, VERSION, 1);
        let parsed = IndexHeader::parse(&bytes, &bytes).unwrap();
        assert_eq!(parsed.change, 17);
        assert_eq!(parsed.page_size, Some(PageSize::MAX));
        assert_eq!((parsed.mx_frame, parsed.commit), (9, 5));
        assert_eq!(
            parsed.frame_checksum,
            Checksum {
                s1: 0xaaaa_0001,
                s2: 0xbbbb_0002
            }
        );
        assert_eq!(parsed.salts, Salts([0x0102_0304, 0x0506_0708]));
        let bytes = header(0, VERSION, 1);
        assert_eq!(IndexHeader::parse(&bytes, &bytes).unwrap().page_size, None);
    }

    #[test]
    fn one_copy_ahead_of_the_other_is_in_flux() {
        let good = header(4096, VERSION, 1);
        for at in 0..good.len() {
            let mut ahead = good;
            ahead[at] ^= 1;
            assert_eq!(IndexHeader::parse(&good, &ahead), Err(Error::IndexInFlux));
        }
    }

    #[test]
    fn every_flipped_bit_in_both_copies_is_refused() {
        let good = header(4096, VERSION, 1);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good;
                bad[at] ^= 1 << bit;
                let error = IndexHeader::parse(&bad, &bad).unwrap_err();
                let expected = if (at, bit) == (12, 0) {
                    Error::IndexUninitialized
                } else {
                    Error::IndexChecksum
                };
                assert_eq!(error, expected, "byte {at} bit {bit}");
            }
        }
        let wiped = [0; 48];
        assert_eq!(IndexHeader::parse(&wiped, &wiped), Err(Error::IndexUninitialized));
        let other = header(4096, VERSION + 1, 1);
        assert!(matches!(
            IndexHeader::parse(&other, &other),
            Err(Error::Version { .. })
        ));
        let other = header(4097, VERSION, 1);
        assert!(matches!(
            IndexHeader::parse(&other, &other),
            Err(Error::PageSize { .. })
        ));
    }

    #[test]
    fn backfill_lies_around_the_lock_bytes() {
        let words = [3u32, 0, 11, 12, 13, u32::MAX, 0xdead_beef, 0xdead_beef, 4, 0];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let parsed = Backfill::parse(&bytes.try_into().unwrap());
        assert_eq!(parsed.done, 3);
        assert_eq!(parsed.read_marks, [0, 11, 12, 13, u32::MAX]);
        assert_eq!(parsed.attempted, 4);
    }
}
