//! One segment on its way into a merge: read piece by piece, proven to its end.

use super::Error;
use crate::ltx::{self, Codec, Decoder, Event, Header, PageCrc, Pgno};
use crate::replica::{Position, SegmentInfo};
use crate::restore;
use crate::store::Source;

/// A segment, and the page of it that is next.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) segment: SegmentInfo,
    pub(super) header: Header,
    reading: Reading,
    page: Packed,
    has_page: bool,
}

/// A page as it is packed.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) pgno: Pgno,
    pub(super) codec: Codec,
    pub(super) crc: PageCrc,
    pub(super) payload: Vec<u8>,
}

/// How far a segment was read.
#[derive(Debug)]
struct Reading {
    segment: SegmentInfo,
    /// How many bytes are read at once.
    piece: u64,
    /// Bytes that were read.
    at: u64,
    decoder: Decoder,
}

impl Input {
    /// Reads up to the first page.
    pub(super) async fn open(source: &dyn Source, segment: SegmentInfo, piece: u64) -> Result<Self, Error> {
        let mut reading = Reading {
            segment,
            piece,
            at: 0,
            decoder: Decoder::new(),
        };
        let header = loop {
            match reading.decoder.next() {
                Ok(Some(Event::Header(header))) => break header.clone(),
                Ok(Some(_)) => {}
                Ok(None) => reading.more(source).await?,
                Err(error) => return Err(reading.damaged(error)),
            }
        };
        let id = segment.id;
        if (header.min_txid, header.max_txid) != (id.min, id.max) {
            let (min, max) = (header.min_txid, header.max_txid);
            return Err(restore::Error::WrongName {
                segment: id,
                min,
                max,
            }
            .into());
        }
        let page = Packed {
            pgno: Pgno(0),
            codec: Codec::Stored,
            crc: PageCrc(0),
            payload: Vec::new(),
        };
        let mut input = Self {
            segment,
            header,
            reading,
            page,
            has_page: false,
        };
        input.advance(source).await?;
        Ok(input)
    }

    /// The page that is next; `None` after the last, when the whole segment has proven itself.
    pub(super) fn page(&self) -> Option<&Packed> {
        self.has_page.then_some(&self.page)
    }

    /// The state after it.
    pub(super) fn position(&self) -> Position {
        Position {
            txid: self.header.max_txid,
            sum: self.header.sums.map(|sums| sums.after),
        }
    }

    /// Goes on to the next page.
    pub(super) async fn advance(&mut self, source: &dyn Source) -> Result<(), Error> {
        let Self {
            reading, page: next, ..
        } = self;
        self.has_page = false;
        loop {
            match reading.decoder.next() {
                Ok(Some(Event::Page(page))) => {
                    (next.pgno, next.codec, next.crc) = (page.pgno, page.codec, page.crc);
                    next.payload.clear();
                    next.payload.extend_from_slice(page.payload);
                    self.has_page = true;
                    return Ok(());
                }
                Ok(Some(_)) => {}
                Ok(None) if reading.at >= reading.segment.size => {
                    let finished = reading.decoder.finish();
                    return finished.map_err(|error| reading.damaged(error));
                }
                Ok(None) => reading.more(source).await?,
                Err(error) => return Err(reading.damaged(error)),
            }
        }
    }
}

impl Reading {
    /// Feeds the next piece.
    async fn more(&mut self, source: &dyn Source) -> Result<(), Error> {
        let end = self.at.saturating_add(self.piece).min(self.segment.size);
        if end == self.at {
            return Err(self.damaged(ltx::Error::Truncated(self.at)));
        }
        let id = self.segment.id;
        let bytes = source.read(id, self.at..end).await;
        self.decoder
            .push(&bytes.map_err(|error| restore::Error::read(id, error))?);
        self.at = end;
        Ok(())
    }

    fn damaged(&self, error: ltx::Error) -> Error {
        let segment = self.segment.id;
        restore::Error::Damaged { segment, error }.into()
    }
}
