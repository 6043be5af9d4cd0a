//! The database as SQLite is to see it, and the statements that are reading it.
//!
//! Only page 1 differs from the file: it says rollback journal where the source says WAL (bytes 18 and 19), since
//! there is no WAL here, and its change counter (24..28, with its confirmation at 92..96) is derived from the
//! position, since a WAL database need not count and SQLite keeps its cache as long as the counter stands. The size
//! in pages (28..32) is the position's too: with a counter that is confirmed, SQLite believes it.

use std::future::poll_fn;
use std::task::Poll;

use super::{Database, State};
use crate::browser::file::{self, File};

/// Counts as one reader, from its making to its end.
#[derive(Debug)]
pub struct Reading(());

impl<F: File> Database<F> {
    /// Length of the database file.
    pub fn size(&self) -> file::Result<u64> {
        Ok(self.served()?.file_size())
    }

    /// Reads as SQLite is to see it.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> file::Result<usize> {
        let state = self.served()?;
        let len = self.files.db.read(offset, buffer)?;
        self.note_read(state.page_size, offset, len);
        if let Some(read) = buffer.get_mut(..len) {
            serve_header(state, offset, read);
        }
        Ok(len)
    }

    /// Without a whole database nothing is served, in particular no empty one.
    fn served(&self) -> file::Result<State> {
        self.state().ok_or_else(|| file::Error::Failed {
            what: "reading the local copy".to_owned(),
            why: "it is not complete".to_owned(),
        })
    }

    /// A statement begins to read: nothing is applied until [`Database::end_reading`].
    pub fn begin_reading(&self) -> Reading {
        self.readers.set(self.readers.get().saturating_add(1));
        Reading(())
    }

    /// The statement has ended.
    pub fn end_reading(&self, Reading(()): Reading) {
        self.readers.set(self.readers.get().saturating_sub(1));
        if !self.is_being_read() {
            for waker in self.waiting.take() {
                waker.wake();
            }
        }
    }

    /// Whether a statement is reading.
    pub fn is_being_read(&self) -> bool {
        self.readers.get() > 0
    }

    /// Waits until no statement reads.
    pub async fn idle(&self) {
        poll_fn(|context| {
            if self.is_being_read() {
                self.waiting.borrow_mut().push(context.waker().clone());
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }
}

/// Puts the served fields of the database header over what was read at `offset`.
fn serve_header(state: State, offset: u64, read: &mut [u8]) {
    // Any 32 bits that differ between two states one after the other.
    let counter = (state.txid.0 as u32).to_be_bytes();
    let fields: [(u64, &[u8]); 4] = [
        (18, &[1, 1]),
        (24, &counter),
        (28, &state.commit.to_be_bytes()),
        (92, &counter),
    ];
    for (at, field) in fields {
        for (at, byte) in (at..).zip(field) {
            let index = at
                .checked_sub(offset)
                .and_then(|index| usize::try_from(index).ok());
            if let Some(served) = index.and_then(|index| read.get_mut(index)) {
                *served = *byte;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ltx::{DbSum, PageSize, Timestamp, Txid};

    #[test]
    fn header_is_served_to_reads_of_any_part() {
        let state = State {
            page_size: PageSize::new(512).unwrap(),
            commit: 0x0102_0304,
            txid: Txid(0xffff_ffff_0a0b_0c0d),
            sum: DbSum(0),
            timestamp: Timestamp(0),
        };
        let mut whole = [0xee; 512];
        serve_header(state, 0, &mut whole);
        assert_eq!(whole[17..21], [0xee, 1, 1, 0xee]);
        assert_eq!(whole[23..33], [0xee, 10, 11, 12, 13, 1, 2, 3, 4, 0xee]);
        assert_eq!(whole[91..97], [0xee, 10, 11, 12, 13, 0xee]);
        for (offset, len) in [(24, 16), (0, 100), (19, 1), (95, 10), (26, 1), (200, 50)] {
            let mut part = vec![0xee; len];
            serve_header(state, offset as u64, &mut part);
            assert_eq!(part, whole[offset..offset + len], "{offset}+{len}");
        }
    }
}
