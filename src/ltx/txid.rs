//! Transaction ids and times.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::json::{FromJson, Json};

/// Counts a database's sync batches, from 1; 0 stands for the empty replica before the first.
///
/// Written everywhere as 16 lowercase hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Txid(pub u64);

impl Txid {
    /// Before the first transaction.
    pub const ZERO: Self = Self(0);
    /// The first transaction; a file that starts here holds a whole database.
    pub const FIRST: Self = Self(1);

    /// The transaction after this one; `None` after 2^64 of them.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for Txid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A TXID that is not 16 lowercase hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a TXID is 16 lowercase hexadecimal digits")]
pub struct InvalidTxid;

impl FromStr for Txid {
    type Err = InvalidTxid;

    fn from_str(text: &str) -> Result<Self, InvalidTxid> {
        let lowercase_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.bytes().all(lowercase_hex) {
            return Err(InvalidTxid);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| InvalidTxid)
    }
}

/// As a string of 16 digits: JavaScript's numbers do not hold 64 bits.
impl Serialize for Txid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Txid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromJson for Txid {
    fn from_json(json: Json<'_>) -> Option<Self> {
        json.parsed()
    }
}

/// Unix time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The last that JavaScript's dates can tell, in the year 275760. What is later would pass through its numbers changed.
    pub const MAX: Self = Self(8_640_000_000_000_000);
}

impl FromJson for Timestamp {
    fn from_json(json: Json<'_>) -> Option<Self> {
        json.integer().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn txid_text_is_sixteen_lowercase_digits() {
        assert_eq!(Txid(0xabc).to_string(), "0000000000000abc");
        assert_eq!("0000000000000abc".parse(), Ok(Txid(0xabc)));
        for bad in [
            "abc",
            "0000000000000ABC",
            "+000000000000abc",
            "00000000000000abc",
            "",
        ] {
            assert_eq!(bad.parse::<Txid>(), Err(InvalidTxid), "{bad:?}");
        }
    }
}
