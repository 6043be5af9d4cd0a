//! A snapshot: the whole database at a state that the replica has, read from here and not from there; and beside it the
//! page-sum table of that state, from which a lost local state can be had back.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::crc_list::{CrcList, CrcWriter};
use super::cut::{Segment, stage};
use super::frozen::{Batch, Frozen};
use super::upload::Patience;
use super::{Error, Replica};
use crate::ltx::{
    Codec, Compressor, DbSum, Encoder, FileChecksum, Header, PageCrc, PageSize, Pgno, Sums, Timestamp, Txid,
};
use crate::native::sqlite::{Committed, Source};
use crate::native::staged::{SMALL, Stage, Staged};
use crate::replica::{Level, SegmentId, SegmentInfo, SumsHeader};
use crate::store::{self, Body, create_or_confirm};

/// A snapshot that is being made, slice by slice.
#[derive(Debug)]
pub(super) struct Snapshot {
    frozen: Frozen,
    batch: Batch,
    encoder: Encoder<Stage>,
    sum: DbSum,
    crcs: CrcWriter,
    header: SumsHeader,
    timestamp: Timestamp,
    folder: PathBuf,
}

/// One that is made.
#[derive(Debug)]
pub(super) struct Made {
    body: Staged,
    checksum: FileChecksum,
    sums: Staged,
    header: SumsHeader,
    timestamp: Timestamp,
}

impl Snapshot {
    /// Of the state `committed`, which is transaction `txid`; `frozen` wants all of its pages.
    pub(super) fn new(
        frozen: Frozen,
        committed: &Committed,
        (txid, timestamp): (Txid, Timestamp),
        (page_size, codec): (PageSize, Codec),
        folder: PathBuf,
    ) -> Result<Self, Error> {
        let header = Header::new(page_size, committed.commit, (Txid::FIRST, txid), timestamp, None);
        Ok(Self {
            frozen,
            batch: Batch::new(page_size),
            encoder: Encoder::new(Stage::new(folder.clone(), SMALL), header, Compressor::new(codec))?,
            sum: DbSum::EMPTY,
            crcs: CrcWriter::new(folder.clone()),
            header: SumsHeader {
                page_size,
                commit: committed.commit,
                txid,
                sum: DbSum::EMPTY,
            },
            timestamp,
            folder,
        })
    }

    /// The state that it is of.
    pub(super) fn txid(&self) -> Txid {
        self.header.txid
    }

    /// As [`Frozen::save_before`].
    pub(super) fn save_before(&mut self, source: &mut Source, committed: &Committed) -> Result<(), Error> {
        self.frozen.save_before(source, committed)
    }

    /// Goes on with about `budget` bytes of pages; whether all are read.
    pub(super) fn step(&mut self, source: &mut Source, budget: usize) -> Result<bool, Error> {
        let mut read = 0usize;
        while read < budget {
            self.frozen.read(source, &mut self.batch)?;
            if self.batch.is_empty() {
                return Ok(true);
            }
            for (pgno, page) in self.batch.pages() {
                read = read.saturating_add(page.len());
                let crc = PageCrc::of(pgno, page);
                self.sum = self.sum.plus(crc);
                self.encoder.page(pgno, crc, page)?;
                self.crcs
                    .push(pgno, crc)
                    .map_err(|error| stage(&self.folder, error))?;
            }
        }
        Ok(false)
    }

    /// Ends it. `None` if it is not the state whose sum is `expected`.
    pub(super) fn finish(self, expected: DbSum) -> Result<Option<Made>, Error> {
        if self.sum != expected {
            return Ok(None);
        }
        let folder = self.folder;
        let failed = |error| stage(&folder, error);
        let header = SumsHeader {
            sum: self.sum,
            ..self.header
        };
        let sums = Sums {
            before: DbSum::EMPTY,
            after: self.sum,
        };
        let (staged, start, trailer, _) = self.encoder.finish_with(Some(sums))?;
        let body = staged.finish(&start).map_err(failed)?;
        let table = self.crcs.finish().map_err(failed)?;
        Ok(Some(Made {
            body,
            checksum: trailer.file_checksum,
            sums: sums_object(&table, header, &folder)?,
            header,
            timestamp: self.timestamp,
        }))
    }
}

/// The page-sum table of a whole database, as an object.
pub(super) fn sums_object(table: &CrcList, header: SumsHeader, folder: &Path) -> Result<Staged, Error> {
    let failed = |error| stage(folder, error);
    let mut object = Stage::new(folder.to_owned(), SMALL);
    object.write_all(&header.encode()).map_err(failed)?;
    let (mut at, mut next) = (0, Pgno(1));
    while at < table.len() {
        let run = table.run(at).map_err(failed)?;
        at = at.saturating_add(run.len() as u64);
        for (pgno, crc) in run {
            // The lock page.
            for _ in next.0..pgno.0 {
                object.write_all(&[0; SumsHeader::ENTRY]).map_err(failed)?;
            }
            object.write_all(&crc.0.to_be_bytes()).map_err(failed)?;
            next = Pgno(pgno.0.saturating_add(1));
        }
    }
    for _ in next.0..=header.commit {
        object.write_all(&[0; SumsHeader::ENTRY]).map_err(failed)?;
    }
    object.finish(&[]).map_err(failed)
}

/// Sends a snapshot and what belongs beside it, and tells what is there then.
pub(super) async fn send(replica: Replica, made: Made) -> store::Result<[SegmentInfo; 2]> {
    let id = |level| SegmentId {
        level,
        min: Txid::FIRST,
        max: made.header.txid,
    };
    let info = |level, body: &Staged| SegmentInfo {
        id: id(level),
        size: body.len(),
        timestamp: Some(made.timestamp),
    };
    let mut patience = Patience::new(&replica.status);
    loop {
        let snapshot = create_or_confirm(&*replica.store, id(Level::SNAPSHOT), &made.body, made.checksum);
        let sent = match snapshot.await {
            Ok(()) => create_sums(&replica, made.header, &made.sums).await,
            Err(error) => Err(error),
        };
        match sent {
            Err(error) if error.is_passing() => patience.wait("ship a snapshot", &error).await,
            Err(error) => return Err(error),
            Ok(_) => {
                patience.end();
                return Ok([info(Level::SNAPSHOT, &made.body), info(Level::SUMS, &made.sums)]);
            }
        }
    }
}

/// Sends the page-sum table of a state that the replica has. One that is there is as good: it proves itself.
pub(super) async fn create_sums(
    replica: &Replica,
    header: SumsHeader,
    sums: &Staged,
) -> store::Result<SegmentInfo> {
    let id = SegmentId {
        level: Level::SUMS,
        min: Txid::FIRST,
        max: header.txid,
    };
    match replica.store.create(id, sums).await {
        Err(store::Error::Exists(_)) | Ok(()) => {}
        Err(error) => return Err(error),
    }
    Ok(SegmentInfo {
        id,
        size: sums.len(),
        timestamp: None,
    })
}

/// What is said of the page-sum table of a segment that is a whole database.
pub(super) fn header_of(segment: &Segment, page_size: PageSize) -> SumsHeader {
    SumsHeader {
        page_size,
        commit: segment.mark.commit,
        txid: segment.id.max,
        sum: segment.mark.position.sum.unwrap_or_default(),
    }
}
