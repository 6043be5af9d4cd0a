//! The running checksum of a WAL.

use serde::{Deserialize, Serialize};

use crate::json::{FromJson, Json};

/// In which order a checksum reads the bytes of a word. The magic of a WAL names it; what is stored is big-endian
/// in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ByteOrder {
    /// Magic 0x377f0682.
    Little,
    /// Magic 0x377f0683.
    Big,
}

impl ByteOrder {
    /// The order of the machine, in which the wal-index is summed.
    pub const NATIVE: Self = if cfg!(target_endian = "big") {
        Self::Big
    } else {
        Self::Little
    };
}

/// The state of the checksum after some bytes. Each frame of a WAL carries it as it stands after that frame, so a
/// frame is valid only if every frame before it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checksum {
    /// The first sum.
    pub s1: u32,
    /// The second sum.
    pub s2: u32,
}

impl Checksum {
    /// Goes on over `bytes`, in steps of eight; what is left beyond the last step is not summed (there is none:
    /// headers and pages are multiples of eight).
    #[must_use]
    pub fn update(self, order: ByteOrder, bytes: &[u8]) -> Self {
        match order {
            ByteOrder::Little => self.sum(bytes, u32::from_le_bytes),
            ByteOrder::Big => self.sum(bytes, u32::from_be_bytes),
        }
    }

    fn sum(self, bytes: &[u8], word: impl Fn([u8; 4]) -> u32) -> Self {
        let Self { mut s1, mut s2 } = self;
        for &[a, b, c, d, e, f, g, h] in bytes.as_chunks::<8>().0 {
            s1 = s1.wrapping_add(word([a, b, c, d])).wrapping_add(s2);
            s2 = s2.wrapping_add(word([e, f, g, h])).wrapping_add(s1);
        }
        Self { s1, s2 }
    }

    /// The eight bytes as a WAL stores them.
    pub(super) fn from_bytes([a, b, c, d, e, f, g, h]: [u8; 8]) -> Self {
        Self {
            s1: u32::from_be_bytes([a, b, c, d]),
            s2: u32::from_be_bytes([e, f, g, h]),
        }
    }
}

impl FromJson for ByteOrder {
    fn from_json(json: Json<'_>) -> Option<Self> {
        match &*json.text()? {
            "Little" => Some(Self::Little),
            "Big" => Some(Self::Big),
            _ => None,
        }
    }
}

impl FromJson for Checksum {
    fn from_json(json: Json<'_>) -> Option<Self> {
        Some(Self {
            s1: json.get("s1")?,
            s2: json.get("s2")?,
        })
    }
}
