//! Writes a segment, page by page.

use std::io::Write;

use super::bytes::{Reader, put_uvarint};
use super::checksum::FileHasher;
use super::codec::max_payload;
use super::{
    Codec, Compressor, Error, FrameHead, Header, IndexEntry, PageCrc, Pgno, Result, Sums, Trailer, index,
};

/// So much of the index is written at once.
const PIECE: usize = 64 * 1024;

/// Writes one segment into `W`. Pages come in ascending order; a snapshot needs every page but the lock page.
///
/// Holds one page's payload, and about three bytes a page for the index.
#[derive(Debug)]
pub struct Encoder<W> {
    out: W,
    header: Header,
    compressor: Compressor,
    hasher: FileHasher,
    order: PageOrder,
    offset: u64,
    post_apply_checksum: u64,
    frames: FrameList,
    payload: Vec<u8>,
    head: Vec<u8>,
}

impl<W: Write> Encoder<W> {
    /// Starts a segment: writes its header.
    pub fn new(mut out: W, header: Header, compressor: Compressor) -> Result<Self> {
        header.validate()?;
        if header.commit == 0 {
            return Err(Error::Header("a database has at least one page"));
        }
        out.write_all(&header.encode())?;
        let hasher = FileHasher::new(header.page_size);
        Ok(Self {
            out,
            order: PageOrder::new(&header),
            header,
            compressor,
            hasher,
            offset: Header::LEN as u64,
            post_apply_checksum: 0,
            frames: FrameList::default(),
            payload: Vec::new(),
            head: Vec::new(),
        })
    }

    /// For a header that promises LTX's own rolling checksum: the one of the state after.
    #[must_use]
    pub fn with_post_apply_checksum(self, checksum: u64) -> Self {
        Self {
            post_apply_checksum: checksum,
            ..self
        }
    }

    /// Adds a page whose CRC is known.
    pub fn page(&mut self, pgno: Pgno, crc: PageCrc, page: &[u8]) -> Result<()> {
        if page.len() != self.header.page_size.len() {
            return Err(Error::PageOrder {
                pgno,
                why: "it is not of the segment's page size",
            });
        }
        let codec = self.compressor.compress(page, &mut self.payload)?;
        if codec.has_check() {
            self.payload.extend_from_slice(&crc.0.to_be_bytes());
        }
        self.frame(pgno, codec, crc)
    }

    /// Adds a page in packed form, as a [`super::Page`] of another segment gives it: no recompression.
    pub fn packed_page(&mut self, pgno: Pgno, codec: Codec, crc: PageCrc, payload: &[u8]) -> Result<()> {
        if payload.len() > max_payload(self.header.page_size) {
            return Err(Error::Payload {
                pgno,
                why: "its payload is longer than a page can need".to_owned(),
            });
        }
        self.payload.clear();
        self.payload.extend_from_slice(payload);
        if codec.has_check() {
            self.payload.extend_from_slice(&crc.0.to_be_bytes());
        }
        self.frame(pgno, codec, crc)
    }

    /// What it is written into.
    pub fn out(&self) -> &W {
        &self.out
    }

    /// What it is written into, to make room there; what was written must come out as it is.
    pub fn out_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Ends the segment. Returns what it was written into, the trailer, and the size in bytes.
    pub fn finish(self) -> Result<(W, Trailer, u64)> {
        let sums = self.header.sums;
        let (out, _, trailer, size) = self.finish_with(sums)?;
        Ok((out, trailer, size))
    }

    /// As [`finish`](Self::finish), with sums that were not known before the last page. The header that is
    /// returned must then replace the first bytes of what was written.
    pub fn finish_with(mut self, sums: Option<Sums>) -> Result<(W, [u8; Header::LEN], Trailer, u64)> {
        self.order.finish()?;
        self.header.sums = sums;
        self.header.validate()?;
        let header = self.header.encode();
        let mut end = vec![0; FrameHead::LEN];
        let mut entries = self.frames.entries();
        loop {
            let entry = entries.next();
            if end.len() >= PIECE || entry.is_none() {
                self.hasher.update(&end);
                self.out.write_all(&end)?;
                self.offset = self.offset.saturating_add(end.len() as u64);
                end.clear();
            }
            let Some(entry) = entry else { break };
            index::put(&mut end, &entry);
        }
        let frames_end = entries.offset.saturating_add(FrameHead::LEN as u64);
        // The index ends with a zero, and its length.
        let index_len = self.offset.saturating_sub(frames_end).saturating_add(1);
        end.push(0);
        end.extend_from_slice(&index_len.to_be_bytes());
        self.hasher.update(&end);
        self.hasher.update(&self.post_apply_checksum.to_be_bytes());
        self.hasher.prefix(&header);
        let trailer = Trailer {
            post_apply_checksum: self.post_apply_checksum,
            file_checksum: self.hasher.finish(),
        };
        trailer.validate(&self.header)?;
        end.extend_from_slice(&trailer.encode());
        self.out.write_all(&end)?;
        let size = self.offset.saturating_add(end.len() as u64);
        Ok((self.out, header, trailer, size))
    }

    /// Writes the frame whose payload is in `self.payload`.
    fn frame(&mut self, pgno: Pgno, codec: Codec, crc: PageCrc) -> Result<()> {
        self.order.take(pgno)?;
        let size = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        self.head.clear();
        FrameHead::new(pgno, codec, size).put(&mut self.head);
        self.hasher.update(&self.head);
        self.hasher.update_page(pgno, crc);
        self.out.write_all(&self.head)?;
        self.out.write_all(&self.payload)?;
        let len = size.saturating_add(self.head.len() as u32);
        self.frames.push(pgno, len);
        self.offset = self.offset.saturating_add(u64::from(len));
        Ok(())
    }
}

/// Which frames were written: what the index will tell, in a third of its size.
#[derive(Debug, Default)]
struct FrameList {
    /// Of each frame, how far its page is from the one before, and how long it is.
    packed: Vec<u8>,
    last: u32,
}

impl FrameList {
    fn push(&mut self, pgno: Pgno, len: u32) {
        put_uvarint(&mut self.packed, u64::from(pgno.0.saturating_sub(self.last)));
        put_uvarint(&mut self.packed, u64::from(len));
        self.last = pgno.0;
    }

    fn entries(&self) -> FrameEntries<'_> {
        FrameEntries {
            packed: Reader(&self.packed),
            pgno: 0,
            offset: Header::LEN as u64,
        }
    }
}

/// The entries of the index.
struct FrameEntries<'a> {
    packed: Reader<'a>,
    pgno: u64,
    /// Where the next frame starts.
    offset: u64,
}

impl Iterator for FrameEntries<'_> {
    type Item = IndexEntry;

    fn next(&mut self) -> Option<IndexEntry> {
        self.pgno = self.pgno.saturating_add(self.packed.uvarint()?);
        let len = self.packed.uvarint()?;
        let entry = IndexEntry {
            pgno: Pgno(u32::try_from(self.pgno).ok()?),
            offset: self.offset,
            len: u32::try_from(len).ok()?,
        };
        self.offset = self.offset.saturating_add(len);
        Some(entry)
    }
}

/// The order in which pages must come; the same rule for the encoder and the decoder.
#[derive(Clone, Debug)]
pub(crate) struct PageOrder {
    snapshot: bool,
    commit: u32,
    lock_page: Pgno,
    last: u32,
}

impl PageOrder {
    pub(crate) fn new(header: &Header) -> Self {
        Self {
            snapshot: header.is_snapshot(),
            commit: header.commit,
            lock_page: header.page_size.lock_page(),
            last: 0,
        }
    }

    /// Where all pages before `pgno` have been taken.
    pub(crate) fn before(self, pgno: Pgno) -> Self {
        Self {
            last: pgno.0.saturating_sub(1),
            ..self
        }
    }

    pub(crate) fn take(&mut self, pgno: Pgno) -> Result<()> {
        let why = if pgno == self.lock_page {
            "the lock page is never stored"
        } else if pgno.0 > self.commit {
            "it is beyond the end of the database"
        } else if pgno.0 <= self.last {
            "pages must ascend"
        } else if self.snapshot && pgno.0 != self.expected() {
            "a snapshot must hold every page"
        } else {
            self.last = pgno.0;
            return Ok(());
        };
        Err(Error::PageOrder { pgno, why })
    }

    pub(crate) fn finish(&self) -> Result<()> {
        if self.snapshot && self.expected() <= self.commit {
            return Err(Error::PageOrder {
                pgno: Pgno(self.expected()),
                why: "a snapshot must hold every page",
            });
        }
        Ok(())
    }

    /// The page that must follow in a snapshot.
    fn expected(&self) -> u32 {
        let next = self.last.saturating_add(1);
        if next == self.lock_page.0 {
            next.saturating_add(1)
        } else {
            next
        }
    }
}
