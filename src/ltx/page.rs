//! Page numbers and page sizes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Error, Result};
use crate::json::{FromJson, Json};

/// The number of a database page, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pgno(pub u32);

impl fmt::Display for Pgno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The size of a database's pages in bytes: a power of two from 512 to 65536.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct PageSize(u32);

impl PageSize {
    /// The largest page SQLite has.
    pub const MAX: Self = Self(65_536);

    /// Checks a size.
    pub fn new(bytes: u32) -> Result<Self> {
        if bytes.is_power_of_two() && (512..=65_536).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(Error::PageSize(bytes))
        }
    }

    /// The size in bytes, as a length.
    #[expect(clippy::len_without_is_empty, reason = "no page is empty")]
    pub fn len(self) -> usize {
        self.0 as usize
    }

    /// The size in bytes.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The page that holds SQLite's lock bytes at 1 GiB; never stored, never shipped.
    /// Source: sqlite.org/fileformat2.html, section 1.4.
    #[expect(clippy::arithmetic_side_effects, reason = "a page size is at least 512")]
    pub fn lock_page(self) -> Pgno {
        Pgno(0x4000_0000 / self.0 + 1)
    }

    /// Where a page starts in the database file.
    pub fn offset_of(self, pgno: Pgno) -> u64 {
        u64::from(pgno.0.saturating_sub(1)).saturating_mul(u64::from(self.0))
    }

    /// How many pages a database of `commit` pages stores: all but the lock page.
    pub fn stored_pages(self, commit: u32) -> u32 {
        commit.saturating_sub(u32::from(commit >= self.lock_page().0))
    }

    /// The size of a database file of `commit` pages, in bytes.
    pub fn file_size(self, commit: u32) -> u64 {
        u64::from(commit).saturating_mul(u64::from(self.0))
    }
}

impl TryFrom<u32> for PageSize {
    type Error = Error;

    fn try_from(bytes: u32) -> Result<Self> {
        Self::new(bytes)
    }
}

impl FromJson for PageSize {
    fn from_json(json: Json<'_>) -> Option<Self> {
        Self::new(json.integer()?).ok()
    }
}

impl From<PageSize> for u32 {
    fn from(size: PageSize) -> Self {
        size.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two_from_512_to_65536() {
        let valid: Vec<u32> = (0..=70_000)
            .filter(|&bytes| PageSize::new(bytes).is_ok())
            .collect();
        assert_eq!(valid, [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]);
    }

    #[test]
    fn lock_page_holds_the_byte_at_one_gibibyte() {
        assert_eq!(PageSize::new(4096).unwrap().lock_page(), Pgno(262_145));
        assert_eq!(PageSize::new(65_536).unwrap().lock_page(), Pgno(16_385));
        assert_eq!(PageSize::new(65_536).unwrap().stored_pages(16_384), 16_384);
        assert_eq!(PageSize::new(65_536).unwrap().stored_pages(16_385), 16_384);
    }
}
