//! Reads transactions out of the bytes of a WAL as they arrive.

use std::collections::BTreeMap;

use super::{Cursor, Error, FrameHeader, Result, WalHeader};
use crate::ltx::Pgno;

/// A streaming reader: [`push`](Self::push) bytes, take [`next`](Self::next) transactions until there are none.
///
/// Every frame is verified, salts and checksum; only whole transactions come out. Reading ends at the first frame
/// that does not continue, or at the bound: the wal-index, where it is at hand, knows better than the file what is
/// committed (an application killed inside its last sync leaves a transaction that looks complete and is not).
///
/// Memory: one chunk, and one transaction up to the limit given.
#[derive(Debug)]
pub struct Reader {
    buffer: Vec<u8>,
    /// Start of what has not been read of `buffer`.
    at: usize,
    state: State,
    /// The last frame that may be read.
    bound: u32,
    /// How many bytes of pages may wait for their commit.
    limit: usize,
}

/// One committed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The size of the database in pages after it.
    pub commit: u32,
    /// The place after its last frame, from which a later reader can go on.
    pub end: Cursor,
    /// The pages it wrote, at their newest; some may lie beyond `commit` if it shrank the database.
    pub pages: BTreeMap<Pgno, Vec<u8>>,
}

#[derive(Debug)]
enum State {
    Header,
    Frames {
        cursor: Cursor,
        pages: BTreeMap<Pgno, Vec<u8>>,
    },
    Ended,
}

impl Reader {
    /// At the start of a WAL. `bound`: the last committed frame, if the wal-index said so. `limit`: the most bytes
    /// that one transaction's pages may have.
    pub fn new(bound: Option<u32>, limit: usize) -> Self {
        Self::with(State::Header, bound, limit)
    }

    /// At a place that an earlier reader came to: the bytes pushed start right after its frame.
    pub fn resume(cursor: Cursor, bound: Option<u32>, limit: usize) -> Self {
        Self::with(
            State::Frames {
                cursor,
                pages: BTreeMap::new(),
            },
            bound,
            limit,
        )
    }

    fn with(state: State, bound: Option<u32>, limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            at: 0,
            state,
            bound: bound.unwrap_or(u32::MAX),
            limit,
        }
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.ended() {
            return;
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(chunk);
    }

    /// Whether a frame was met that is not part of the WAL, or the bound: no transaction comes after.
    pub fn ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// The next transaction; `None` when more bytes are needed, or after the end. After an error reading has ended.
    #[expect(
        clippy::should_implement_trait,
        reason = "`None` is not for ever: more bytes may come"
    )]
    pub fn next(&mut self) -> Result<Option<Transaction>> {
        let result = self.read();
        if result.is_err() {
            self.state = State::Ended;
        }
        result
    }

    fn read(&mut self) -> Result<Option<Transaction>> {
        loop {
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            match &mut self.state {
                State::Header => {
                    let Some(bytes) = rest.first_chunk() else {
                        return Ok(None);
                    };
                    let cursor = Cursor::new(&WalHeader::parse(bytes)?);
                    self.state = State::Frames {
                        cursor,
                        pages: BTreeMap::new(),
                    };
                    self.at = self.at.saturating_add(WalHeader::LEN);
                }
                State::Frames { cursor, pages } => {
                    if cursor.frame >= self.bound {
                        self.state = State::Ended;
                        continue;
                    }
                    let page_size = cursor.page_size.len();
                    let Some((header, rest)) = rest.split_first_chunk() else {
                        return Ok(None);
                    };
                    let Some(page) = rest.get(..page_size) else {
                        return Ok(None);
                    };
                    let Some(frame) = cursor.next(header, page) else {
                        self.state = State::Ended;
                        continue;
                    };
                    self.at = self.at.saturating_add(FrameHeader::LEN).saturating_add(page_size);
                    let waiting = pages.len().saturating_add(1).saturating_mul(page_size);
                    if waiting > self.limit && !pages.contains_key(&frame.pgno) {
                        return Err(Error::TransactionTooLarge(self.limit));
                    }
                    pages.insert(frame.pgno, page.to_vec());
                    if frame.commit != 0 {
                        return Ok(Some(Transaction {
                            commit: frame.commit,
                            end: *cursor,
                            pages: std::mem::take(pages),
                        }));
                    }
                }
                State::Ended => {
                    self.buffer = Vec::new();
                    self.at = 0;
                    return Ok(None);
                }
            }
        }
    }
}
