//! The page index: where in a segment each page's frame is.
//!
//! With it a single page can be read from a large object: fetch the tail ([`locate`]), find the page ([`Entries`]),
//! fetch its frame.

use super::bytes::{Reader, put_uvarint};
use super::encoder::PageOrder;
use super::{Error, FrameHead, Header, Pgno, Result, Trailer, frame};

/// The bytes after the index entries: their length, and the trailer.
const AFTER_INDEX: usize = 8 + Trailer::LEN;
/// More than the longest entry: three integers of ten bytes.
const MAX_ENTRY: usize = 30;
/// So many frames in a row do not lie one behind the other by chance.
const PROOF: usize = 16;
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

/// Where in an object the index is, and the trailer behind it: what its last bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Where the index starts, from the start of the object.
    pub start: u64,
    /// Length of the index in bytes, its closing zero included.
    pub len: u64,
    /// The end of the segment.
    pub trailer: Trailer,
}

impl Location {
    /// Where the frames end.
    pub fn frames_end(&self) -> u64 {
        self.start.saturating_sub(END_MARKER)
    }
}

/// Finds the index by `tail`, the last bytes of an object of `size` bytes: 24 at least.
pub fn locate(tail: &[u8], size: u64) -> Result<Location> {
    let too_short = || Error::Truncated(size);
    let start = tail.len().checked_sub(AFTER_INDEX).ok_or_else(too_short)?;
    let mut reader = Reader(tail.get(start..).unwrap_or_default());
    let len = reader.u64().ok_or_else(too_short)?;
    let trailer = reader
        .array()
        .ok_or_else(too_short)
        .and_then(|bytes| Trailer::parse(&bytes))?;
    // One of nothing still ends with a zero.
    len.checked_add(AFTER_INDEX as u64)
        .filter(|_| len > 0)
        .and_then(|after| size.checked_sub(after))
        .filter(|start| start.checked_sub(END_MARKER) >= Some(Header::LEN as u64))
        .map(|start| Location { start, len, trailer })
        .ok_or(Error::Index("its length is impossible"))
}

/// The index of a segment that is in memory as a whole.
pub fn of(segment: &[u8]) -> Result<(Location, Vec<IndexEntry>)> {
    let size = segment.len() as u64;
    let header = segment.first_chunk().ok_or(Error::Truncated(size))?;
    let location = locate(segment, size)?;
    let mut entries = Entries::new(&Header::parse(header)?, &location)?;
    let start = usize::try_from(location.start).unwrap_or(usize::MAX);
    let mut rest = segment.get(start..).unwrap_or_default();
    let mut all = Vec::new();
    loop {
        match entries.next(&mut rest)? {
            Step::Entry(entry) => all.push(entry),
            Step::NeedMore => return Err(Error::Truncated(size)),
            Step::End => return Ok((location, all)),
        }
    }
}

/// Reads an index from its bytes, which may come in pieces. Checks that a segment of this header can hold these
/// pages, and that their frames tile the bytes from the header to the end of the frames.
#[derive(Clone, Debug)]
pub struct Entries {
    order: PageOrder,
    longest: usize,
    /// Where the next frame must start.
    offset: u64,
    frames_end: u64,
    /// Bytes of the index that were not taken yet.
    left: u64,
}

/// What stands at the start of some bytes of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An entry.
    Entry(IndexEntry),
    /// Not enough to tell: there is more of the index.
    NeedMore,
    /// The end of the index.
    End,
}

impl Entries {
    /// For the index at `location` of a segment with this header.
    pub fn new(header: &Header, location: &Location) -> Result<Self> {
        location.trailer.validate(header)?;
        Ok(Self {
            order: PageOrder::new(header),
            longest: frame::max_len(header.page_size),
            offset: Header::LEN as u64,
            frames_end: location.frames_end(),
            left: location.len,
        })
    }

    /// Finds entries in a piece of the index that starts `at` bytes into it, anywhere: that frames tile tells where one
    /// entry ends and the next begins. Returns those that follow, and how many bytes of the piece come before them. `None`
    /// if there are not enough to be sure; some hundred bytes are, but for the end of the index.
    pub fn amid(
        header: &Header,
        location: &Location,
        at: u64,
        piece: &[u8],
    ) -> Result<Option<(usize, Self)>> {
        let start = Self::new(header, location)?;
        for skipped in 0..MAX_ENTRY {
            let mut reader = Reader(piece.get(skipped..).unwrap_or_default());
            // The end of an entry may look like a whole one: its page may be wrong, where its frame ends is not.
            let (_, offset, len) = (reader.uvarint(), reader.uvarint(), reader.uvarint());
            let Some(offset) = offset.zip(len).and_then(|(offset, len)| offset.checked_add(len)) else {
                continue;
            };
            let before = piece.len().saturating_sub(reader.0.len());
            let page = Reader(reader.0)
                .uvarint()
                .and_then(|page| u32::try_from(page).ok());
            let Some(left) = location.len.checked_sub(at.saturating_add(before as u64)) else {
                continue;
            };
            let found = Self {
                order: start.order.clone().before(Pgno(page.unwrap_or_default())),
                offset,
                left,
                ..start.clone()
            };
            let (mut proof, mut rest) = (found.clone(), reader.0);
            if (0..PROOF).all(|_| matches!(proof.next(&mut rest), Ok(Step::Entry(_)))) {
                return Ok(Some((before, found)));
            }
        }
        Ok(None)
    }

    /// Takes what stands at the start of `bytes`, which are the next ones of the index.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Step> {
        let mut reader = Reader(bytes);
        let step = match self.read(&mut reader)? {
            Some(step) => step,
            // All of it was there, or more than an entry can need.
            None if bytes.len() as u64 >= self.left || bytes.len() >= MAX_ENTRY => {
                return Err(Error::Index("it is cut off"));
            }
            None => return Ok(Step::NeedMore),
        };
        let taken = bytes.len().saturating_sub(reader.0.len());
        self.left = self
            .left
            .checked_sub(taken as u64)
            .ok_or(Error::Index("it is cut off"))?;
        *bytes = reader.0;
        if step == Step::End {
            self.finish()?;
        }
        Ok(step)
    }

    /// `None` where the bytes end early.
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<Option<Step>> {
        let Some(pgno) = reader.uvarint() else {
            return Ok(None);
        };
        if pgno == 0 {
            return Ok(Some(Step::End));
        }
        let (Some(offset), Some(len)) = (reader.uvarint(), reader.uvarint()) else {
            return Ok(None);
        };
        let pgno = u32::try_from(pgno)
            .map(Pgno)
            .map_err(|_| Error::Index("a page number is impossible"))?;
        if offset != self.offset {
            return Err(Error::Index("its frames leave a gap or overlap"));
        }
        let len = u32::try_from(len)
            .ok()
            .filter(|&len| len as usize <= self.longest)
            .ok_or(Error::Index("a frame is longer than a page can need"))?;
        self.order.take(pgno)?;
        self.offset = offset.saturating_add(u64::from(len));
        Ok(Some(Step::Entry(IndexEntry { pgno, offset, len })))
    }

    fn finish(&self) -> Result<()> {
        if self.left > 0 {
            return Err(Error::Index("it goes on after its end"));
        }
        if self.offset != self.frames_end {
            return Err(Error::Index("its frames do not fill the file"));
        }
        self.order.finish()
    }
}

/// Appends one entry.
pub(crate) fn put(out: &mut Vec<u8>, entry: &IndexEntry) {
    put_uvarint(out, u64::from(entry.pgno.0));
    put_uvarint(out, entry.offset);
    put_uvarint(out, u64::from(entry.len));
}
