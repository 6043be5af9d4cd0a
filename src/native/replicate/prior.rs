//! The CRCs of the state that a cut starts from: the newest segment cut before it, and those before that one, over the
//! table of what the replica has confirmed.

use std::io;
use std::rc::Rc;

use super::crc_list::{CrcCursor, CrcList};
use super::page_sums::{PageSums, SumsCursor};
use crate::ltx::{PageCrc, Pgno};

/// Looks pages up, each after the one before.
///
/// A segment that is confirmed meanwhile changes the table only for pages that its list has, which is asked first.
#[derive(Debug)]
pub(super) struct Prior {
    /// The newest first.
    lists: Vec<CrcCursor>,
    table: SumsCursor,
}

impl Prior {
    /// `waiting`: the segments that are not confirmed, the oldest first.
    pub(super) fn new(waiting: impl DoubleEndedIterator<Item = Rc<CrcList>>, table: &Rc<PageSums>) -> Self {
        Self {
            lists: waiting.rev().map(CrcCursor::new).collect(),
            table: SumsCursor::new(Rc::clone(table)),
        }
    }

    /// The CRC of a page that the state has.
    pub(super) fn get(&mut self, pgno: Pgno) -> io::Result<PageCrc> {
        for list in &mut self.lists {
            if let Some(crc) = list.get(pgno)? {
                return Ok(crc);
            }
        }
        self.table.get(pgno)
    }
}
