//! What upkeep makes, on its way into R2: in one request if it is short, otherwise in parts of one length. R2 shows nothing
//! of it before all is there.

use std::io;
use std::io::Write;
use std::mem;
use std::rc::Rc;

use async_trait::async_trait;
use serde::Serialize;
use worker::Data;

use super::budget::Budget;
use crate::json::{FromJson, Json};
use crate::ltx::Header;
use crate::merge::Sink;
use crate::replica::{Level, SegmentId, SegmentInfo};
use crate::store;
use crate::worker::failure::Failure;
use crate::worker::ledger::Ledger;
use crate::worker::r2::{Found, R2Store, hex, unhex};

/// The least that R2 takes for a part; there are 10,000 at most.
const PART: usize = 5 << 20;
/// The last bytes of an object tell it from any other: there is a checksum among them.
const END: usize = 16;
/// The note of what is being made.
const MAKING: &str = "making";

/// What is noted of an object before R2 is asked to create it, so that another life of ours finds it, or takes it back.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Making {
    id: SegmentId,
    /// R2's name for an upload in parts.
    multipart: Option<String>,
    /// Its length, its last bytes and its header, once they are known.
    finished: Option<(u64, String, String)>,
}

/// An object that is being made.
pub(super) struct Output<'a> {
    pub(super) store: &'a R2Store,
    pub(super) ledger: &'a Ledger,
    pub(super) budget: &'a Rc<Budget>,
    making: Making,
    buffer: Vec<u8>,
    header: Option<Header>,
    etags: Vec<String>,
    sent: u64,
}

impl Making {
    /// What a life before ours left.
    pub(super) fn left(ledger: &Ledger) -> Result<Option<Self>, Failure> {
        ledger.sure_note(MAKING)
    }

    /// To be called when it is committed, or not there.
    pub(super) fn forget(ledger: &Ledger) -> Result<(), Failure> {
        ledger.forget_note(MAKING)
    }

    /// The object, if it was created after all; otherwise what there is of it is taken back.
    pub(super) async fn settle(&self, store: &R2Store, budget: &Budget) -> Result<Option<Found>, Failure> {
        if let Some((size, end, header)) = &self.finished {
            budget.take(0).await;
            budget.take(0).await;
            let end = unhex::<END>(end).unwrap_or_default();
            if store.ends_so(self.id, *size, &end).await? {
                return Ok(Some(found(self.id, *size, header)));
            }
        }
        if let Some(multipart) = &self.multipart {
            budget.take(0).await;
            store.abort(self.id, multipart).await;
        }
        Ok(None)
    }
}

impl FromJson for Making {
    fn from_json(json: Json<'_>) -> Option<Self> {
        let finished = json.field("finished")?;
        let finished = match finished.is_null() {
            true => None,
            false => {
                let mut finished = finished.list()?;
                Some((finished.read()?, finished.read()?, finished.read()?))
            }
        };
        Some(Self {
            id: json.get("id")?,
            multipart: json.get("multipart")?,
            finished,
        })
    }
}

impl<'a> Output<'a> {
    pub(super) fn new(id: SegmentId, store: &'a R2Store, ledger: &'a Ledger, budget: &'a Rc<Budget>) -> Self {
        let making = Making {
            id,
            multipart: None,
            finished: None,
        };
        Self {
            store,
            ledger,
            budget,
            making,
            buffer: Vec::new(),
            header: None,
            etags: Vec::new(),
            sent: 0,
        }
    }

    /// Creates the object; `Err` if another of its name is there.
    pub(super) async fn finish(mut self) -> Result<Found, Failure> {
        self.take_header();
        let id = self.making.id;
        let size = self.sent.saturating_add(self.buffer.len() as u64);
        let end: [u8; END] = *self.buffer.last_chunk().ok_or_else(|| too_short(id))?;
        let header = self.header.as_ref().map(|header| hex(&header.encode()));
        let header = header.unwrap_or_default();
        self.making.finished = Some((size, hex(&end), header.clone()));
        self.note().await?;
        fault_point!("upkeep_noted");
        let created = match &self.making.multipart {
            None => {
                self.budget.take(size).await;
                let data = Data::Bytes(mem::take(&mut self.buffer));
                self.store.put(id, data, self.header.as_ref()).await?
            }
            Some(multipart) => {
                let multipart = multipart.clone();
                let rest = mem::take(&mut self.buffer);
                if !rest.is_empty() {
                    self.send(&multipart, rest).await?;
                }
                self.budget.take(0).await;
                self.budget.take(0).await;
                self.store.complete(id, &multipart, &self.etags).await?
            }
        };
        fault_point!("upkeep_created");
        if created {
            return Ok(found(id, size, &header));
        }
        self.budget.take(0).await;
        self.budget.take(0).await;
        if self.store.ends_so(id, size, &end).await? {
            return Ok(found(id, size, &header));
        }
        // Packed otherwise by another version, it leads from the same state to the same.
        if id.level <= Level::SNAPSHOT {
            self.budget.take(0).await;
            if let Ok(there) = self.store.found(id).await
                && there.header.as_ref().is_some_and(|header| header.sums.is_some())
                && there.header == self.header
            {
                return Ok(there);
            }
        }
        Err(Failure::passing(
            "segment_in_the_way",
            format!("An object {id} is in the bucket that is not of this replica; delete it there."),
        ))
    }

    fn take_header(&mut self) {
        if self.making.id.level <= Level::SNAPSHOT && self.header.is_none() {
            let start = self.buffer.first_chunk();
            self.header = start.and_then(|start| Header::parse(start).ok());
        }
    }

    async fn note(&self) -> Result<(), Failure> {
        self.ledger.set_note(MAKING, &self.making)?;
        // R2 must not be ahead of it.
        self.ledger.sync().await
    }

    async fn send(&mut self, multipart: &str, part: Vec<u8>) -> store::Result<()> {
        let id = self.making.id;
        self.budget.take(part.len() as u64).await;
        self.sent = self.sent.saturating_add(part.len() as u64);
        let (before, data) = (self.etags.len(), Data::Bytes(part));
        let etag = self.store.send_part(id, multipart, before, data).await?;
        self.etags.push(etag);
        fault_point!("upkeep_part");
        Ok(())
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[async_trait(?Send)]
impl Sink for Output<'_> {
    /// With a rest beyond the part, so that the last bytes are here at the end.
    fn is_full(&self) -> bool {
        self.buffer.len() > PART.saturating_add(64 << 10)
    }

    async fn drain(&mut self) -> store::Result<()> {
        while self.is_full() {
            let multipart = match &self.making.multipart {
                Some(multipart) => multipart.clone(),
                None => {
                    self.take_header();
                    self.budget.take(0).await;
                    let multipart = self
                        .store
                        .create_multipart(self.making.id, self.header.as_ref())
                        .await?;
                    self.making.multipart = Some(multipart.clone());
                    let noted = self.note().await;
                    noted.map_err(|failure| store::Error::Unavailable(failure.message().to_owned()))?;
                    multipart
                }
            };
            let rest = self.buffer.split_off(PART);
            let part = mem::replace(&mut self.buffer, rest);
            self.send(&multipart, part).await?;
        }
        Ok(())
    }
}

fn found(id: SegmentId, size: u64, header: &str) -> Found {
    let header = unhex(header).and_then(|bytes| Header::parse(&bytes).ok());
    let timestamp = header.as_ref().map(|header| header.timestamp);
    let info = SegmentInfo { id, size, timestamp };
    Found { info, header }
}

fn too_short(id: SegmentId) -> Failure {
    Failure::passing("runtime_fault", format!("Nothing was made of {id}."))
}
