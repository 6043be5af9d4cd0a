//! Some pages on their way, packed as they were fetched.

use bytes::Bytes;

use super::Error;
use crate::ltx::{self, DbSum, Decompressor, IndexEntry, PageCrc, PageSize, Pgno, decode_frame};
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

#[derive(Debug)]
pub(super) enum Content {
    /// A range of the object, from `offset` on, with the frames that are wanted of it.
    Frames {
        bytes: Bytes,
        offset: u64,
        entries: Vec<IndexEntry>,
    },
    /// Pages that had to be decoded on the way, one after the other.
    Pages {
        numbers: Vec<(Pgno, PageCrc)>,
        pages: Vec<u8>,
    },
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

    /// Decodes the pages, ascending, and returns their part of the database sum.
    ///
    /// `page` gets each with its CRC; it may fail, which ends the decoding.
    pub fn decode<E: From<Error>>(
        &self,
        scratch: &mut Scratch,
        mut page: impl FnMut(Pgno, PageCrc, &[u8]) -> Result<(), E>,
    ) -> Result<DbSum, E> {
        let mut sum = DbSum::EMPTY;
        match &self.content {
            Content::Frames {
                bytes,
                offset,
                entries,
            } => {
                scratch.page.resize(self.page_size.len(), 0);
                for entry in entries {
                    let frame = frame(bytes, *offset, entry)
                        .ok_or_else(|| self.damaged(ltx::Error::Index("it points outside the file")))?;
                    let crc = decode_frame(frame, entry.pgno, &mut scratch.decompressor, &mut scratch.page)
                        .map_err(|error| self.damaged(error))?;
                    page(entry.pgno, crc, &scratch.page)?;
                    sum = sum.plus(crc);
                }
            }
            Content::Pages { numbers, pages } => {
                for ((pgno, crc), data) in numbers.iter().zip(pages.chunks_exact(self.page_size.len())) {
                    page(*pgno, *crc, data)?;
                    sum = sum.plus(*crc);
                }
            }
        }
        Ok(sum)
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
