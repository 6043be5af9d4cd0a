//! The page index: where in a segment each page's frame is.
//!
//! With it a single page can be read from a large object: fetch the tail ([`locate`]), find the page, fetch
//! its frame.

use super::bytes::{Reader, put_uvarint};
use super::encoder::PageOrder;
use super::{Error, FrameHead, Header, Pgno, Result, Trailer, frame};

/// The bytes after the index entries: their length, and the trailer.
const AFTER_INDEX: usize = 8 + Trailer::LEN;
/// The bytes of an empty page head, before the index.
const END_MARKER: u64 = FrameHead::LEN as u64;

/// Where one page's frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The page.
    pub pgno: Pgno,
    /// Where its frame starts, from the start of the object.
    pub offset: u64,
    /// How long the frame is, its head included.
    pub len: u32,
}

/// The index of one segment, and the trailer behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Ascending by page and by offset.
    pub entries: Vec<IndexEntry>,
    /// The end of the segment.
    pub trailer: Trailer,
}

impl Index {
    /// Checks that a segment of this header can hold these pages, in frames of these lengths.
    pub fn check(&self, header: &Header) -> Result<()> {
        let longest = frame::max_len(header.page_size);
        let mut order = PageOrder::new(header);
        for entry in &self.entries {
            order.take(entry.pgno)?;
            if entry.len as usize > longest {
                return Err(Error::Index("a frame is longer than a page can need"));
            }
        }
        order.finish()?;
        self.trailer.validate(header)
    }
}

/// What the tail of a segment holds.
#[derive(Debug)]
pub enum Tail {
    /// The whole index.
    Index(Index),
    /// The index is longer: fetch this many bytes from the end.
    Need(u64),
}

/// Reads the index from `tail`, the last bytes of an object of `size` bytes.
pub fn locate(tail: &[u8], size: u64) -> Result<Tail> {
    let too_short = || Error::Truncated(size);
    let index_len = {
        let start = tail.len().checked_sub(AFTER_INDEX).ok_or_else(too_short)?;
        Reader(tail.get(start..).unwrap_or_default())
            .u64()
            .ok_or_else(too_short)?
    };
    let need = index_len
        .checked_add(AFTER_INDEX as u64)
        .ok_or(Error::Index("its length is impossible"))?;
    let index_start = size
        .checked_sub(need)
        .ok_or(Error::Index("its length is impossible"))?;
    let frames_end = index_start
        .checked_sub(END_MARKER)
        .filter(|&end| end >= Header::LEN as u64)
        .ok_or(Error::Index("its length is impossible"))?;
    if need > tail.len() as u64 {
        return Ok(Tail::Need(need));
    }
    let start = tail.len().saturating_sub(need as usize);
    let mut reader = Reader(tail.get(start..).unwrap_or_default());
    let entries = parse(reader.take(index_len as usize).ok_or_else(too_short)?, frames_end)?;
    reader.u64();
    let trailer = reader
        .array()
        .ok_or_else(too_short)
        .and_then(|bytes| Trailer::parse(&bytes))?;
    Ok(Tail::Index(Index { entries, trailer }))
}

/// Parses index bytes, the closing zero included; frames must tile the bytes from the header to `frames_end`.
fn parse(bytes: &[u8], frames_end: u64) -> Result<Vec<IndexEntry>> {
    const CUT_OFF: Error = Error::Index("it is cut off");
    let mut reader = Reader(bytes);
    // An entry takes three bytes at least and eight or so as a rule.
    let mut entries = Vec::with_capacity(bytes.len() / 8);
    let (mut last, mut offset) = (Pgno(0), Header::LEN as u64);
    loop {
        let pgno = reader.uvarint().ok_or(CUT_OFF)?;
        if pgno == 0 {
            break;
        }
        let pgno = u32::try_from(pgno)
            .map(Pgno)
            .map_err(|_| Error::Index("a page number is impossible"))?;
        if pgno <= last {
            return Err(Error::Index("its pages do not ascend"));
        }
        if reader.uvarint().ok_or(CUT_OFF)? != offset {
            return Err(Error::Index("its frames leave a gap or overlap"));
        }
        let len = reader.uvarint().ok_or(CUT_OFF)?;
        let len = u32::try_from(len).map_err(|_| Error::Index("a frame is impossibly long"))?;
        entries.push(IndexEntry { pgno, offset, len });
        last = pgno;
        offset = offset.saturating_add(u64::from(len));
    }
    if !reader.0.is_empty() {
        return Err(Error::Index("it goes on after its end"));
    }
    if offset != frames_end {
        return Err(Error::Index("its frames do not fill the file"));
    }
    Ok(entries)
}

/// Appends one entry.
pub(crate) fn put(out: &mut Vec<u8>, entry: &IndexEntry) {
    put_uvarint(out, u64::from(entry.pgno.0));
    put_uvarint(out, entry.offset);
    put_uvarint(out, u64::from(entry.len));
}
