//! Which ranges of an object to fetch for the frames that are wanted of it.

use crate::ltx::IndexEntry;

/// Frames closer than this are fetched together: a request costs more than these bytes.
const MAX_GAP: u64 = 64 * 1024;

/// One ranged read, and the frames that it brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch<'a> {
    /// Where it starts.
    pub offset: u64,
    /// Its length.
    pub len: u64,
    /// The frames to take from it, in order.
    pub entries: &'a [IndexEntry],
}

/// Joins neighbouring frames of one segment into reads of about `max_len` bytes, more only for one frame alone.
pub fn fetches(wanted: &[IndexEntry], max_len: u64) -> impl Iterator<Item = Fetch<'_>> {
    let mut rest = wanted;
    std::iter::from_fn(move || {
        let offset = rest.first()?.offset;
        let mut end = offset;
        let count = rest
            .iter()
            .take_while(|entry| {
                let entry_end = entry.offset.saturating_add(u64::from(entry.len));
                let near = entry.offset.saturating_sub(end) <= MAX_GAP;
                let fits = entry_end.saturating_sub(offset) <= max_len || end == offset;
                if near && fits {
                    end = entry_end;
                }
                near && fits
            })
            .count();
        let (entries, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(Fetch {
            offset,
            len: end.saturating_sub(offset),
            entries,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ltx::Pgno;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_frame_is_fetched_once_and_whole(
            frames in proptest::collection::vec((1u32..5000, 0u64..200_000), 0..60),
            max_len in 1u64..100_000,
        ) {
            let mut offset = 100;
            let wanted: Vec<IndexEntry> = frames.iter().zip(1..).map(|(&(len, gap), pgno)| {
                let entry = IndexEntry { pgno: Pgno(pgno), offset: offset + gap, len };
                offset += gap + u64::from(len);
                entry
            }).collect();
            let mut fetched = Vec::new();
            for fetch in fetches(&wanted, max_len) {
                prop_assert!(fetch.len <= max_len || fetch.entries.len() == 1);
                for entry in fetch.entries {
                    prop_assert!(entry.offset >= fetch.offset);
                    prop_assert!(entry.offset + u64::from(entry.len) <= fetch.offset + fetch.len);
                    fetched.push(*entry);
                }
            }
            prop_assert_eq!(fetched, wanted);
        }
    }
}
