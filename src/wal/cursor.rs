//! Verifies a WAL frame after frame.

use serde::Serialize;

use super::{ByteOrder, Checksum, FrameHeader, Salts, WalHeader};
use crate::json::{FromJson, Json};
use crate::ltx::PageSize;

/// A place in a WAL: after some frame, or after the header. It can be stored, and gone on from later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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

impl FromJson for Cursor {
    fn from_json(json: Json<'_>) -> Option<Self> {
        Some(Self {
            order: json.get("order")?,
            page_size: json.get("page_size")?,
            salts: json.get("salts")?,
            frame: json.get("frame")?,
            checksum: json.get("checksum")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let cursor = Cursor {
                order,
                page_size: PageSize::MAX,
                salts: Salts([u32::MAX, 0]),
                frame: 7,
                checksum: Checksum { s1: 1, s2: u32::MAX },
            };
            let text = serde_json::to_string(&cursor).unwrap();
            assert_eq!(
                text,
                format!(
                    r#"{{"order":"{order:?}","page_size":65536,"salts":[4294967295,0],"frame":7,"checksum":{{"s1":1,"s2":4294967295}}}}"#
                )
            );
            assert_eq!(crate::json::from_str(&text), Some(cursor));
            assert_eq!(
                crate::json::from_str::<Cursor>(&text.replace("65536", "65535")),
                None
            );
        }
    }
}
