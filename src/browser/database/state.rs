//! Which state of the database the local file holds, and how that is written down.

use crate::ltx::{DbSum, PageCrc, PageSize, Pgno, Timestamp, Txid};
use crate::replica::Position;

/// A state of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Size of every page.
    pub page_size: PageSize,
    /// Size of the database in pages.
    pub commit: u32,
    /// Its newest transaction.
    pub txid: Txid,
    /// The sum of its pages, computed from what was written here; of a part, as it was promised, or the empty one if it was not.
    pub sum: DbSum,
    /// When that state was seen on the server.
    pub timestamp: Timestamp,
    /// All of it is here, and proven.
    pub is_whole: bool,
}

impl State {
    /// Length of the record.
    pub(super) const LEN: usize = 44;
    /// Marks the record and its version.
    const WHOLE: [u8; 4] = *b"WFS1";
    /// Another, so that who knows of no parts takes one for nothing.
    const PART: [u8; 4] = *b"WFP1";

    /// The position in the replica's terms.
    pub fn position(&self) -> Position {
        Position {
            txid: self.txid,
            sum: self.is_promised().then_some(self.sum),
        }
    }

    /// Whether its sum is known.
    pub fn is_promised(&self) -> bool {
        self.is_whole || self.sum != DbSum::EMPTY
    }

    /// Length of the database file in bytes.
    pub fn file_size(&self) -> u64 {
        self.page_size.file_size(self.commit)
    }

    /// The record: tag, fields big-endian, check.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(Self::LEN);
        record.extend_from_slice(match self.is_whole {
            true => &Self::WHOLE,
            false => &Self::PART,
        });
        record.extend_from_slice(&self.page_size.get().to_be_bytes());
        record.extend_from_slice(&self.commit.to_be_bytes());
        record.extend_from_slice(&self.txid.0.to_be_bytes());
        record.extend_from_slice(&self.sum.0.to_be_bytes());
        record.extend_from_slice(&self.timestamp.0.to_be_bytes());
        record.extend_from_slice(&check(&record));
        record
    }

    /// `None` for anything but a whole record.
    pub(super) fn decode(record: &[u8]) -> Option<Self> {
        let whole = Fields::verified(record, Self::WHOLE);
        let is_whole = whole.is_some();
        let mut fields = whole.or_else(|| Fields::verified(record, Self::PART))?;
        let state = Self {
            page_size: PageSize::new(fields.u32()?).ok()?,
            commit: fields.u32()?,
            txid: Txid(fields.u64()?),
            sum: DbSum(fields.u64()?),
            timestamp: Timestamp(i64::from_be_bytes(fields.array()?)),
            is_whole,
        };
        fields.0.is_empty().then_some(state)
    }
}

/// The check at the end of a record: the CRC of all before it (under page 0, which no database has).
pub(super) fn check(record: &[u8]) -> [u8; 8] {
    PageCrc::of(Pgno(0), record).0.to_be_bytes()
}

/// The fields of a record whose tag and check are right.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn verified(record: &'a [u8], tag: [u8; 4]) -> Option<Self> {
        let (rest, found) = record.split_last_chunk::<8>()?;
        let fields = rest.strip_prefix(&tag)?;
        (*found == check(rest)).then_some(Self(fields))
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(field)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_byte_and_any_cut_is_seen() {
        for is_whole in [true, false] {
            let state = State {
                page_size: PageSize::new(65_536).unwrap(),
                commit: 77,
                txid: Txid(u64::MAX),
                sum: DbSum(3),
                timestamp: Timestamp(-1),
                is_whole,
            };
            let record = state.encode();
            assert_eq!(record.len(), State::LEN);
            assert_eq!(State::decode(&record), Some(state));
            let mut foreign = record[..State::LEN - 8].to_vec();
            foreign[3] = b'9';
            foreign.extend_from_slice(&check(&foreign));
            assert_eq!(State::decode(&foreign), None, "another version's");
            for at in 0..record.len() {
                let mut other = record.clone();
                other[at] ^= 0x10;
                assert_eq!(State::decode(&other), None, "byte {at}");
                assert_eq!(State::decode(&record[..at]), None, "cut at {at}");
            }
        }
    }
}
