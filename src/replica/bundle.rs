//! Bundles: the raw segments of some minutes in one object, with an index, so that every moment of a day is in some
//! hundred objects instead of 86,400.
//!
//! ```text
//! magic      8 bytes   "WFBNDL1\n"
//! members              segments, one after the other, as they were shipped
//! index      40 bytes a member: u64 first TXID, u64 last TXID, u64 offset, u64 length, i64 timestamp
//! end        24 bytes: u64 number of members, u64 CRC-64/GO-ISO of magic, index and number, magic
//! ```
//!
//! All integers are big-endian. Members ascend and leave no byte between them; transactions may be missing between two
//! of them: segments that are too long for a bundle stay beside it. The name is that of the first and the last
//! transaction. What the last bytes hold is enough to find a member: it is read by range, and proves itself.

use super::{Level, SegmentId};
use crate::ltx::{Timestamp, Txid, crc64};

const MAGIC: [u8; 8] = *b"WFBNDL1\n";
const ENTRY: usize = 40;
const END: usize = 24;
/// More would make an index that is not read in one request.
pub const MAX_MEMBERS: usize = 4096;

/// A segment in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, at level 0.
    pub id: SegmentId,
    /// Where it starts.
    pub offset: u64,
    /// Its length.
    pub size: u64,
    /// Its time, as its header tells it.
    pub timestamp: Timestamp,
}

/// Why an object is not a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a bundle, or it is damaged: {0}")]
pub struct InvalidBundle(pub &'static str);

/// What the end of a bundle holds.
#[derive(Debug, PartialEq, Eq)]
pub enum BundleEnd {
    /// All its members, ascending.
    Members(Vec<Member>),
    /// The index is longer: fetch this many bytes from the end.
    Need(u64),
}

/// Makes a bundle: the magic first, then each member's bytes, then [`finish`](Self::finish).
#[derive(Debug, Default)]
pub struct BundleWriter {
    members: Vec<Member>,
}

impl BundleWriter {
    /// How much of the end holds the index of most bundles.
    pub const TAIL: u64 = 64 * 1024;

    /// The first bytes.
    pub fn magic() -> &'static [u8] {
        &MAGIC
    }

    /// Takes the next member, whose bytes follow those before.
    pub fn add(
        &mut self,
        min: Txid,
        max: Txid,
        size: u64,
        timestamp: Timestamp,
    ) -> Result<(), InvalidBundle> {
        let id = SegmentId::new(Level::RAW, min, max).ok_or(InvalidBundle("a name is impossible"))?;
        let offset = self.members.last().map_or(MAGIC.len() as u64, Member::end);
        let member = Member {
            id,
            offset,
            size,
            timestamp,
        };
        follows(self.members.last(), &member)?;
        self.members.push(member);
        Ok(())
    }

    /// The bundle's name; `None` while it has no member.
    pub fn id(&self) -> Option<SegmentId> {
        let (first, last) = (self.members.first()?, self.members.last()?);
        SegmentId::new(Level::HISTORY, first.id.min, last.id.max)
    }

    /// What its members will be, as they were added.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The last bytes.
    pub fn finish(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for member in &self.members {
            out.extend_from_slice(&member.id.min.0.to_be_bytes());
            out.extend_from_slice(&member.id.max.0.to_be_bytes());
            out.extend_from_slice(&member.offset.to_be_bytes());
            out.extend_from_slice(&member.size.to_be_bytes());
            out.extend_from_slice(&member.timestamp.0.to_be_bytes());
        }
        out.extend_from_slice(&(self.members.len() as u64).to_be_bytes());
        let checksum = crc64(&out);
        out.extend_from_slice(&checksum.to_be_bytes());
        out.extend_from_slice(&MAGIC);
        out.split_off(MAGIC.len())
    }
}

impl Member {
    fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }
}

/// Reads the index of the bundle `id` from `tail`, the last bytes of its `size`.
pub fn bundle_end(tail: &[u8], id: SegmentId, size: u64) -> Result<BundleEnd, InvalidBundle> {
    let (before, end) = tail
        .len()
        .checked_sub(END)
        .and_then(|at| tail.split_at_checked(at))
        .ok_or(InvalidBundle("it is too short"))?;
    let (numbers, rest) = end.as_chunks::<8>();
    let [count, checksum, magic] = numbers else {
        return Err(InvalidBundle("it is too short"));
    };
    if *magic != MAGIC || !rest.is_empty() {
        return Err(InvalidBundle("it does not end as one"));
    }
    let len = usize::try_from(u64::from_be_bytes(*count))
        .ok()
        .filter(|&count| (1..=MAX_MEMBERS).contains(&count))
        .map(|count| count.saturating_mul(ENTRY))
        .ok_or(InvalidBundle("its number of members is impossible"))?;
    let need = len.saturating_add(END) as u64;
    let members_end = size
        .checked_sub(need)
        .filter(|&end| end >= MAGIC.len() as u64)
        .ok_or(InvalidBundle("its number of members is impossible"))?;
    let Some(index) = before.len().checked_sub(len).and_then(|at| before.get(at..)) else {
        return Ok(BundleEnd::Need(need));
    };
    let mut checked = MAGIC.to_vec();
    checked.extend_from_slice(index);
    checked.extend_from_slice(count);
    if crc64(&checked) != u64::from_be_bytes(*checksum) {
        return Err(InvalidBundle("its checksum is not that of its index"));
    }
    let mut writer = BundleWriter::default();
    for entry in index.as_chunks::<ENTRY>().0 {
        let [min, max, offset, size, timestamp] = entry.as_chunks::<8>().0 else {
            return Err(InvalidBundle("it is too short"));
        };
        let number = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
        let timestamp = Timestamp(i64::from_be_bytes(*timestamp));
        writer.add(Txid(number(min)), Txid(number(max)), number(size), timestamp)?;
        if writer.members.last().map(|member| member.offset) != Some(number(offset)) {
            return Err(InvalidBundle("its members leave a gap or overlap"));
        }
    }
    if writer.members.last().map(Member::end) != Some(members_end) {
        return Err(InvalidBundle("its members do not fill it"));
    }
    if writer.id() != Some(id) {
        return Err(InvalidBundle("it holds other transactions than its name says"));
    }
    Ok(BundleEnd::Members(writer.members))
}

fn follows(last: Option<&Member>, next: &Member) -> Result<(), InvalidBundle> {
    if next.size == 0 || next.offset.checked_add(next.size).is_none() {
        return Err(InvalidBundle("a length is impossible"));
    }
    match last {
        Some(last) if last.id.max >= next.id.min => Err(InvalidBundle("its members do not ascend")),
        Some(last) if last.timestamp > next.timestamp => Err(InvalidBundle("its times do not ascend")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle() -> (SegmentId, Vec<u8>) {
        let mut writer = BundleWriter::default();
        let mut bytes = BundleWriter::magic().to_vec();
        for (txid, content) in [(2, "first"), (3, "second"), (7, "third, after a gap")] {
            let time = Timestamp(1_700_000_000_000 + txid as i64);
            writer
                .add(Txid(txid), Txid(txid), content.len() as u64, time)
                .unwrap();
            bytes.extend_from_slice(content.as_bytes());
        }
        bytes.extend_from_slice(&writer.finish());
        (writer.id().unwrap(), bytes)
    }

    /// The format does not change: what was written once is read forever.
    #[test]
    fn golden() {
        const GOLDEN: &str = include_str!("bundle.golden");
        let (id, bytes) = bundle();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN.split_whitespace().collect::<String>());
        assert_eq!(id.file_name(), "0000000000000002-0000000000000007.bundle");
        let BundleEnd::Members(members) = bundle_end(&bytes, id, bytes.len() as u64).unwrap() else {
            panic!("it was there whole");
        };
        let found: Vec<_> = members
            .iter()
            .map(|m| &bytes[m.offset as usize..(m.offset + m.size) as usize])
            .collect();
        assert_eq!(found, [&b"first"[..], b"second", b"third, after a gap"]);
        assert_eq!(members[2].timestamp, Timestamp(1_700_000_000_007));
    }

    #[test]
    fn no_flipped_bit_and_no_other_length_passes() {
        let (id, bytes) = bundle();
        let index = bytes.len() - END - 3 * ENTRY;
        for bit in index * 8..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bundle_end(&bytes, id, bytes.len() as u64).unwrap_err();
        }
        for len in 0..bytes.len() {
            bundle_end(&bytes[..len], id, len as u64).unwrap_err();
        }
        bundle_end(&bytes, id, bytes.len() as u64 + 1).unwrap_err();
        bundle_end(&bytes, SegmentId { max: Txid(8), ..id }, bytes.len() as u64).unwrap_err();
    }

    #[test]
    fn a_short_tail_asks_for_more() {
        let (id, bytes) = bundle();
        let size = bytes.len() as u64;
        let need = (3 * ENTRY + END) as u64;
        let tail = |len: u64| &bytes[bytes.len() - len as usize..];
        assert_eq!(bundle_end(tail(40), id, size), Ok(BundleEnd::Need(need)));
        assert!(matches!(
            bundle_end(tail(need), id, size),
            Ok(BundleEnd::Members(_))
        ));
    }

    #[test]
    fn members_must_ascend_in_transactions_and_times() {
        let mut writer = BundleWriter::default();
        writer.add(Txid(3), Txid(5), 10, Timestamp(9)).unwrap();
        assert!(writer.add(Txid(5), Txid(6), 10, Timestamp(9)).is_err());
        assert!(writer.add(Txid(6), Txid(6), 10, Timestamp(8)).is_err());
        assert!(writer.add(Txid(6), Txid(6), 0, Timestamp(9)).is_err());
        assert!(writer.add(Txid(6), Txid(6), u64::MAX, Timestamp(9)).is_err());
        writer.add(Txid(6), Txid(6), 10, Timestamp(9)).unwrap();
        assert_eq!(writer.members().len(), 2);
    }
}
