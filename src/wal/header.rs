//! The header of a WAL file.

use super::{ByteOrder, Checksum, Error, Result, Salts};
use crate::ltx::PageSize;

const MAGIC_LITTLE: u32 = 0x377f_0682;
const MAGIC_BIG: u32 = 0x377f_0683;
pub(super) const VERSION: u32 = 3_007_000;

/// The 32 bytes at the start of a WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalHeader {
    /// How its checksums read words.
    pub order: ByteOrder,
    /// The size of the database's pages.
    pub page_size: PageSize,
    /// Counts the restarts of the WAL.
    pub checkpoint: u32,
    /// The generation.
    pub salts: Salts,
    /// The checksum of the header, from which the first frame's goes on.
    pub checksum: Checksum,
}

impl WalHeader {
    /// Its size in bytes.
    pub const LEN: usize = 32;

    /// Reads and checks a header.
    #[rustfmt::skip]
    pub fn parse(bytes: &[u8; Self::LEN]) -> Result<Self> {
        let &[
            m0, m1, m2, m3, v0, v1, v2, v3, p0, p1, p2, p3, n0, n1, n2, n3,
            s0, s1, s2, s3, s4, s5, s6, s7, c0, c1, c2, c3, c4, c5, c6, c7,
        ] = bytes;
        let order = match u32::from_be_bytes([m0, m1, m2, m3]) {
            MAGIC_LITTLE => ByteOrder::Little,
            MAGIC_BIG => ByteOrder::Big,
            other => return Err(Error::Magic(other)),
        };
        let checksum = Checksum::from_bytes([c0, c1, c2, c3, c4, c5, c6, c7]);
        let (summed, _) = bytes.split_at(Self::LEN - 8);
        if Checksum::default().update(order, summed) != checksum {
            return Err(Error::HeaderChecksum);
        }
        let version = u32::from_be_bytes([v0, v1, v2, v3]);
        if version != VERSION {
            return Err(Error::Version { what: "WAL", found: version });
        }
        let page_size = u32::from_be_bytes([p0, p1, p2, p3]);
        Ok(Self {
            order,
            page_size: PageSize::new(page_size).map_err(|_| Error::PageSize { what: "WAL", found: page_size })?,
            checkpoint: u32::from_be_bytes([n0, n1, n2, n3]),
            salts: Salts::from_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            checksum,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header as SQLite writes it, with the checksum that belongs to it.
    fn header(magic: u32, version: u32, page_size: u32) -> [u8; 32] {
        let words = [magic, version, page_size, 7, 0x0102_0304, 0x0506_0708];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let order = if magic & 1 == 0 {
            ByteOrder::Little
        } else {
            ByteOrder::Big
        };
        let sum = Checksum::default().update(order, &bytes);
        bytes.extend(sum.s1.to_be_bytes());
        bytes.extend(sum.s2.to_be_bytes());
        bytes.try_into().unwrap()
    }

    #[test]
    fn both_byte_orders_are_read() {
        for (magic, order) in [(MAGIC_LITTLE, ByteOrder::Little), (MAGIC_BIG, ByteOrder::Big)] {
            let parsed = WalHeader::parse(&header(magic, VERSION, 65_536)).unwrap();
            assert_eq!(parsed.order, order);
            assert_eq!(parsed.page_size, PageSize::MAX);
            assert_eq!(parsed.checkpoint, 7);
            assert_eq!(parsed.salts, Salts([0x0102_0304, 0x0506_0708]));
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let good = header(MAGIC_LITTLE, VERSION, 4096);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good;
                bad[at] ^= 1 << bit;
                let error = WalHeader::parse(&bad).unwrap_err();
                match (at, bit) {
                    // The other magic is a magic, with which the checksum is wrong.
                    (3, 0) => assert_eq!(error, Error::HeaderChecksum),
                    (0..4, _) => assert!(matches!(error, Error::Magic(_))),
                    _ => assert_eq!(error, Error::HeaderChecksum),
                }
            }
        }
    }

    #[test]
    fn versions_and_page_sizes_unknown_are_refused_even_if_summed() {
        let other = WalHeader::parse(&header(MAGIC_LITTLE, VERSION + 1, 4096));
        assert_eq!(
            other,
            Err(Error::Version {
                what: "WAL",
                found: VERSION + 1
            })
        );
        for found in [0, 256, 4097, 131_072] {
            let other = WalHeader::parse(&header(MAGIC_BIG, VERSION, found));
            assert_eq!(other, Err(Error::PageSize { what: "WAL", found }));
        }
    }
}
