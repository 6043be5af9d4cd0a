//! The head of a frame, and where frames are.

use super::{Checksum, Salts, WalHeader};
use crate::ltx::{PageSize, Pgno};

/// The 24 bytes before each page in a WAL. Not checked by itself: see [`Cursor`](super::Cursor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whose version the frame holds.
    pub pgno: Pgno,
    /// The size of the database in pages if the frame ends a transaction, else 0.
    pub commit: u32,
    /// The generation the frame belongs to.
    pub salts: Salts,
    /// The running checksum after the frame.
    pub checksum: Checksum,
}

impl FrameHeader {
    /// Its size in bytes.
    pub const LEN: usize = 24;

    /// Reads a frame's head.
    #[rustfmt::skip]
    pub fn parse(bytes: &[u8; Self::LEN]) -> Self {
        let &[
            p0, p1, p2, p3, n0, n1, n2, n3,
            s0, s1, s2, s3, s4, s5, s6, s7, c0, c1, c2, c3, c4, c5, c6, c7,
        ] = bytes;
        Self {
            pgno: Pgno(u32::from_be_bytes([p0, p1, p2, p3])),
            commit: u32::from_be_bytes([n0, n1, n2, n3]),
            salts: Salts::from_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            checksum: Checksum::from_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
        }
    }
}

/// Where a frame starts in the file; frames count from 1. Its page follows [`FrameHeader::LEN`] bytes later.
pub fn frame_offset(page_size: PageSize, frame: u32) -> u64 {
    let frame_len = u64::from(page_size.get()).saturating_add(FrameHeader::LEN as u64);
    let before = u64::from(frame.saturating_sub(1)).saturating_mul(frame_len);
    before.saturating_add(WalHeader::LEN as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_follow_the_header() {
        let size = PageSize::new(4096).unwrap();
        assert_eq!(frame_offset(size, 1), 32);
        assert_eq!(frame_offset(size, 3), 32 + 2 * (24 + 4096));
        // Beyond 4 GiB nothing wraps.
        assert_eq!(
            frame_offset(PageSize::MAX, u32::MAX),
            32 + (u64::from(u32::MAX) - 1) * 65_560
        );
    }
}
