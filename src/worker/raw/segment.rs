//! A segment that is cut here.

use worker::{Data, Date};

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

/// What R2 takes as a part of an upload, at least. All but the last must have one length.
const PART: usize = 5 << 20;
/// By which one that grows is longer, before it is sent.
const SLACK: usize = 256 << 10;
/// The most memory that a cut takes for its bytes: the first part, one that grows, and one on its way, also in JavaScript. That of
/// a small file is all of it, as often.
const MEMORY: u64 = 21 << 20;
/// And for each page of the database: its sum, its frame, and its entry in the index.
const PAGE_MEMORY: u64 = 24;
/// Together.
const MAX_MEMORY: u64 = 41 << 20;
/// What R2 takes as one object: 10,000 parts, with room for the index.
const MAX_SIZE: u64 = 9_000 * PART as u64;

/// A segment with the pages that differ from where the replica stands. The pages are packed by LZ4: quickly, for the
/// CPU time is the Worker's, and so that Litestream reads them.
///
/// It belongs to no request, and is as it should be between any two calls: what ends there takes nothing with it.
#[derive(Debug)]
pub(super) struct Cut {
    head: Head,
    id: SegmentId,
    encoder: Encoder<Vec<u8>>,
    sums: PageSums,
    payload: Vec<u8>,
    /// Pages that differ.
    pages: u32,
    /// If it is long.
    parts: Option<Parts>,
}

/// The most memory that cutting a database takes; `None` if that is too much, or its segment would be.
pub(super) fn memory(page_size: PageSize, commit: u32) -> Option<u64> {
    let memory = u64::from(commit)
        .saturating_mul(PAGE_MEMORY)
        .saturating_add(MEMORY);
    (memory <= MAX_MEMORY && page_size.file_size(commit) <= MAX_SIZE).then_some(memory)
}

/// The refusal of such a database.
pub(super) fn too_large() -> Failure {
    let message = "The database is too large to be taken raw: `walferry replicate` ships it.";
    Failure::new(413, "too_large", message)
}

/// An upload to R2 in parts. The first one waits until the sums are known, for they stand in the header.
#[derive(Debug)]
struct Parts {
    name: String,
    first: Vec<u8>,
    /// Of the second and those after it.
    etags: Vec<String>,
}

/// What is to be sent to R2 before more is cut: with a name, how many come before and bytes a part; without, that there will be some.
pub(super) struct Due {
    id: SegmentId,
    part: Option<(String, usize, Vec<u8>)>,
}

impl Cut {
    pub(super) async fn new(
        replica: &Replica,
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

    /// Where the replica stood when it was begun.
    pub(super) fn position(&self) -> Position {
        self.head.position
    }

    /// To be asked after some pages, until there is nothing.
    pub(super) fn due(&self) -> Option<Due> {
        let out = self.encoder.out();
        // With a rest, for the last part may be short, but not empty.
        let part = out.get(..PART).filter(|part| part.len() < out.len())?;
        let part = self.parts.as_ref().map(|parts| {
            // The first is not among them.
            let before = parts.etags.len().saturating_add(1);
            (parts.name.clone(), before, part.to_vec())
        });
        Some(Due { id: self.id, part })
    }

    /// Makes room for more, once R2 has answered so.
    pub(super) fn sent(&mut self, answer: String) {
        let out = self.encoder.out_mut();
        match &mut self.parts {
            None => {
                let mut rest = Vec::with_capacity(PART.saturating_add(SLACK));
                rest.extend_from_slice(out.get(PART..).unwrap_or_default());
                let mut first = std::mem::replace(out, rest);
                first.truncate(PART);
                first.shrink_to_fit();
                self.parts = Some(Parts {
                    name: answer,
                    first,
                    etags: Vec::new(),
                });
            }
            Some(parts) => {
                out.drain(..PART.min(out.len()));
                parts.etags.push(answer);
            }
        }
    }

    /// Takes back what was sent.
    pub(super) async fn abort(self, replica: &Replica) {
        if let Some(parts) = &self.parts {
            replica.store.abort(self.id, &parts.name).await;
        }
    }

    /// Creates it, of a database that has so many pages, and returns where the replica then stands and whether anything
    /// was to be created. `cursor` is where in the WAL that is.
    pub(super) async fn create(
        mut self,
        replica: &Replica,
        commit: u32,
        cursor: Option<Cursor>,
    ) -> Result<(Position, bool), Failure> {
        self.sums.cut(commit)?;
        let Head { position, .. } = self.head;
        let ledger = &replica.ledger;
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
            replica,
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
                    replica.store.abort(self.id, &name).await;
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
        let (store, id) = (&self.replica.store, self.id);
        etags.insert(0, store.send_part(id, &name, 0, Data::Bytes(first)).await?);
        // The index of a large database is longer than a part.
        for part in last.chunks(PART) {
            let part = Data::Bytes(part.to_vec());
            etags.push(store.send_part(id, &name, etags.len(), part).await?);
        }
        let entry = self.enter(&name).await?;
        let created = store.complete(id, &name, &etags).await;
        entry.end(created, None).await
    }

    fn with_start(&self, bytes: &mut [u8]) {
        if let Some(place) = bytes.first_chunk_mut() {
            *place = self.start;
        }
    }

    /// The right to create it; the place in the WAL is noted with the intent.
    async fn enter(&self, multipart: &str) -> Result<Entry<'_>, Failure> {
        Entry::begin(
            self.replica,
            self.id,
            self.size,
            &self.proven,
            self.places.as_ref(),
            Some(multipart),
        )
        .await
    }
}

impl Due {
    /// Sends it, and returns what R2 answers.
    pub(super) async fn send(self, replica: &Replica) -> store::Result<String> {
        let sent = match self.part {
            None => replica.store.create_multipart(self.id, None).await,
            Some((name, before, part)) => {
                let store = &replica.store;
                store.send_part(self.id, &name, before, Data::Bytes(part)).await
            }
        };
        fault_point!("raw_part");
        sent
    }
}
