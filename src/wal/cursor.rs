//! Verifies a WAL frame after frame.

use serde::{Deserialize, Serialize};

use super::{ByteOrder, Checksum, FrameHeader, Salts, WalHeader};
use crate::ltx::PageSize;

/// A place in a WAL: after some frame, or after the header. It can be stored, and gone on from later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// How the WAL's checksums read words.
    pub order: ByteOrder,
    /// The size of the database's pages.
    pub page_size: PageSize,
    /// The generation.
    pub salts: Salts,
    /// The last frame verified; 0 after the header.
    pub frame: u32,
    /// The running checksum after it.
    pub checksum: Checksum,
}

impl Cursor {
    /// After the header.
    pub fn new(header: &WalHeader) -> Self {
        Self {
            order: header.order,
            page_size: header.page_size,
            salts: header.salts,
            frame: 0,
            checksum: header.checksum,
        }
    }

    /// Goes on over the next frame, if it is one: its salts are the WAL's, its page number is not 0, and its
    /// checksum continues. `None` is where the WAL ends: what follows was left behind by an older generation, or
    /// was never written to the end. The cursor then stays.
    pub fn next(&mut self, header: &[u8; FrameHeader::LEN], page: &[u8]) -> Option<FrameHeader> {
        let parsed = FrameHeader::parse(header);
        let (summed, _) = header.split_at(8);
        let checksum = self.checksum.update(self.order, summed).update(self.order, page);
        let continues = page.len() == self.page_size.len()
            && parsed.salts == self.salts
            && parsed.pgno.0 != 0
            && parsed.checksum == checksum;
        if !continues {
            return None;
        }
        self.frame = self.frame.checked_add(1)?;
        self.checksum = checksum;
        Some(parsed)
    }
}
