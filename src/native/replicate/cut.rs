//! Cuts a segment: the pages that differ from the state before, in their committed version.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use super::Error;
use super::crc_list::{CrcList, CrcWriter};
use super::frozen::{Batch, Frozen};
use super::prior::Prior;
use super::state::Mark;
use crate::ltx::{
    Codec, Compressor, DbSum, Encoder, FileChecksum, Header, PageCrc, PageSize, Pgno, Sums, Timestamp, Txid,
};
use crate::native::sqlite::{Committed, Source};
use crate::native::staged::{Stage, Staged};
use crate::replica::{Level, Position, SegmentId, SegmentInfo};
use crate::store::Body;

/// A segment ready to be shipped, and what becomes true once it is confirmed.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: SegmentId,
    pub(super) body: Rc<Staged>,
    pub(super) checksum: FileChecksum,
    pub(super) mark: Mark,
    /// The pages that it changes, with their new CRCs.
    pub(super) changed: Rc<CrcList>,
}

impl Segment {
    pub(super) fn info(&self) -> SegmentInfo {
        SegmentInfo {
            id: self.id,
            size: self.body.len(),
            timestamp: Some(self.mark.timestamp),
        }
    }
}

/// What is asked of a cut.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) codec: Codec,
    /// The level of the segment: raw, or a snapshot if it is the first of its replica.
    pub(super) level: Level,
    /// The state before.
    pub(super) before: Mark,
    /// Its pages.
    pub(super) prior: Prior,
    /// Now, by the clock.
    pub(super) timestamp: Timestamp,
    /// The folder where a large segment is staged.
    pub(super) folder: PathBuf,
    /// How large it may be in memory.
    pub(super) in_memory: usize,
}

/// A segment that is being cut, slice by slice.
#[derive(Debug)]
pub(super) struct Cut {
    frozen: Frozen,
    batch: Batch,
    encoder: Encoder<Stage>,
    prior: Prior,
    id: SegmentId,
    before: Mark,
    mark: Mark,
    after: DbSum,
    changed: CrcWriter,
    folder: PathBuf,
    /// The next page of those that the database lost.
    lost: Pgno,
    lock_page: Pgno,
}

impl Cut {
    /// Of the state `committed`; `frozen` has a superset of the pages that differ.
    pub(super) fn new(
        order: Order,
        frozen: Frozen,
        committed: &Committed,
        page_size: PageSize,
    ) -> Result<Self, Error> {
        let before = order.before;
        let txid = before.position.txid.next().unwrap_or(Txid::FIRST);
        let timestamp = order.timestamp.max(before.timestamp);
        let header = Header::new(page_size, committed.commit, (txid, txid), timestamp, None);
        let stage = Stage::new(order.folder.clone(), order.in_memory);
        Ok(Self {
            frozen,
            batch: Batch::new(page_size),
            encoder: Encoder::new(stage, header, Compressor::new(order.codec))?,
            prior: order.prior,
            id: SegmentId {
                level: order.level,
                min: txid,
                max: txid,
            },
            before,
            mark: Mark {
                position: Position { txid, sum: None },
                timestamp,
                commit: committed.commit,
                wal: Some(super::state::WalMark::newest(committed)),
            },
            after: before.position.sum.unwrap_or_default(),
            changed: CrcWriter::new(order.folder.clone()),
            folder: order.folder,
            lost: Pgno(committed.commit.saturating_add(1)),
            lock_page: page_size.lock_page(),
        })
    }

    /// The transaction that it will be.
    pub(super) fn txid(&self) -> Txid {
        self.id.max
    }

    /// The state that it leads to, without its sum.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// As [`Frozen::save_before`].
    pub(super) fn save_before(&mut self, source: &mut Source, committed: &Committed) -> Result<(), Error> {
        self.frozen.save_before(source, committed)
    }

    /// Goes on with about `budget` bytes of pages; whether it is done.
    pub(super) fn step(&mut self, source: &mut Source, budget: usize) -> Result<bool, Error> {
        let page_len = source.page_size().len();
        let mut read = 0usize;
        while read < budget {
            self.frozen.read(source, &mut self.batch)?;
            if self.batch.is_empty() {
                return self.lose(budget / 8);
            }
            for (pgno, page) in self.batch.pages() {
                read = read.saturating_add(page_len);
                let crc = PageCrc::of(pgno, page);
                if pgno.0 <= self.before.commit {
                    let old = self.prior.get(pgno).map_err(table)?;
                    if old == crc {
                        continue;
                    }
                    self.after = self.after.minus(old);
                }
                self.after = self.after.plus(crc);
                self.encoder.page(pgno, crc, page)?;
                self.changed
                    .push(pgno, crc)
                    .map_err(|error| stage(&self.folder, error))?;
            }
        }
        Ok(false)
    }

    /// Takes up to `many` pages that the database lost out of its sum.
    fn lose(&mut self, many: usize) -> Result<bool, Error> {
        for _ in 0..many.max(1) {
            if self.lost.0 > self.before.commit {
                return Ok(true);
            }
            if self.lost != self.lock_page {
                let old = self.prior.get(self.lost).map_err(table)?;
                self.after = self.after.minus(old);
            }
            self.lost = Pgno(self.lost.0.saturating_add(1));
        }
        Ok(false)
    }

    /// The segment; `None` if no page differs.
    pub(super) fn finish(self) -> Result<Option<Segment>, Error> {
        let Self {
            encoder,
            before,
            mut mark,
            after,
            changed,
            folder,
            id,
            ..
        } = self;
        let changed = changed.finish().map_err(|error| stage(&folder, error))?;
        if changed.len() == 0 && mark.commit == before.commit {
            return Ok(None);
        }
        let sums = Sums {
            before: before.position.sum.unwrap_or_default(),
            after,
        };
        let (staged, header, trailer, _) = encoder.finish_with(Some(sums))?;
        let body = staged.finish(&header).map_err(|error| stage(&folder, error))?;
        mark.position.sum = Some(after);
        Ok(Some(Segment {
            id,
            body: Rc::new(body),
            checksum: trailer.file_checksum,
            mark,
            changed,
        }))
    }
}

pub(super) fn table(source: io::Error) -> Error {
    Error::Io {
        what: "cannot read or write the page-sum table in the local state".to_owned(),
        source,
    }
}

pub(super) fn stage(folder: &std::path::Path, source: io::Error) -> Error {
    Error::Io {
        what: format!(
            "cannot write the segment that waits to be shipped, in {}",
            folder.display()
        ),
        source,
    }
}
