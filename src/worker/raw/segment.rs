//! A segment that is cut here.

use worker::{Data, Date, UploadedPart};

use super::page_sums::PageSums;
use super::place::{Place, Places};
use crate::ltx::{
    Codec, Compressor, Encoder, Header, PageCrc, PageSize, Pgno, Sums, Timestamp, Txid, pack_lz4,
};
use crate::replica::{Level, Position, SegmentId};
use crate::store;
use crate::wal::Cursor;
use crate::worker::entry::Entry;
use crate::worker::failure::Failure;
use crate::worker::head::Head;
use crate::worker::intake::Proven;
use crate::worker::replica::Replica;

/// What R2 takes as a part of an upload, at least.
const PART: usize = 5 << 20;
/// The most memory that a cut takes for its bytes: the first part, one that grows, and one on its way.
pub(super) const MEMORY: u64 = 20 << 20;

/// A segment with the pages that differ from where the replica stands. The pages are packed by LZ4: quickly, for the
/// CPU time is the Worker's, and so that Litestream reads them.
pub(super) struct Cut<'a> {
    replica: &'a Replica,
    head: Head,
    id: SegmentId,
    encoder: Encoder<Vec<u8>>,
    sums: PageSums<'a>,
    payload: Vec<u8>,
    /// Pages that differ.
    pages: u32,
    /// If it is long.
    parts: Option<Parts>,
}

/// An upload to R2 in parts. The first one waits until the sums are known, for they stand in the header.
struct Parts {
    name: String,
    first: Vec<u8>,
    /// Of the second and those after it.
    etags: Vec<String>,
}

impl<'a> Cut<'a> {
    pub(super) async fn new(
        replica: &'a Replica,
        head: Head,
        page_size: PageSize,
        commit: u32,
    ) -> Result<Self, Failure> {
        let txid = head.position.txid.next().unwrap_or(Txid::FIRST);
        let level = if head.tip.is_none() {
            Level::SNAPSHOT
        } else {
            Level::RAW
        };
        let id = SegmentId {
            level,
            min: txid,
            max: txid,
        };
        let now = Timestamp(i64::try_from(Date::now().as_millis()).unwrap_or(i64::MAX));
        let timestamp = head.timestamp.map_or(now, |newest| newest.max(now));
        let header = Header::new(page_size, commit, (txid, txid), timestamp, None);
        Ok(Self {
            replica,
            head,
            id,
            encoder: Encoder::new(Vec::new(), header, Compressor::new(Codec::Stored))?,
            sums: PageSums::at(replica, &head).await?,
            payload: Vec::new(),
            pages: 0,
            parts: None,
        })
    }

    /// The next page; ascending, never the lock page.
    pub(super) fn page(&mut self, pgno: Pgno, page: &[u8]) -> Result<(), Failure> {
        let crc = PageCrc::of(pgno, page);
        if self.sums.get(pgno)? == crc {
            return Ok(());
        }
        self.sums.set(pgno, crc)?;
        self.pages = self.pages.saturating_add(1);
        pack_lz4(page, &mut self.payload)?;
        Ok(self.encoder.packed_page(pgno, Codec::Lz4, crc, &self.payload)?)
    }

    /// Sends what makes a part. To be called after some pages.
    pub(super) async fn make_room(&mut self) -> Result<(), Failure> {
        // With a rest, for the last part may be short, but not empty.
        while self.encoder.out().len() > PART {
            let out = self.encoder.out_mut();
            let rest = out.split_off(PART);
            let part = std::mem::replace(out, rest);
            match &mut self.parts {
                None => {
                    let name = self.replica.store.create_multipart(self.id, None).await?;
                    self.parts = Some(Parts {
                        name,
                        first: part,
                        etags: Vec::new(),
                    });
                }
                Some(parts) => {
                    let number = number(parts.etags.len().saturating_add(1));
                    let etag = send(self.replica, self.id, &parts.name, number, part).await?;
                    parts.etags.push(etag);
                }
            }
            fault_point!("raw_part");
        }
        Ok(())
    }

    /// Takes back what was sent.
    pub(super) async fn abort(self) {
        if let Some(parts) = &self.parts {
            abort(self.replica, self.id, &parts.name).await;
        }
    }

    /// Creates it, of a database that has so many pages, and returns where the replica then stands and whether anything
    /// was to be created. `cursor` is where in the WAL that is.
    pub(super) async fn create(
        mut self,
        commit: u32,
        cursor: Option<Cursor>,
    ) -> Result<(Position, bool), Failure> {
        self.sums.cut(commit)?;
        let Head { position, .. } = self.head;
        let ledger = &self.replica.ledger;
        if self.pages == 0 && commit == self.head.commit {
            if let Some(cursor) = cursor {
                let place = Place { position, cursor };
                Place::note(ledger, &[place, place])?;
            }
            return Ok((position, false));
        }
        let sums = Sums {
            before: position.sum.unwrap_or_default(),
            after: self.sums.sum,
        };
        let after = Position {
            txid: self.id.max,
            sum: Some(sums.after),
        };
        let places = match cursor {
            Some(cursor) => {
                let next = Place {
                    position: after,
                    cursor,
                };
                Some([Place::known(ledger, &self.head)?.unwrap_or(next), next])
            }
            None => None,
        };
        let (bytes, start, trailer, size) = self.encoder.finish_with(Some(sums))?;
        let made = Made {
            replica: self.replica,
            id: self.id,
            size,
            start,
            proven: Proven::made(Header::parse(&start)?, trailer.file_checksum),
            places,
        };
        fault_point!("raw_cut");
        let position = match self.parts {
            None => made.put(bytes).await?,
            Some(parts) => {
                let name = parts.name.clone();
                let completed = made.complete(parts, bytes).await;
                if completed.is_err() {
                    abort(self.replica, self.id, &name).await;
                }
                completed?
            }
        };
        if position == after {
            self.sums.save(after)?;
        }
        fault_point!("raw_saved");
        Ok((position, true))
    }
}

/// A segment that is cut to its end.
struct Made<'a> {
    replica: &'a Replica,
    id: SegmentId,
    size: u64,
    start: [u8; Header::LEN],
    proven: Proven,
    places: Option<Places>,
}

impl Made<'_> {
    async fn put(self, mut bytes: Vec<u8>) -> Result<Position, Failure> {
        self.with_start(&mut bytes);
        Entry::create(self.replica, self.id, bytes, &self.proven, self.places.as_ref()).await
    }

    async fn complete(self, parts: Parts, last: Vec<u8>) -> Result<Position, Failure> {
        let Parts {
            name,
            mut first,
            mut etags,
        } = parts;
        self.with_start(&mut first);
        let (replica, id) = (self.replica, self.id);
        let end = number(etags.len().saturating_add(1));
        etags.insert(0, send(replica, id, &name, 1, first).await?);
        etags.push(send(replica, id, &name, end, last).await?);
        let entry = self.enter().await?;
        // Completing knows no condition; but nobody else creates objects while the lock is held.
        let created = match replica.store.head(id).await {
            Ok(None) => {
                let parts = etags.into_iter().enumerate();
                let parts = parts.map(|(before, etag)| UploadedPart::new(number(before), etag));
                let upload = replica.store.multipart(id, &name)?;
                upload.complete(parts).await.map(|_| true).map_err(|error| {
                    store::Error::Unavailable(format!("R2 could not complete segment {id} ({error})"))
                })
            }
            Ok(Some(_)) => Ok(false),
            Err(error) => Err(error),
        };
        entry.end(created, None).await
    }

    fn with_start(&self, bytes: &mut [u8]) {
        if let Some(place) = bytes.first_chunk_mut() {
            *place = self.start;
        }
    }

    /// The right to create it; the place in the WAL is noted with the intent.
    async fn enter(&self) -> Result<Entry<'_>, Failure> {
        Entry::begin(
            self.replica,
            self.id,
            self.size,
            &self.proven,
            self.places.as_ref(),
        )
        .await
    }
}

async fn send(
    replica: &Replica,
    id: SegmentId,
    name: &str,
    number: u16,
    part: Vec<u8>,
) -> store::Result<String> {
    let upload = replica.store.multipart(id, name)?;
    let sent = upload.upload_part(number, Data::Bytes(part)).await;
    let sent = sent
        .map_err(|error| store::Error::Unavailable(format!("R2 could not take a part of {id} ({error})")))?;
    Ok(sent.etag())
}

/// If this fails, R2 does it by itself after some days.
async fn abort(replica: &Replica, id: SegmentId, name: &str) {
    if let Ok(upload) = replica.store.multipart(id, name) {
        let _ = upload.abort().await;
    }
}

fn number(before: usize) -> u16 {
    u16::try_from(before.saturating_add(1)).unwrap_or(u16::MAX)
}
