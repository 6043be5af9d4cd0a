//! Which segments make a state of the database.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Level, SegmentId, SegmentInfo};
use crate::json::{FromJson, Json};
use crate::ltx::{Timestamp, Txid};

/// The state that is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The newest.
    #[default]
    Latest,
    /// After this transaction, exactly.
    Txid(Txid),
    /// The newest at or before this time.
    Time(Timestamp),
}

/// Segments to apply in this order; each goes on where the one before ends (or overlaps it).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(into = "Told")]
pub struct Plan {
    /// Oldest first. The first is a whole database, unless the plan starts from a state that is at hand.
    pub segments: Vec<SegmentInfo>,
    /// Where those of them lie that are no objects of their own, but members of bundles.
    pub bundled: BTreeMap<SegmentId, InBundle>,
}

/// A place in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InBundle {
    /// The bundle.
    pub bundle: SegmentInfo,
    /// Where the segment starts in it.
    pub offset: u64,
    /// The segment's length.
    pub size: u64,
}

/// A plan as a Worker tells it: what is in a bundle has the bundle, and where it starts there, beside it.
#[derive(Serialize)]
struct Told {
    segments: Vec<ToldSegment>,
}

#[derive(Serialize)]
struct ToldSegment {
    level: Level,
    min_txid: Txid,
    max_txid: Txid,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<SegmentInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

impl From<Plan> for Told {
    fn from(plan: Plan) -> Self {
        let segments = plan.segments.into_iter().map(|info| {
            let place = plan.bundled.get(&info.id);
            ToldSegment {
                level: info.id.level,
                min_txid: info.id.min,
                max_txid: info.id.max,
                size: info.size,
                timestamp: info.timestamp,
                bundle: place.map(|place| place.bundle),
                offset: place.map(|place| place.offset),
            }
        });
        Self {
            segments: segments.collect(),
        }
    }
}

impl FromJson for Plan {
    fn from_json(json: Json<'_>) -> Option<Self> {
        let mut plan = Self::default();
        for told in json.field("segments")?.list()? {
            let info = SegmentInfo::from_json(told)?;
            if let Some(bundle) = told.get("bundle")? {
                let (offset, size) = (told.get("offset")?, info.size);
                plan.bundled.insert(info.id, InBundle { bundle, offset, size });
            }
            plan.segments.push(info);
        }
        Some(plan)
    }
}

impl Plan {
    /// The transaction that the plan leads to.
    pub fn txid(&self) -> Option<Txid> {
        self.segments.last().map(|segment| segment.id.max)
    }

    /// Bytes of all its objects.
    pub fn size(&self) -> u64 {
        self.segments
            .iter()
            .fold(0, |sum, segment| sum.saturating_add(segment.size))
    }
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nothing to restore.
    #[error("the replica is empty")]
    Empty,
    /// No whole database to start from.
    #[error("the replica has no snapshot at or before {0}: the oldest segment starts at transaction {1}")]
    NoSnapshot(String, Txid),
    /// A hole in the history.
    #[error("the replica has a gap: nothing leads from transaction {after} to {next}, where segments go on")]
    Gap {
        /// The last transaction that can be reached.
        after: Txid,
        /// Where a segment starts again.
        next: Txid,
    },
    /// States between the levels are not where they must be: what was to hold them was deleted, or is damaged.
    #[error(
        "what was shipped right after transaction {after} is missing from the history: whether there is a state nearer to the \
         wanted one cannot be known. The nearest that can be restored: --txid {after}"
    )]
    Hole {
        /// The last transaction that can be reached.
        after: Txid,
    },
    /// The wanted transaction is inside a segment or does not exist.
    #[error("transaction {wanted} cannot be restored: the nearest before it is {nearest}")]
    NoSuchTxid {
        /// What was asked for.
        wanted: Txid,
        /// The newest state before it that can be restored.
        nearest: Txid,
    },
    /// A state before the one at hand.
    #[error("transaction {wanted} is before transaction {from}, where the state at hand is: restore it anew")]
    Backwards {
        /// What was asked for.
        wanted: Txid,
        /// The state at hand.
        from: Txid,
    },
    /// The replica does not reach the state at hand: it is another, or has lost its end.
    #[error(
        "the state at hand is at transaction {from}, the replica ends before: it is not the one that state came from"
    )]
    Behind {
        /// The state at hand.
        from: Txid,
    },
    /// A time before the first segment.
    #[error("the replica holds nothing as old as that: it starts later")]
    TooEarly,
    /// A time was asked for and the listing does not tell times.
    #[error("the time of segment {0} is unknown, so a state cannot be chosen by time")]
    NoTimes(String),
}

/// Chooses segments from a listing of every level, in any order, that lead from `from` ([`Txid::ZERO`]: from
/// nothing) to `target`: at each step the one that reaches furthest, and among those the smallest.
///
/// A plan that starts at a state at hand may be empty: then it is the newest already.
///
/// From a state at hand, segments that only hold what came after it are preferred where they reach as far: a
/// snapshot would bring the whole database again.
pub fn plan(segments: &[SegmentInfo], target: Target, from: Txid) -> Result<Plan, PlanError> {
    let plan = furthest(segments, target, from)?;
    if from > Txid::ZERO {
        let newer: Vec<SegmentInfo> = segments
            .iter()
            .filter(|segment| segment.id.min > from)
            .copied()
            .collect();
        if let Ok(newer) = furthest(&newer, target, from)
            && newer.txid() == plan.txid()
        {
            return Ok(newer);
        }
    }
    Ok(plan)
}

fn furthest(segments: &[SegmentInfo], target: Target, from: Txid) -> Result<Plan, PlanError> {
    if let Target::Txid(wanted) = target
        && wanted < from
    {
        return Err(PlanError::Backwards { wanted, from });
    }
    let mut usable = Vec::with_capacity(segments.len());
    for segment in segments.iter().filter(|segment| segment.id.max > from) {
        let within = match target {
            Target::Latest => true,
            Target::Txid(txid) => segment.id.max <= txid,
            Target::Time(time) => {
                segment
                    .timestamp
                    .ok_or_else(|| PlanError::NoTimes(segment.id.to_string()))?
                    <= time
            }
        };
        if within {
            usable.push(*segment);
        }
    }
    super::sort_by_key(&mut usable, |segment| segment.id.min);

    let mut plan = Plan::default();
    let mut at = from;
    let mut candidates = usable.iter().peekable();
    let mut best: Option<SegmentInfo> = None;
    loop {
        let reach = at.next().unwrap_or(at);
        while let Some(segment) = candidates.next_if(|segment| segment.id.min <= reach) {
            if best.is_none_or(|best| (best.id.max, segment.size) < (segment.id.max, best.size)) {
                best = Some(*segment);
            }
        }
        match best.take_if(|best| best.id.max > at) {
            Some(segment) => {
                at = segment.id.max;
                plan.segments.push(segment);
            }
            None => break,
        }
    }
    match (candidates.peek(), target) {
        (Some(next), _) if at == Txid::ZERO => {
            let wanted = match target {
                Target::Txid(txid) => format!("transaction {txid}"),
                Target::Latest | Target::Time(_) => "the wanted state".to_owned(),
            };
            Err(PlanError::NoSnapshot(wanted, next.id.min))
        }
        (Some(next), _) => Err(PlanError::Gap {
            after: at,
            next: next.id.min,
        }),
        (None, Target::Txid(wanted)) if at != wanted => match at {
            Txid::ZERO if segments.is_empty() => Err(PlanError::Empty),
            nearest => Err(PlanError::NoSuchTxid { wanted, nearest }),
        },
        (None, Target::Time(_)) if at == Txid::ZERO && !segments.is_empty() => Err(PlanError::TooEarly),
        (None, _) if at == Txid::ZERO => Err(PlanError::Empty),
        (None, _) => Ok(plan),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::from_str;
    use crate::replica::{Level, SegmentId};

    fn segment(level: u8, min: u64, max: u64) -> SegmentInfo {
        let id = SegmentId::new(Level::any(level).unwrap(), Txid(min), Txid(max)).unwrap();
        SegmentInfo {
            id,
            size: 100 * (max - min + 1),
            timestamp: Some(Timestamp(max as i64 * 1000)),
        }
    }

    fn ids(plan: &Plan) -> Vec<(u8, u64, u64)> {
        plan.segments
            .iter()
            .map(|s| (s.id.level.into(), s.id.min.0, s.id.max.0))
            .collect()
    }

    #[test]
    fn takes_the_furthest_at_each_step() {
        let all = [
            segment(0, 1, 1),
            segment(0, 2, 2),
            segment(0, 3, 3),
            segment(0, 4, 4),
            segment(0, 5, 5),
            segment(1, 2, 3),
            segment(1, 4, 4),
            segment(9, 1, 2),
        ];
        let best = plan(&all, Target::Latest, Txid::ZERO).unwrap();
        // 0/3-3 reaches as far as 1/2-3 and is smaller.
        assert_eq!(ids(&best), [(9, 1, 2), (0, 3, 3), (0, 4, 4), (0, 5, 5)]);
        let third = plan(&all, Target::Txid(Txid(3)), Txid::ZERO).unwrap();
        assert_eq!(third.txid(), Some(Txid(3)));
        let by_time = plan(&all, Target::Time(Timestamp(4999)), Txid::ZERO).unwrap();
        assert_eq!(by_time.txid(), Some(Txid(4)));
        assert_eq!(ids(&plan(&all, Target::Latest, Txid(4)).unwrap()), [(0, 5, 5)]);
        assert_eq!(ids(&plan(&all, Target::Latest, Txid(5)).unwrap()), []);
        let with_snapshot = [&all[..], &[segment(9, 1, 5)]].concat();
        assert_eq!(
            ids(&plan(&with_snapshot, Target::Latest, Txid(3)).unwrap()),
            [(0, 4, 4), (0, 5, 5)]
        );
        assert_eq!(
            ids(&plan(&with_snapshot, Target::Latest, Txid::ZERO).unwrap()),
            [(9, 1, 5)]
        );
        let only_snapshot = [segment(0, 1, 1), segment(9, 1, 5)];
        assert_eq!(
            ids(&plan(&only_snapshot, Target::Latest, Txid(1)).unwrap()),
            [(9, 1, 5)]
        );
        assert_eq!(
            plan(&all, Target::Txid(Txid(2)), Txid(4)),
            Err(PlanError::Backwards {
                wanted: Txid(2),
                from: Txid(4)
            })
        );
    }

    #[test]
    fn is_read_as_it_is_written() {
        let bundle = segment(10, 2, 4);
        let info = SegmentInfo {
            timestamp: None,
            ..segment(0, 3, 3)
        };
        let mut plan = Plan {
            segments: vec![segment(9, 1, 2), info],
            ..Plan::default()
        };
        let (offset, size) = (u64::MAX, info.size);
        plan.bundled.insert(info.id, InBundle { bundle, offset, size });
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"segments":[{"level":9,"min_txid":"0000000000000001","max_txid":"0000000000000002","size":200,"#,
                r#""timestamp":2000},{"level":0,"min_txid":"0000000000000003","max_txid":"0000000000000003","size":100,"#,
                r#""bundle":{"level":10,"min_txid":"0000000000000002","max_txid":"0000000000000004","size":300,"#,
                r#""timestamp":4000},"offset":18446744073709551615}]}"#
            )
        );
        assert_eq!(from_str(&text), Some(plan));
        for wrong in [
            text.replace(r#""level":9"#, r#""level":13"#),
            text.replace("0000000000000001", "000000000000001"),
            text.replace(r#","offset":18446744073709551615"#, ""),
            text.replace(r#""size":200,"#, ""),
            text.replace(":200,", ":2e2,"),
        ] {
            assert_eq!(from_str::<Plan>(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn says_what_is_missing() {
        let gap = [segment(0, 1, 1), segment(0, 3, 3)];
        assert_eq!(
            plan(&gap, Target::Latest, Txid::ZERO),
            Err(PlanError::Gap {
                after: Txid(1),
                next: Txid(3)
            })
        );
        assert_eq!(plan(&[], Target::Latest, Txid::ZERO), Err(PlanError::Empty));
        assert!(matches!(
            plan(&[segment(0, 2, 2)], Target::Latest, Txid::ZERO),
            Err(PlanError::NoSnapshot(..))
        ));
        assert_eq!(
            plan(&[segment(0, 1, 4)], Target::Txid(Txid(3)), Txid::ZERO),
            Err(PlanError::NoSuchTxid {
                wanted: Txid(3),
                nearest: Txid(0)
            })
        );
        assert_eq!(
            plan(&[segment(0, 1, 1)], Target::Time(Timestamp(0)), Txid::ZERO),
            Err(PlanError::TooEarly)
        );
    }
}
