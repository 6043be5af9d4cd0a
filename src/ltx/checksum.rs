//! One primitive, computed once a page: CRC-64/GO-ISO of the page number and the page ([`PageCrc`]). The file
//! checksum and the database sum both follow from it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::crc64::{crc64, extend};
use super::{PageSize, Pgno};
use crate::json::{FromJson, Json};

/// x^64 + x^4 + x^3 + x + 1, reflected.
const POLYNOMIAL: u64 = 0xD800_0000_0000_0000;

/// `crc64(u32be(pgno) ‖ page)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PageCrc(pub u64);

impl PageCrc {
    /// Hashes a page under its number, so that two swapped pages do not cancel out.
    pub fn of(pgno: Pgno, page: &[u8]) -> Self {
        Self(extend(crc64(&pgno.0.to_be_bytes()), page))
    }
}

/// The sum of a whole database: the wrapping sum of `mix(crc)` over all its pages but the lock page.
///
/// `mix` is splitmix64's finalizer (Steele, Lea, Flood 2014). A plain XOR of CRCs, as LTX's own rolling
/// checksum is, does not do: CRC is affine, so that XOR cannot see two pages swapped nor one delta applied
/// to two pages. Being a sum, it can be computed in any order, in parallel, and kept up to date by
/// subtracting a page's old part and adding its new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DbSum(pub u64);

impl DbSum {
    /// The sum of a database without pages.
    pub const EMPTY: Self = Self(0);

    /// With one more page.
    #[must_use]
    pub fn plus(self, page: PageCrc) -> Self {
        Self(self.0.wrapping_add(mix(page.0)))
    }

    /// Without a page that it held.
    #[must_use]
    pub fn minus(self, page: PageCrc) -> Self {
        Self(self.0.wrapping_sub(mix(page.0)))
    }

    /// The sum of two disjoint sets of pages.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl fmt::Display for DbSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for DbSum {
    type Err = super::txid::InvalidTxid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<super::Txid>().map(|digits| Self(digits.0))
    }
}

/// As 16 hexadecimal digits: JavaScript's numbers do not hold 64 bits.
impl Serialize for DbSum {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DbSum {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse()
            .map_err(|_| serde::de::Error::custom("a database sum is 16 lowercase hexadecimal digits"))
    }
}

impl FromJson for DbSum {
    fn from_json(json: Json<'_>) -> Option<Self> {
        json.parsed()
    }
}

/// LTX's checksum of a file: CRC-64 of its header, frame heads, *uncompressed* pages, index and the first half
/// of its trailer, with bit 63 set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileChecksum(pub u64);

impl FileChecksum {
    /// LTX sets this bit in every checksum, so that zero means "none".
    pub const FLAG: u64 = 1 << 63;
}

/// Computes a [`FileChecksum`] from bytes and from page CRCs that are already known.
#[derive(Clone, Debug)]
pub(crate) struct FileHasher {
    crc: u64,
    /// How many bytes it stands for.
    len: u64,
    page_size: PageSize,
    /// x^(8 · page size) modulo the polynomial: moves a CRC past a page's bytes.
    page_shift: u64,
}

impl FileHasher {
    pub(crate) fn new(page_size: PageSize) -> Self {
        Self {
            crc: 0,
            len: 0,
            page_size,
            page_shift: x_to_the_8(u64::from(page_size.get())),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.crc = extend(self.crc, bytes);
        self.len = self.len.saturating_add(bytes.len() as u64);
    }

    /// As `update(page)`, without reading the page again: with `crc(A ‖ B) = shift(crc(A), |B|) ^ crc(B)`,
    /// the part of the page number is taken out of `page_crc`, which covers number and page.
    pub(crate) fn update_page(&mut self, pgno: Pgno, page_crc: PageCrc) {
        let number = crc64(&pgno.0.to_be_bytes());
        self.crc = multiply(self.crc ^ number, self.page_shift) ^ page_crc.0;
        self.len = self.len.saturating_add(u64::from(self.page_size.get()));
    }

    /// Puts bytes before all that was hashed so far.
    pub(crate) fn prefix(&mut self, bytes: &[u8]) {
        self.crc ^= multiply(crc64(bytes), x_to_the_8(self.len));
        self.len = self.len.saturating_add(bytes.len() as u64);
    }

    /// Puts what another has hashed behind what this has.
    pub(crate) fn append(&mut self, other: &Self) {
        self.crc = multiply(self.crc, x_to_the_8(other.len)) ^ other.crc;
        self.len = self.len.saturating_add(other.len);
    }

    pub(crate) fn finish(&self) -> FileChecksum {
        FileChecksum(self.crc | FileChecksum::FLAG)
    }
}

/// splitmix64's finalizer.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The product of two reflected polynomials modulo [`POLYNOMIAL`]; bit 63 is x^0.
fn multiply(a: u64, mut b: u64) -> u64 {
    let mut product = 0;
    for power in (0..64).rev() {
        if a >> power & 1 == 1 {
            product ^= b;
        }
        b = if b & 1 == 1 { b >> 1 ^ POLYNOMIAL } else { b >> 1 };
    }
    product
}

/// x^(8 · `bytes`) modulo the polynomial, by squaring.
fn x_to_the_8(mut bytes: u64) -> u64 {
    let mut power = 1 << 55; // x^8
    let mut result = 1 << 63; // x^0
    while bytes > 0 {
        if bytes & 1 == 1 {
            result = multiply(result, power);
        }
        power = multiply(power, power);
        bytes >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn page_crcs_combine_to_the_same_file_checksum(
            head in proptest::collection::vec(any::<u8>(), 0..40),
            pgno in 1u32..,
            seed: u8,
            size in prop::sample::select(vec![512u32, 4096, 65536]),
        ) {
            let page: Vec<u8> = (0..size).map(|i| (i as u8).wrapping_mul(seed)).collect();
            let mut combined = FileHasher::new(PageSize::new(size).unwrap());
            let mut plain = combined.clone();
            combined.update_page(Pgno(pgno), PageCrc::of(Pgno(pgno), &page));
            combined.update(b"tail");
            combined.prefix(&head);
            plain.update(&head);
            plain.update(&page);
            plain.update(b"tail");
            prop_assert_eq!(combined.finish(), plain.finish());
        }
    }

    /// The two faults that LTX's XOR of page CRCs cannot see.
    #[test]
    fn database_sum_sees_swapped_pages_and_one_delta_on_two_pages() {
        let sum = |pages: &[&[u8]]| {
            pages.iter().zip(1..).fold(DbSum::EMPTY, |sum, (page, pgno)| {
                sum.plus(PageCrc::of(Pgno(pgno), page))
            })
        };
        let xor = |pages: &[&[u8]]| {
            pages
                .iter()
                .zip(1..)
                .fold(0, |xor, (page, pgno)| xor ^ PageCrc::of(Pgno(pgno), page).0)
        };
        let (one, two) = ([1u8; 512], [2u8; 512]);
        assert_eq!(xor(&[&one, &two]), xor(&[&two, &one]));
        assert_ne!(sum(&[&one, &two]), sum(&[&two, &one]));

        let (mut one_changed, mut two_changed) = (one, two);
        one_changed[77] ^= 0x40;
        two_changed[77] ^= 0x40;
        assert_eq!(xor(&[&one, &two]), xor(&[&one_changed, &two_changed]));
        assert_ne!(sum(&[&one, &two]), sum(&[&one_changed, &two_changed]));
    }

    #[test]
    fn database_sum_is_undone_by_minus() {
        let page = PageCrc::of(Pgno(3), &[7; 512]);
        assert_eq!(DbSum(99).plus(page).minus(page), DbSum(99));
    }
}
