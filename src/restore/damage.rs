//! Segments that are not what they should be, and the way around them.

use std::collections::BTreeMap;

use super::planned::Planned;
use super::{Error, READ, Result};
use crate::ltx::{self, Decoder, Txid};
use crate::replica::{Level, Plan, PlanError, SegmentId, SegmentInfo};
use crate::store::Source;

/// What was found wrong with a replica's segments. A restore can be prepared without them.
#[derive(Debug, Default)]
pub struct Damage {
    found: BTreeMap<SegmentId, Error>,
}

impl Damage {
    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether a segment is known to be damaged, or gone.
    pub fn includes(&self, segment: SegmentId) -> bool {
        self.found.contains_key(&segment)
    }

    /// Whether something of the history that held a transaction is damaged, or gone.
    pub(super) fn hides(&self, txid: Txid) -> bool {
        self.found
            .keys()
            .any(|id| id.level == Level::HISTORY && (id.min..=id.max).contains(&txid))
    }

    /// The segments, and what is wrong with each.
    pub fn iter(&self) -> impl Iterator<Item = (SegmentId, &Error)> {
        self.found.iter().map(|(segment, error)| (*segment, error))
    }

    /// Whether all that was found is that segments were deleted.
    pub fn is_deletion(&self) -> bool {
        self.found
            .values()
            .all(|error| matches!(error, Error::Missing(_)))
    }

    /// Learns from a failure which segments of the plan are to blame; where it does not tell, all of them are read
    /// and held against their file checksums. The failure comes back if none is, or if it says nothing of segments.
    pub async fn learn(&mut self, source: &dyn Source, plan: &Plan, error: Error) -> Result<()> {
        if let Some(segment) = error.segment() {
            self.found.insert(segment, error);
            return Ok(());
        }
        let is_of_segments = matches!(
            error,
            Error::BrokenChain { .. } | Error::Incomplete(_) | Error::PageSize(_) | Error::Damaged { .. }
        );
        if !is_of_segments {
            return Err(error);
        }
        let before = self.found.len();
        let source = Planned::new(source, plan);
        for segment in &plan.segments {
            match check(&source, *segment).await {
                Ok(()) => {}
                Err(error) if error.segment().is_some() => {
                    self.found.insert(segment.id, error);
                }
                Err(error) => return Err(error),
            }
        }
        if self.found.len() == before {
            Err(error)
        } else {
            Ok(())
        }
    }

    /// What to say where there is no way around the damage.
    pub fn lost(self, error: PlanError) -> Error {
        let nearest = match error {
            PlanError::Gap { after, .. } | PlanError::Hole { after } => Some(after),
            PlanError::NoSuchTxid { nearest, .. } => Some(nearest).filter(|&txid| txid > Txid::ZERO),
            _ => None,
        };
        match self.found.into_values().next() {
            Some(damage) => Error::Lost {
                damage: Box::new(damage),
                nearest,
            },
            None => error.into(),
        }
    }
}

/// Reads a segment from its first byte to its last, and holds it against its file checksum.
pub async fn check(source: &dyn Source, segment: SegmentInfo) -> Result<()> {
    let id = segment.id;
    let damaged = |error| Error::Damaged { segment: id, error };
    let mut decoder = Decoder::new();
    let mut at = 0;
    while at < segment.size {
        let end = at.saturating_add(READ).min(segment.size);
        let bytes = source.read(id, at..end).await;
        decoder.push(&bytes.map_err(|error| Error::read(id, error))?);
        while decoder.next().map_err(damaged)?.is_some() {}
        at = end;
    }
    decoder.finish().map_err(damaged)?;
    match decoder.read_header() {
        Some(header) if (header.min_txid, header.max_txid) != (id.min, id.max) => Err(Error::WrongName {
            segment: id,
            min: header.min_txid,
            max: header.max_txid,
        }),
        Some(_) => Ok(()),
        None => Err(damaged(ltx::Error::Truncated(segment.size))),
    }
}
