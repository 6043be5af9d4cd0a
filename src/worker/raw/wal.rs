//! `POST /v1/{db}/wal?salt1=&salt2=&offset=`: raw bytes of a WAL, from which a segment is cut.

use std::collections::BTreeMap;

use worker::{Request, Response};

use super::place::Place;
use super::segment::{Cut, memory, too_large};
use super::told;
use crate::ltx::{PageSize, Pgno};
use crate::wal::{Cursor, Error, FrameHeader, Reader, Salts};
use crate::worker::body::Body;
use crate::worker::failure::Failure;
use crate::worker::gate;
use crate::worker::head::Head;
use crate::worker::query::Query;
use crate::worker::replica::Replica;
use crate::worker::upload::declared_size;

/// When so many bytes of pages have come, what follows is left to the next upload.
const ENOUGH: usize = 8 << 20;
/// The most that one transaction may change.
const MAX_TRANSACTION: usize = 16 << 20;
/// Of pages by which a database grew and that are not in its WAL, and of their bytes: SQLite leaves out few.
const MAX_ZEROS: u32 = 16_384;
const MAX_ZERO_BYTES: u64 = 64 << 20;
/// The most memory that the cut takes beside the pages, which go as they are cut; and for the sum of each page of the database.
const CUT_MEMORY: u64 = 12 << 20;
const SUM_MEMORY: u64 = 8;
/// What it takes beside those: chunks, the runtime's buffers, zeros as they are packed.
const REQUEST_MEMORY: u64 = 2 << 20;

pub(in crate::worker) async fn post(
    request: &Request,
    body: &mut Body,
    replica: &Replica,
) -> Result<Response, Failure> {
    let query = Query::of(request, &["salt1", "salt2", "offset", "restarted_at"])?;
    let salt = |name| query.number(name, 0..=u32::MAX);
    let (Some(salt1), Some(salt2), Some(offset)) = (salt("salt1")?, salt("salt2")?, query.bytes("offset")?)
    else {
        let message = "Bytes of a WAL say where they start: salt1, salt2 and offset.";
        return Err(Failure::bad_request("wal_not_placed", message));
    };
    let restarted_at = query.bytes("restarted_at")?;
    let size = declared_size(request)?;
    let head = replica.head().await?;
    let pages = size.min((ENOUGH + MAX_TRANSACTION) as u64);
    let cut = size.saturating_mul(3).min(CUT_MEMORY);
    let room = u64::from(head.commit).saturating_mul(SUM_MEMORY);
    let room = room
        .saturating_add(pages)
        .saturating_add(cut)
        .saturating_add(REQUEST_MEMORY);
    body.expect(size, gate::enter(room)?);
    let place = Place::at(&replica.ledger, &head)?;
    let mut reading = Reading::begin(place, head, Salts([salt1, salt2]), offset, restarted_at)?;
    while let Some(chunk) = body.next().await? {
        reading.push(&chunk)?;
    }
    let Some(read) = reading.finish()? else {
        return told(200, head.position, Some(&place));
    };
    let Read {
        pages,
        commit,
        cursor,
    } = read;
    memory(cursor.page_size, commit).ok_or_else(too_large)?;
    let mut cut = Cut::new(replica, head, cursor.page_size, commit).await?;
    if let Err(failure) = feed(replica, &mut cut, pages, cursor.page_size).await {
        cut.abort(replica).await;
        return Err(failure);
    }
    let (position, is_new) = cut.create(replica, commit, Some(cursor)).await?;
    let place = Place { position, cursor };
    told(if is_new { 201 } else { 200 }, position, Some(&place))
}

/// Cuts them, and sends to R2 what is enough for a part, so that they are not all in memory twice.
async fn feed(
    replica: &Replica,
    cut: &mut Cut,
    pages: BTreeMap<Pgno, Vec<u8>>,
    page_size: PageSize,
) -> Result<(), Failure> {
    let zeros = vec![0; page_size.len()];
    for (pgno, page) in pages {
        cut.page(pgno, if page.is_empty() { &zeros } else { &page })?;
        while let Some(due) = cut.due() {
            let answer = due.send(replica).await?;
            cut.sent(answer);
        }
    }
    Ok(())
}

/// Takes in the bytes.
#[derive(Debug)]
struct Reading {
    place: Place,
    head: Head,
    salts: Salts,
    /// Bytes that are held already.
    skip: u64,
    /// The frame that is held, as it comes again.
    overlap: Option<Vec<u8>>,
    reader: Reader,
    read: Read,
    is_full: bool,
}

/// The newest version of each page that committed transactions changed; an empty one is zeros.
#[derive(Debug)]
struct Read {
    pages: BTreeMap<Pgno, Vec<u8>>,
    /// The size of the database in pages.
    commit: u32,
    cursor: Cursor,
}

impl Reading {
    fn begin(
        place: Place,
        head: Head,
        salts: Salts,
        offset: u64,
        restarted_at: Option<u64>,
    ) -> Result<Self, Failure> {
        let Cursor { frame, .. } = place.cursor;
        let goes_on = salts == place.cursor.salts;
        if !goes_on {
            check_restart(&place, salts, restarted_at)?;
        }
        let start = if goes_on { place.offset() } else { 0 };
        if offset > start {
            return Err(place.refuse(
                "wal_gap",
                format_args!("send them from byte {start} on, not from {offset}"),
            ));
        }
        let is_within = goes_on && frame > 0;
        Ok(Self {
            skip: start.saturating_sub(offset),
            overlap: is_within.then(Vec::new),
            reader: if is_within {
                Reader::resume(place.cursor, None, MAX_TRANSACTION)
            } else {
                Reader::new(None, MAX_TRANSACTION)
            },
            read: Read {
                pages: BTreeMap::new(),
                commit: head.commit,
                cursor: place.cursor,
            },
            is_full: false,
            place,
            head,
            salts,
        })
    }

    fn push(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(chunk.len());
        self.skip = self.skip.saturating_sub(skipped as u64);
        let mut chunk = chunk.get(skipped..).unwrap_or_default();
        if let Some(overlap) = &mut self.overlap {
            let frame_len = FrameHeader::LEN.saturating_add(self.place.cursor.page_size.len());
            let (known, rest) = chunk.split_at(chunk.len().min(frame_len.saturating_sub(overlap.len())));
            overlap.extend_from_slice(known);
            if overlap.len() < frame_len {
                return Ok(());
            }
            check_overlap(&self.place, overlap)?;
            self.overlap = None;
            chunk = rest;
        }
        if self.is_full {
            return Ok(());
        }
        self.reader.push(chunk);
        loop {
            match self.reader.next() {
                Ok(Some(transaction)) => {
                    if (transaction.end.salts, transaction.end.page_size)
                        != (self.salts, self.place.cursor.page_size)
                    {
                        let message = "The header of the WAL is not of those salts, or of another page size.";
                        return Err(Failure::new(422, "invalid_wal", message));
                    }
                    self.read.commit = transaction.commit;
                    self.read.cursor = transaction.end;
                    self.read.pages.extend(transaction.pages);
                    let bytes = self
                        .read
                        .pages
                        .len()
                        .saturating_mul(transaction.end.page_size.len());
                    if bytes >= ENOUGH {
                        self.is_full = true;
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                // What came before it is taken; it comes again.
                Err(Error::TransactionTooLarge(_)) if self.read.cursor != self.place.cursor => {
                    self.is_full = true;
                    return Ok(());
                }
                Err(error @ Error::TransactionTooLarge(_)) => {
                    let message = format!(
                        "The WAL is refused: {error}. Send the database file after a checkpoint, and go on from there."
                    );
                    return Err(Failure::new(413, "transaction_too_large", message));
                }
                Err(error) => {
                    let message = format!("The WAL is refused: {error}.");
                    return Err(Failure::new(422, "invalid_wal", message));
                }
            }
        }
    }

    /// What the transactions changed; `None` if there was none that ended.
    fn finish(self) -> Result<Option<Read>, Failure> {
        let Self { head, mut read, .. } = self;
        if read.cursor == self.place.cursor {
            return Ok(None);
        }
        let lock_page = read.cursor.page_size.lock_page();
        read.pages
            .retain(|&pgno, _| pgno.0 <= read.commit && pgno != lock_page);
        // A database grows by pages that SQLite may never have written.
        let absent = |&pgno: &Pgno| pgno != lock_page && !read.pages.contains_key(&pgno);
        let grown = read.commit.saturating_sub(head.commit);
        let present = u32::try_from(read.pages.len()).unwrap_or(u32::MAX);
        let missing = grown.saturating_sub(present);
        if missing > MAX_ZEROS || read.cursor.page_size.file_size(missing) > MAX_ZERO_BYTES {
            let message = format!(
                "The WAL is refused: the database grows from {} to {} pages, and few of them are in it.",
                head.commit, read.commit
            );
            return Err(Failure::new(422, "invalid_wal", message));
        }
        let zeros = (head.commit.saturating_add(1)..=read.commit)
            .map(Pgno)
            .filter(absent);
        let zeros: Vec<Pgno> = zeros.collect();
        for pgno in zeros {
            read.pages.insert(pgno, Vec::new());
        }
        Ok(Some(read))
    }
}

/// Whether it started again once, where all that it held before is here.
fn check_restart(place: &Place, salts: Salts, restarted_at: Option<u64>) -> Result<(), Failure> {
    let [known, _] = place.cursor.salts.0;
    let [salt1, _] = salts.0;
    // Before the first frame of the first WAL there are no salts; that one draws both.
    let is_first = place.cursor.frame == 0 && place.cursor.salts == Salts::default();
    if salt1 != known.wrapping_add(1) && !is_first {
        return Err(place.refuse(
            "wal_restarted",
            format_args!(
                "it has started again since, more than once; what came between is not known. Send the database file \
                 after a checkpoint, and go on from there"
            ),
        ));
    }
    match restarted_at {
        Some(end) if end == place.end() => Ok(()),
        Some(end) => Err(place.refuse(
            "wal_restarted",
            format_args!(
                "it ended at byte {end}, and what is held ends at {}. Send what is missing, if it is still to be had; \
                 otherwise the database file after a checkpoint",
                place.end()
            ),
        )),
        None => Err(place.refuse(
            "wal_restarted",
            format_args!(
                "it has started again since. If it is certain that it ended at byte {}, say so by restarted_at; \
                 otherwise send the database file after a checkpoint",
                place.end()
            ),
        )),
    }
}

/// Whether the frame is the one that is held: its checksum is that of all before it, too.
fn check_overlap(place: &Place, frame: &[u8]) -> Result<(), Failure> {
    let header = frame.first_chunk().map(FrameHeader::parse);
    let is_held =
        |header: &FrameHeader| (header.salts, header.checksum) == (place.cursor.salts, place.cursor.checksum);
    if header.as_ref().is_some_and(is_held) {
        return Ok(());
    }
    Err(place.refuse(
        "wal_diverged",
        format_args!(
            "frame {} is not the one that is held. The offset is wrong, or that frame was never committed; then send \
             the database file after a checkpoint",
            place.cursor.frame
        ),
    ))
}
