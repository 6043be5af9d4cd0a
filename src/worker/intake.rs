//! Proves an uploaded segment while its bytes come in.

use super::failure::Failure;
use crate::ltx::{DbSum, Decoder, Error, Event, FileChecksum, Header, Pgno, Sums};
use crate::replica::SegmentId;

/// What the decoder is given at once: it copies, so this bounds its buffer.
const PIECE: usize = 64 * 1024;

/// Takes the bytes of one segment. Memory: the decoder's, whatever the segment's size.
#[derive(Clone, Debug)]
pub(super) struct Intake {
    id: SegmentId,
    decoder: Decoder,
    header: Option<Header>,
    checksum: Option<FileChecksum>,
    /// Over all pages that came.
    sum: DbSum,
    pages: u32,
    last: Option<Pgno>,
    /// Where the unbroken run of pages that `last` ends started.
    run_start: Pgno,
}

/// A segment that is valid by itself.
#[derive(Debug)]
pub(super) struct Proven {
    pub(super) header: Header,
    pub(super) checksum: FileChecksum,
    /// All pages from here to the end of the database are in the segment.
    whole_from: Option<Pgno>,
}

impl Intake {
    pub(super) fn new(id: SegmentId) -> Self {
        Self {
            id,
            decoder: Decoder::new(),
            header: None,
            checksum: None,
            sum: DbSum::EMPTY,
            pages: 0,
            last: None,
            run_start: Pgno(0),
        }
    }

    /// The header, once it has come; it agrees with the segment's name.
    pub(super) fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        for piece in chunk.chunks(PIECE) {
            self.decoder.push(piece);
            self.take_events()?;
        }
        Ok(())
    }

    /// At the end of the body.
    pub(super) fn finish(self) -> Result<Proven, Failure> {
        self.decoder.finish()?;
        let (Some(header), Some(checksum)) = (self.header, self.checksum) else {
            return Err(Failure::invalid_segment("it is empty"));
        };
        let sums = sums_of(&header)?;
        // Where all pages of the database came, its sum is no matter of trust.
        let is_whole = self.pages == header.page_size.stored_pages(header.commit);
        if is_whole && self.sum != sums.after {
            return Err(Failure::from(Error::DbSum {
                txid: header.max_txid,
                promised: sums.after,
                computed: self.sum,
            }));
        }
        let lock_page = header.page_size.lock_page();
        let end = Pgno(
            header
                .commit
                .saturating_sub(u32::from(header.commit == lock_page.0)),
        );
        let whole_from = (self.last == Some(end)).then_some(self.run_start);
        Ok(Proven {
            header,
            checksum,
            whole_from,
        })
    }

    fn take_events(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.decoder.next()? {
            match event {
                Event::Header(header) => {
                    check_name(self.id, header)?;
                    sums_of(header)?;
                    self.header = Some(header.clone());
                }
                Event::Page(page) => {
                    let lock_page = self.header.as_ref().map(|header| header.page_size.lock_page());
                    if self.last.map(|last| next_stored(last, lock_page)) != Some(page.pgno) {
                        self.run_start = page.pgno;
                    }
                    self.last = Some(page.pgno);
                    self.pages = self.pages.saturating_add(1);
                    self.sum = self.sum.plus(page.crc);
                }
                Event::End(trailer) => self.checksum = Some(trailer.file_checksum),
            }
        }
        Ok(())
    }
}

impl Proven {
    /// Of a segment that was made here, with every page that differs.
    pub(super) fn made(header: Header, checksum: FileChecksum) -> Self {
        Self {
            header,
            checksum,
            whole_from: Some(Pgno(0)),
        }
    }

    /// Whether every page after the first `commit` of the database is in the segment.
    pub(super) fn holds_all_after(&self, commit: u32) -> bool {
        let first = next_stored(Pgno(commit), Some(self.header.page_size.lock_page()));
        self.whole_from.is_some_and(|from| from <= first)
    }
}

/// The page after this one that a database stores.
fn next_stored(pgno: Pgno, lock_page: Option<Pgno>) -> Pgno {
    let next = Pgno(pgno.0.saturating_add(1));
    if Some(next) == lock_page {
        Pgno(next.0.saturating_add(1))
    } else {
        next
    }
}

fn check_name(id: SegmentId, header: &Header) -> Result<(), Failure> {
    if (header.min_txid, header.max_txid) == (id.min, id.max) {
        return Ok(());
    }
    Err(Failure::invalid_segment(format_args!(
        "it holds transactions {} to {}, its name says {} to {}",
        header.min_txid, header.max_txid, id.min, id.max
    )))
}

fn sums_of(header: &Header) -> Result<Sums, Failure> {
    header
        .sums
        .ok_or_else(|| Failure::invalid_segment("it carries no database sums (WFC1)"))
}
