//! Reads a segment in chunks as they arrive, and proves every byte of it.

use super::bytes::Reader;
use super::checksum::FileHasher;
use super::encoder::PageOrder;
use super::frame::{self, Next};
use super::{
    Codec, Decompressor, Error, FrameHead, Header, IndexEntry, PageCrc, Pgno, Result, Trailer, index,
};

/// A streaming decoder: [`push`](Self::push) bytes, take [`next`](Self::next) events until there are none,
/// and at the end of the input [`finish`](Self::finish).
///
/// Checks the header, the order of pages, page checks, the index against the frames, the trailer and the file
/// checksum. Memory: one chunk, two pages, and a few hundred bytes, whatever the size of the file: the index is
/// not kept but compared by its hash and length. A clone goes on from the same place.
#[derive(Clone, Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Start of what has not been read of `buffer`.
    at: usize,
    /// Bytes read in all.
    offset: u64,
    state: State,
    decompressor: Decompressor,
    page: Vec<u8>,
}

/// What a segment holds, in order.
#[derive(Debug)]
pub enum Event<'a> {
    /// The header, checked.
    Header(&'a Header),
    /// A page, checked as far as it can be by itself.
    Page(Page<'a>),
    /// The whole file was read and its checksum is right.
    End(Trailer),
}

/// One page of a segment.
#[derive(Debug)]
pub struct Page<'a> {
    /// Its number.
    pub pgno: Pgno,
    /// Its CRC, computed from `data`.
    pub crc: PageCrc,
    /// Its content.
    pub data: &'a [u8],
    /// How `payload` is packed.
    pub codec: Codec,
    /// Its packed form, without page check, for [`super::Encoder::packed_page`].
    pub payload: &'a [u8],
}

#[derive(Clone, Debug, Default)]
enum State {
    Start,
    Pages(Box<Reading>),
    Index(Box<Reading>),
    Done(Box<Reading>),
    /// An error was returned: nothing after it can be trusted.
    #[default]
    Failed,
}

#[derive(Clone, Debug)]
struct Reading {
    header: Header,
    hasher: FileHasher,
    order: PageOrder,
    /// The index as it must come: hash and length, computed from the frames.
    expected_index: FileHasher,
    expected_index_len: u64,
    /// The index as it came so far.
    found_index: FileHasher,
    found_index_len: u64,
    scratch: Vec<u8>,
}

impl Decoder {
    /// At the start of a file.
    pub fn new() -> Self {
        Self {
            buffer: Vec::new(),
            at: 0,
            offset: 0,
            state: State::Start,
            decompressor: Decompressor::default(),
            page: Vec::new(),
        }
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(chunk);
    }

    /// The next event; `None` when more bytes are needed, or after the end.
    #[expect(clippy::should_implement_trait, reason = "events borrow the decoder")]
    pub fn next(&mut self) -> Result<Option<Event<'_>>> {
        match std::mem::take(&mut self.state) {
            State::Start => self.header(),
            State::Pages(reading) => self.page(reading),
            State::Index(reading) => self.index(reading),
            State::Done(reading) if self.rest().is_empty() => {
                self.state = State::Done(reading);
                Ok(None)
            }
            State::Done(_) => Err(Error::TrailingBytes),
            State::Failed => Err(Error::Refused),
        }
    }

    /// At the end of the input: was it the end of the file?
    pub fn finish(&self) -> Result<()> {
        match self.state {
            State::Done(_) if self.rest().is_empty() => Ok(()),
            State::Done(_) => Err(Error::TrailingBytes),
            State::Failed => Err(Error::Refused),
            State::Start | State::Pages(_) | State::Index(_) => Err(Error::Truncated(
                self.offset.saturating_add(self.rest().len() as u64),
            )),
        }
    }

    /// The header, once it has been read; gone after an error.
    pub fn read_header(&self) -> Option<&Header> {
        match &self.state {
            State::Pages(reading) | State::Index(reading) | State::Done(reading) => Some(&reading.header),
            State::Start | State::Failed => None,
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, len: usize) {
        self.at = self.at.saturating_add(len);
        self.offset = self.offset.saturating_add(len as u64);
    }

    fn header(&mut self) -> Result<Option<Event<'_>>> {
        let Some(bytes) = Reader(self.rest()).array::<{ Header::LEN }>() else {
            // Enough to know that it is no such file: do not wait for a header that will not come.
            if let Some(magic) = Reader(self.rest()).array::<4>()
                && magic != *b"LTX1"
            {
                return Err(Error::Magic(magic));
            }
            self.state = State::Start;
            return Ok(None);
        };
        let header = Header::parse(&bytes)?;
        self.advance(Header::LEN);
        self.page.resize(header.page_size.len(), 0);
        let empty = FileHasher::new(header.page_size);
        let mut hasher = empty.clone();
        hasher.update(&bytes);
        let reading = Reading {
            order: PageOrder::new(&header),
            header,
            hasher,
            expected_index: empty.clone(),
            expected_index_len: 0,
            found_index: empty,
            found_index_len: 0,
            scratch: Vec::new(),
        };
        self.state = State::Pages(Box::new(reading));
        Ok(self.read_header().map(Event::Header))
    }

    fn page(&mut self, mut reading: Box<Reading>) -> Result<Option<Event<'_>>> {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        match frame::next(rest, reading.header.page_size)? {
            Next::NeedMore => {
                self.state = State::Pages(reading);
                Ok(None)
            }
            Next::End => {
                reading.order.finish()?;
                reading.hasher.update(&[0; FrameHead::LEN]);
                reading.expected_index.update(&[0]);
                reading.expected_index_len = reading.expected_index_len.saturating_add(1);
                self.advance(FrameHead::LEN);
                self.index(reading)
            }
            Next::Frame {
                head,
                payload,
                check,
                len,
            } => {
                reading.order.take(head.pgno)?;
                let crc = frame::unpack(head, payload, check, &mut self.decompressor, &mut self.page)?;
                reading.take_frame(head, crc, self.offset, len);
                let payload_start = self.at.saturating_add(head.len());
                let payload_end = payload_start.saturating_add(payload.len());
                self.advance(len);
                self.state = State::Pages(reading);
                let payload = self.buffer.get(payload_start..payload_end).unwrap_or_default();
                Ok(Some(Event::Page(Page {
                    pgno: head.pgno,
                    crc,
                    data: &self.page,
                    codec: head.codec,
                    payload,
                })))
            }
        }
    }

    /// Reads the index, in whatever pieces it comes, then its length and the trailer.
    fn index(&mut self, mut reading: Box<Reading>) -> Result<Option<Event<'_>>> {
        let missing = reading.expected_index_len.saturating_sub(reading.found_index_len);
        let take = usize::try_from(missing)
            .unwrap_or(usize::MAX)
            .min(self.rest().len());
        let piece = self.rest().get(..take).unwrap_or_default();
        reading.hasher.update(piece);
        reading.found_index.update(piece);
        reading.found_index_len = reading.found_index_len.saturating_add(take as u64);
        self.advance(take);
        let mut end = Reader(self.rest());
        let (true, Some(index_len), Some(trailer)) =
            (missing == take as u64, end.u64(), end.array::<{ Trailer::LEN }>())
        else {
            self.state = State::Index(reading);
            return Ok(None);
        };
        if index_len != reading.expected_index_len
            || reading.found_index.finish() != reading.expected_index.finish()
        {
            return Err(Error::Index("it does not describe the frames"));
        }
        let trailer = Trailer::parse(&trailer)?;
        trailer.validate(&reading.header)?;
        reading.hasher.update(&index_len.to_be_bytes());
        reading.hasher.update(&trailer.post_apply_checksum.to_be_bytes());
        let computed = reading.hasher.finish();
        if computed != trailer.file_checksum {
            return Err(Error::FileChecksum {
                found: trailer.file_checksum.0,
                computed: computed.0,
            });
        }
        self.advance(8usize.saturating_add(Trailer::LEN));
        self.state = State::Done(reading);
        Ok(Some(Event::End(trailer)))
    }
}

impl Reading {
    fn take_frame(&mut self, head: FrameHead, crc: PageCrc, offset: u64, len: usize) {
        self.scratch.clear();
        head.put(&mut self.scratch);
        self.hasher.update(&self.scratch);
        self.hasher.update_page(head.pgno, crc);
        self.scratch.clear();
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        index::put(
            &mut self.scratch,
            &IndexEntry {
                pgno: head.pgno,
                offset,
                len,
            },
        );
        self.expected_index.update(&self.scratch);
        self.expected_index_len = self.expected_index_len.saturating_add(self.scratch.len() as u64);
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}
