//! Which pages a range of frames changed.

use crate::ltx::Pgno;

/// Gathers frames, in order, into the newest frame of each page. Memory: at most twice the pages changed, eight
/// bytes each, however often each was written.
#[derive(Clone, Debug)]
pub struct Changes {
    /// (page, frame) of committed transactions, then of the one that is open.
    pages: Vec<(Pgno, u32)>,
    /// How much of `pages` is committed.
    committed: usize,
    /// When to drop what was superseded.
    tidy_at: usize,
    commit: u32,
    lowest_commit: u32,
}

/// What a range of frames made of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The size of the database in pages at the end.
    pub commit: u32,
    /// The smallest it was, at the start, between or at the end. Every page in (`lowest_commit`, `commit`] came
    /// (or came back) into the database by these transactions, even if SQLite never wrote it to the WAL.
    pub lowest_commit: u32,
    /// The pages written, ascending, with the newest frame of each; none beyond `commit`.
    pub newest: Vec<(Pgno, u32)>,
}

impl Changes {
    /// `previous_commit`: the size of the database in pages before the first frame.
    pub fn new(previous_commit: u32) -> Self {
        Self {
            pages: Vec::new(),
            committed: 0,
            tidy_at: 1024,
            commit: previous_commit,
            lowest_commit: previous_commit,
        }
    }

    /// Takes the next frame; `commit` as its header says.
    pub fn push(&mut self, frame: u32, pgno: Pgno, commit: u32) {
        self.pages.push((pgno, frame));
        if commit == 0 {
            return;
        }
        self.commit = commit;
        self.lowest_commit = self.lowest_commit.min(commit);
        if self.pages.len() >= self.tidy_at {
            self.tidy();
            self.tidy_at = self.pages.len().saturating_mul(2).max(1024);
        }
        self.committed = self.pages.len();
    }

    /// The sum of what was pushed, up to the last commit.
    pub fn finish(mut self) -> Changed {
        self.pages.truncate(self.committed);
        self.tidy();
        let commit = self.commit;
        self.pages.retain(|&(pgno, _)| pgno.0 <= commit);
        Changed {
            commit,
            lowest_commit: self.lowest_commit,
            newest: self.pages,
        }
    }

    fn tidy(&mut self) {
        // The newest first, for dedup keeps the first.
        self.pages
            .sort_unstable_by_key(|&(pgno, frame)| (pgno, std::cmp::Reverse(frame)));
        self.pages.dedup_by_key(|&mut (pgno, _)| pgno);
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// The same as replaying transactions over a map, however many there are.
        #[test]
        fn newest_frames_are_those_of_a_replay(
            previous in 1u32..40,
            transactions in prop::collection::vec((prop::collection::vec(1u32..60, 1..40), 1u32..60), 0..120),
            rest in prop::collection::vec(1u32..60, 0..20),
        ) {
            let mut changes = Changes::new(previous);
            let mut newest = BTreeMap::new();
            let (mut frame, mut commit, mut lowest) = (0, previous, previous);
            for (pages, size) in &transactions {
                for (at, page) in pages.iter().enumerate() {
                    frame += 1;
                    let last = at + 1 == pages.len();
                    changes.push(frame, Pgno(*page), if last { *size } else { 0 });
                    newest.insert(*page, frame);
                }
                commit = *size;
                lowest = lowest.min(commit);
            }
            for page in &rest {
                frame += 1;
                changes.push(frame, Pgno(*page), 0);
            }
            let changed = changes.finish();
            prop_assert_eq!(changed.commit, commit);
            prop_assert_eq!(changed.lowest_commit, lowest);
            let expected: Vec<_> =
                newest.range(..=commit).map(|(page, frame)| (Pgno(*page), *frame)).collect();
            prop_assert_eq!(changed.newest, expected);
        }
    }

    #[test]
    fn memory_follows_pages_not_frames() {
        let mut changes = Changes::new(10);
        for frame in 1..=1_000_000u32 {
            changes.push(frame, Pgno(frame % 10 + 1), 10);
        }
        assert!(changes.pages.len() <= 1024 && changes.pages.capacity() <= 4096);
        assert_eq!(changes.finish().newest.len(), 10);
    }
}
