//! Some pages on their way, packed as they were fetched.

use std::sync::Arc;

use bytes::Bytes;

use super::Error;
use super::ledger::Ledger;
use crate::ltx::{
    self, DbSum, Decompressor, FileHasher, IndexEntry, PageCrc, PageSize, Pgno, decode_frame, decode_hashed,
};
use crate::replica::SegmentId;

/// Pages that were fetched together. Chunks are independent of each other and `Send`: decode them anywhere.
#[derive(Debug)]
pub struct Chunk {
    pub(super) segment: SegmentId,
    pub(super) page_size: PageSize,
    /// Bytes that were fetched for it.
    pub(super) fetched: u64,
    pub(super) content: Content,
}

/// A range of the object, from `offset` on, with frames in it.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) bytes: Bytes,
    pub(super) offset: u64,
    pub(super) entries: Vec<IndexEntry>,
    /// Which of them are wanted; all, if it is empty.
    pub(super) needed: Vec<bool>,
    /// Where to leave the hash of all of them, if the segment must prove itself.
    pub(super) ledger: Option<Arc<Ledger>>,
}

/// Memory that decoding uses again and again; one a thread.
#[derive(Debug, Default)]
pub struct Scratch {
    decompressor: Decompressor,
    page: Vec<u8>,
}

impl Chunk {
    /// Bytes that were fetched for it, for progress.
    pub fn fetched(&self) -> u64 {
        self.fetched
    }

    /// Decodes the pages, ascending, and returns their part of the database sum. Each chunk once: it may be a part of
    /// the proof that [`super::Restore::prove`] asks for.
    ///
    /// `page` gets each with its CRC; it may fail, which ends the decoding.
    pub fn decode<E: From<Error>>(
        &self,
        scratch: &mut Scratch,
        mut page: impl FnMut(Pgno, PageCrc, &[u8]) -> Result<(), E>,
    ) -> Result<DbSum, E> {
        let content = &self.content;
        let mut hasher = content.ledger.as_ref().map(|_| FileHasher::new(self.page_size));
        let mut sum = DbSum::EMPTY;
        scratch.page.resize(self.page_size.len(), 0);
        for (at, entry) in content.entries.iter().enumerate() {
            let crc = self.unpack(entry, scratch, hasher.as_mut())?;
            if content.needed.get(at).is_none_or(|needed| *needed) {
                page(entry.pgno, crc, &scratch.page)?;
                sum = sum.plus(crc);
            }
        }
        if let (Some(ledger), Some(hasher), [first, .., last] | [first @ last]) =
            (&content.ledger, hasher, &content.entries[..])
        {
            let end = last.offset.saturating_add(u64::from(last.len));
            ledger.frames(self.segment, first.offset, end, hasher);
        }
        Ok(sum)
    }

    fn unpack(
        &self,
        entry: &IndexEntry,
        scratch: &mut Scratch,
        hasher: Option<&mut FileHasher>,
    ) -> Result<PageCrc, Error> {
        let (content, scratch) = (&self.content, scratch);
        let frame = frame(&content.bytes, content.offset, entry)
            .ok_or_else(|| self.damaged(ltx::Error::Index("it points outside the file")))?;
        let (decompressor, page) = (&mut scratch.decompressor, &mut scratch.page[..]);
        match hasher {
            Some(hasher) => decode_hashed(frame, entry.pgno, decompressor, page, hasher),
            None => decode_frame(frame, entry.pgno, decompressor, page),
        }
        .map_err(|error| self.damaged(error))
    }

    fn damaged(&self, error: ltx::Error) -> Error {
        Error::Damaged {
            segment: self.segment,
            error,
        }
    }
}

/// The bytes of one frame.
fn frame<'a>(bytes: &'a [u8], offset: u64, entry: &IndexEntry) -> Option<&'a [u8]> {
    let start = usize::try_from(entry.offset.checked_sub(offset)?).ok()?;
    bytes.get(start..start.checked_add(entry.len as usize)?)
}
