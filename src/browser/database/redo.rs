//! The redo log: the pages that lead from one state to the next, complete on disk before the first of them is
//! written into the database.
//!
//! ```text
//! 0      header, once everything behind it is durable    [`Redo`]
//! 4096   records: page number (u64), page
//! ```
//!
//! A log without header is a download that was cut off.

use super::state::{Fields, State, check};
use crate::browser::file::{self, File, WriteBuffer, read_exact};
use crate::ltx::{DbSum, PageCrc, Pgno};

/// Where records start.
const RECORDS: u64 = 4096;
/// Length of the page number in front of each page.
const SIZE_OF_PGNO: usize = 8;

/// The header of a complete redo log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Redo {
    /// The state that it applies to.
    pub(super) before: State,
    /// The state that it yields.
    pub(super) after: State,
    /// How many records there are.
    pages: u32,
    /// The sum of their pages.
    sum: DbSum,
}

impl Redo {
    const TAG: [u8; 4] = *b"WFR1";
    const LEN: usize = 2 * State::LEN + 24;

    /// The log that a file holds, if it is complete.
    pub(super) fn read(file: &impl File) -> file::Result<Option<Self>> {
        let mut record = [0; Self::LEN];
        let len = file.read(0, &mut record)?;
        Ok((len == Self::LEN).then(|| Self::decode(&record)).flatten())
    }

    /// Writes every page into the database, which is then as `after` says, and makes it durable; tells which they are.
    ///
    /// The same again after a crash in the middle. `false`, with nothing written, if the log's own pages are not
    /// what its header says.
    pub(super) fn apply(
        &self,
        log: &impl File,
        database: &impl File,
        mut applied: impl FnMut(Pgno),
    ) -> file::Result<bool> {
        let mut sum = DbSum::EMPTY;
        self.each(log, |pgno, page| {
            sum = sum.plus(PageCrc::of(pgno, page));
            Ok(())
        })?;
        if sum != self.sum {
            return Ok(false);
        }
        let mut out = WriteBuffer::new(database);
        let page_size = self.after.page_size;
        self.each(log, |pgno, page| {
            applied(pgno);
            out.write(page_size.offset_of(pgno), page)
        })?;
        out.flush()?;
        if database.size()? != self.after.file_size() {
            database.truncate(self.after.file_size())?;
            database.flush()?;
        }
        Ok(true)
    }

    fn each(
        &self,
        log: &impl File,
        mut page: impl FnMut(Pgno, &[u8]) -> file::Result<()>,
    ) -> file::Result<()> {
        let size = SIZE_OF_PGNO.saturating_add(self.after.page_size.len());
        let at_once = (1024 * 1024 / size).max(1);
        let mut buffer = vec![0; size.saturating_mul(at_once)];
        let (mut offset, mut left) = (RECORDS, self.pages as usize);
        while left > 0 {
            let count = left.min(at_once);
            buffer.truncate(size.saturating_mul(count));
            read_exact(log, offset, &mut buffer)?;
            for record in buffer.chunks_exact(size) {
                if let Some((pgno, data)) = record.split_first_chunk::<SIZE_OF_PGNO>() {
                    page(Pgno(u64::from_be_bytes(*pgno) as u32), data)?;
                }
            }
            offset = offset.saturating_add(buffer.len() as u64);
            left = left.saturating_sub(count);
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(Self::LEN);
        record.extend_from_slice(&Self::TAG);
        record.extend_from_slice(&self.before.encode());
        record.extend_from_slice(&self.after.encode());
        record.extend_from_slice(&self.pages.to_be_bytes());
        record.extend_from_slice(&self.sum.0.to_be_bytes());
        record.extend_from_slice(&check(&record));
        record
    }

    fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = Fields::verified(record, Self::TAG)?;
        Some(Self {
            before: State::decode(fields.take(State::LEN)?)?,
            after: State::decode(fields.take(State::LEN)?)?,
            pages: fields.u32()?,
            sum: DbSum(fields.u64()?),
        })
    }
}

/// Writes a redo log.
pub(super) struct Writer<'a, F> {
    file: &'a F,
    out: WriteBuffer<'a, F>,
    at: u64,
    pages: u32,
    sum: DbSum,
}

impl<'a, F: File> Writer<'a, F> {
    /// Starts afresh; what the file held is gone.
    pub(super) fn new(file: &'a F) -> file::Result<Self> {
        file.truncate(0)?;
        file.flush()?;
        Ok(Self {
            file,
            out: WriteBuffer::new(file),
            at: RECORDS,
            pages: 0,
            sum: DbSum::EMPTY,
        })
    }

    pub(super) fn page(&mut self, pgno: Pgno, crc: PageCrc, page: &[u8]) -> file::Result<()> {
        let number = u64::from(pgno.0).to_be_bytes();
        self.out.write(self.at, &number)?;
        self.at = self.at.saturating_add(number.len() as u64);
        self.out.write(self.at, page)?;
        self.at = self.at.saturating_add(page.len() as u64);
        self.pages = self.pages.saturating_add(1);
        self.sum = self.sum.plus(crc);
        Ok(())
    }

    /// Makes the log complete: from now on it will be applied, whatever happens.
    pub(super) fn seal(self, before: State, after: State) -> file::Result<Redo> {
        self.out.flush()?;
        let redo = Redo {
            before,
            after,
            pages: self.pages,
            sum: self.sum,
        };
        self.file.write(0, &redo.encode())?;
        self.file.flush()?;
        Ok(redo)
    }
}
