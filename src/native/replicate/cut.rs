//! Cuts a segment: the pages that differ from the confirmed state, in their committed version.

use std::path::PathBuf;

use super::Error;
use super::page_sums::PageSums;
use super::staged::{Stage, Staged};
use super::state::{Mark, WalMark};
use crate::ltx::{
    Codec, Compressor, Encoder, FileChecksum, Header, PageCrc, PageSize, Pgno, Sums, Timestamp, Txid,
};
use crate::native::sqlite::{Location, Source};
use crate::replica::{Level, Position, SegmentId};

/// A segment ready to be shipped, and what becomes true once it is confirmed.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: SegmentId,
    pub(super) body: Staged,
    pub(super) checksum: FileChecksum,
    pub(super) mark: Mark,
    /// The pages that it changes, with their new CRCs.
    pub(super) changed: Vec<(Pgno, PageCrc)>,
}

/// What is asked of a cut.
#[derive(Debug)]
pub(super) struct Cut<'a> {
    pub(super) source: &'a Source,
    pub(super) sums: &'a PageSums,
    pub(super) codec: Codec,
    /// The state before.
    pub(super) before: Mark,
    /// Size of the database in pages, after.
    pub(super) commit: u32,
    /// Where that state is in the WAL.
    pub(super) wal: Option<WalMark>,
    /// Now, by the clock; never before the state before.
    pub(super) timestamp: Timestamp,
    /// The folder where a large segment is staged.
    pub(super) stage: PathBuf,
}

impl Cut<'_> {
    /// Reads `pages` (ascending; a superset of what changed), keeps those whose CRC differs, packs them. `None`
    /// if nothing differs.
    pub(super) fn segment(
        self,
        pages: impl Iterator<Item = (Pgno, Location)>,
    ) -> Result<Option<Segment>, Error> {
        let page_size = self.source.page_size();
        let txid = self.before.position.txid.next().unwrap_or(Txid::FIRST);
        let timestamp = self.timestamp.max(self.before.timestamp);
        let header = Header::new(page_size, self.commit, (txid, txid), timestamp, None);
        let mut encoder = Encoder::new(
            Stage::new(self.stage.clone()),
            header,
            Compressor::new(self.codec),
        )?;
        let before = self.before.position.sum.unwrap_or_default();
        let mut after = before;
        let mut changed = Vec::new();
        let mut page = vec![0; page_size.len()];
        for (pgno, location) in pages {
            self.source.read_page(pgno, location, &mut page)?;
            let crc = PageCrc::of(pgno, &page);
            if pgno.0 <= self.before.commit {
                let old = self.sums.get(pgno).map_err(table)?;
                if old == crc {
                    continue;
                }
                after = after.minus(old);
            }
            after = after.plus(crc);
            encoder.page(pgno, crc, &page)?;
            changed.push((pgno, crc));
        }
        if self.commit < self.before.commit {
            let lost = self
                .sums
                .sum_from(Pgno(self.commit.saturating_add(1)), page_size)
                .map_err(table)?;
            after = crate::ltx::DbSum(after.0.wrapping_sub(lost.0));
        }
        if changed.is_empty() && self.commit == self.before.commit {
            return Ok(None);
        }
        let (stage, header, trailer, _) = encoder.finish_with(Some(Sums { before, after }))?;
        let body = stage.finish(&header).map_err(|source| Error::Io {
            what: format!(
                "cannot write the segment that waits to be shipped, in {}",
                self.stage.display()
            ),
            source,
        })?;
        let position = Position {
            txid,
            sum: Some(after),
        };
        Ok(Some(Segment {
            id: SegmentId {
                level: Level::RAW,
                min: txid,
                max: txid,
            },
            body,
            checksum: trailer.file_checksum,
            mark: Mark {
                position,
                timestamp,
                commit: self.commit,
                wal: self.wal,
            },
            changed,
        }))
    }
}

/// Every page of a database but the lock page.
pub(super) fn all_pages(commit: u32, page_size: PageSize) -> impl Iterator<Item = Pgno> {
    (1..=commit)
        .map(Pgno)
        .filter(move |&pgno| pgno != page_size.lock_page())
}

pub(super) fn table(source: std::io::Error) -> Error {
    Error::Io {
        what: "cannot read or write the page-sum table in the local state".to_owned(),
        source,
    }
}
