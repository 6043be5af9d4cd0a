//! The database as SQLite is to see it, and the statements that are reading it.

use std::future::poll_fn;
use std::task::Poll;

use super::{Database, State};
use crate::browser::file::{self, File};
use crate::browser::image::{Image, Reading, serve_header};
use crate::replica::PageSet;

impl<F: File> Database<F> {
    /// Length of the database file.
    pub fn size(&self) -> file::Result<u64> {
        Ok(self.served()?.file_size())
    }

    /// Reads as SQLite is to see it.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> file::Result<usize> {
        let state = self.served()?;
        self.bring_for(state, offset, buffer.len())?;
        let len = self.files.db.read(offset, buffer)?;
        self.note_read(state.page_size, offset, len);
        if let Some(read) = buffer.get_mut(..len) {
            serve_header(state.txid, state.commit, offset, read);
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

    /// Whether somebody waits for statements to end.
    pub fn is_awaited(&self) -> bool {
        self.is_being_read() && !self.waiting.borrow().is_empty()
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

impl<F: File> Image for Database<F> {
    fn size(&self) -> file::Result<u64> {
        Self::size(self)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> file::Result<usize> {
        Self::read(self, offset, buffer)
    }

    fn begin_reading(&self) -> Reading {
        Self::begin_reading(self)
    }

    fn end_reading(&self, reading: Reading) {
        Self::end_reading(self, reading);
    }

    fn record(&self) {
        Self::record(self);
    }

    fn recorded(&self) -> PageSet {
        Self::recorded(self)
    }
}
