//! The object that holds the page-sum table of a state, beside the snapshot of that state on the shelf
//! [`Level::SUMS`](super::Level::SUMS).
//!
//! ```text
//! 0   "WFS1"
//! 4   u32  page size
//! 8   u32  size of the database in pages
//! 12  u32  0
//! 16  u64  TXID
//! 24  u64  database sum
//! 32  u64  CRC-64/GO-ISO of four zeros and the 32 bytes before
//! 40  u64  the CRC of each page, from page 1 on; 0 for the lock page
//! ```
//!
//! All integers are big-endian. The table is proven by the database sum, the header by its CRC.

use crate::ltx::{DbSum, PageCrc, PageSize, Pgno, Txid};

/// What comes before the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SumsHeader {
    /// Size of every page.
    pub page_size: PageSize,
    /// Size of the database in pages.
    pub commit: u32,
    /// The state.
    pub txid: Txid,
    /// Its sum, that of the table.
    pub sum: DbSum,
}

impl SumsHeader {
    /// Its length in bytes.
    pub const LEN: usize = 40;
    /// Bytes a page in the table.
    pub const ENTRY: usize = 8;

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend_from_slice(b"WFS1");
        out.extend_from_slice(&self.page_size.get().to_be_bytes());
        out.extend_from_slice(&self.commit.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.txid.0.to_be_bytes());
        out.extend_from_slice(&self.sum.0.to_be_bytes());
        let check = PageCrc::of(Pgno(0), &out);
        out.extend_from_slice(&check.0.to_be_bytes());
        out
    }

    /// Reads a header; `None` if it is damaged, or of another format.
    #[rustfmt::skip]
    pub fn parse(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let (head, check) = bytes.split_last_chunk()?;
        let &[
            b'W', b'F', b'S', b'1', p0, p1, p2, p3, c0, c1, c2, c3, 0, 0, 0, 0,
            t0, t1, t2, t3, t4, t5, t6, t7, s0, s1, s2, s3, s4, s5, s6, s7,
        ] = head else {
            return None;
        };
        if PageCrc::of(Pgno(0), head) != PageCrc(u64::from_be_bytes(*check)) {
            return None;
        }
        Some(Self {
            page_size: PageSize::new(u32::from_be_bytes([p0, p1, p2, p3])).ok()?,
            commit: u32::from_be_bytes([c0, c1, c2, c3]),
            txid: Txid(u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7])),
            sum: DbSum(u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7])),
        })
    }

    /// The length of the whole object.
    pub fn object_len(&self) -> u64 {
        let table = u64::from(self.commit).saturating_mul(Self::ENTRY as u64);
        table.saturating_add(Self::LEN as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_header_is_seen() {
        let header = SumsHeader {
            page_size: PageSize::new(65_536).unwrap(),
            commit: 77,
            txid: Txid(0x0102_0304_0506_0708),
            sum: DbSum(99),
        };
        let bytes: [u8; SumsHeader::LEN] = header.encode().try_into().unwrap();
        assert_eq!(SumsHeader::parse(&bytes), Some(header));
        assert_eq!(header.object_len(), 40 + 77 * 8);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SumsHeader::parse(&damaged), None, "bit {bit}");
        }
    }
}
