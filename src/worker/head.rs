//! Where a replica stands, and what may follow.
//!
//! Pure: a Durable Object holds it.

use serde::Serialize;

use super::failure::Failure;
use super::intake::Proven;
use crate::json::{FromJson, Json};
use crate::ltx::{Header, PageSize, Timestamp};
use crate::replica::{Level, Position, SegmentId};

/// The newest state of a replica, and what it is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Head {
    pub(super) position: Position,
    /// Absent in an empty replica.
    pub(super) page_size: Option<PageSize>,
    /// Size of the database in pages.
    pub(super) commit: u32,
    /// Absent in an empty replica.
    pub(super) timestamp: Option<Timestamp>,
    /// How many objects, on all levels.
    pub(super) segments: u64,
    /// Their size.
    pub(super) bytes: u64,
    /// The segment that ends there.
    #[serde(skip)]
    pub(super) tip: Option<SegmentId>,
}

impl Head {
    pub(super) const EMPTY: Self = Self {
        position: Position::EMPTY,
        page_size: None,
        commit: 0,
        timestamp: None,
        segments: 0,
        bytes: 0,
        tip: None,
    };

    /// At the end of the segment `tip`.
    pub(super) fn at(tip: SegmentId, header: &Header) -> Self {
        Self {
            position: Position {
                txid: tip.max,
                sum: header.sums.map(|sums| sums.after),
            },
            page_size: Some(header.page_size),
            commit: header.commit,
            timestamp: Some(header.timestamp),
            tip: Some(tip),
            ..Self::EMPTY
        }
    }

    /// After this segment, which it admitted, was created: a snapshot of the very state adds nothing but itself.
    pub(super) fn after(self, id: SegmentId, size: u64, header: &Header) -> Self {
        let moved = if id.level == Level::SNAPSHOT && self.position.sum.is_some() && self.tip.is_some() {
            self
        } else {
            Self::at(id, header)
        };
        Self {
            segments: self.segments.saturating_add(1),
            bytes: self.bytes.saturating_add(size),
            ..moved
        }
    }

    /// Whether a segment leads to this very state: it landed before, and may have been merged and deleted since.
    pub(super) fn is_after(&self, id: SegmentId, header: &Header) -> bool {
        let after = header.sums.map(|sums| sums.after);
        id.level == Level::RAW
            && id.max == self.position.txid
            && after.is_some()
            && after == self.position.sum
    }

    /// Whether a segment may be added: at level 0 the next one, at level 9 a snapshot of this very state.
    pub(super) fn admits(&self, id: SegmentId, header: &Header) -> Result<(), Failure> {
        if id.level == Level::SNAPSHOT && self.tip.is_some() {
            self.admits_snapshot(id, header)?;
        } else if id.level != Level::SNAPSHOT {
            self.admits_next(id, header)?;
        }
        if let Some(page_size) = self.page_size.filter(|&page_size| page_size != header.page_size) {
            let message = format!(
                "The segment is refused: its pages have {} bytes, the replica's {}.",
                header.page_size.get(),
                page_size.get()
            );
            return Err(Failure::new(422, "page_size_mismatch", message));
        }
        match self.timestamp {
            Some(Timestamp(newest)) if header.timestamp.0 < newest => {
                let message = format!(
                    "The segment is refused: its timestamp {} is before {newest}, the newest of the replica; \
                     timestamps never decrease.",
                    header.timestamp.0
                );
                Err(Failure::new(422, "timestamp_decreases", message))
            }
            _ => Ok(()),
        }
    }

    /// Whether the whole segment, read and proven by itself, yields a whole database from this state: SQLite does
    /// not write every page by which a database grows to its WAL, but a segment must hold them all.
    pub(super) fn admits_content(&self, proven: &Proven) -> Result<(), Failure> {
        if proven.header.commit > self.commit && !proven.holds_all_after(self.commit) {
            return Err(Failure::invalid_segment(format_args!(
                "the database grows from {} to {} pages, and the segment does not hold all the new ones",
                self.commit, proven.header.commit
            )));
        }
        Ok(())
    }

    fn admits_next(&self, id: SegmentId, header: &Header) -> Result<(), Failure> {
        let refuse = |why: String| Err(Failure::position_mismatch(self.position, why));
        if self.position.txid.next() != Some(id.min) {
            return refuse(format!(
                "a segment that starts at transaction {} does not follow",
                id.min
            ));
        }
        let Some(sum) = self.position.sum else {
            return refuse(
                "its newest segment carries no database sum, so nothing can be proven to follow; upload a \
                 snapshot of this state at level 9 first"
                    .to_owned(),
            );
        };
        match header.sums {
            Some(sums) if sums.before == sum => Ok(()),
            Some(sums) => refuse(format!(
                "the segment applies to another state, whose sum is {}",
                sums.before
            )),
            None => Err(Failure::invalid_segment("it carries no database sums (WFC1)")),
        }
    }

    fn admits_snapshot(&self, id: SegmentId, header: &Header) -> Result<(), Failure> {
        let refuse = |why: String| Err(Failure::position_mismatch(self.position, why));
        if id.max != self.position.txid {
            return refuse(format!(
                "a snapshot of transaction {} is not of this state",
                id.max
            ));
        }
        let after = header.sums.map(|sums| sums.after);
        if self.position.sum.is_some() && self.position.sum != after || self.commit != header.commit {
            return refuse("the snapshot is of another database".to_owned());
        }
        Ok(())
    }
}

impl FromJson for Head {
    fn from_json(json: Json<'_>) -> Option<Self> {
        Some(Self {
            position: json.get("position")?,
            page_size: json.get("page_size")?,
            commit: json.get("commit")?,
            timestamp: json.get("timestamp")?,
            segments: json.get("segments")?,
            bytes: json.get("bytes")?,
            tip: None,
        })
    }
}
