//! Which generation, which snapshot, which WAL.

use std::collections::BTreeMap;

use super::Error;
use super::name::{Part, parse};
use crate::ltx::Timestamp;
use crate::native::store::Object;

/// A snapshot, and the WAL to apply to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) generation: String,
    /// Of the snapshot.
    pub(super) index: u64,
    pub(super) snapshot: Object,
    /// In their order. Indexes follow each other, and each starts at offset 0; whether offsets follow each other shows
    /// when they are unpacked.
    pub(super) wal: Vec<Segment>,
}

/// Some of a WAL's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) index: u64,
    pub(super) offset: u64,
    pub(super) object: Object,
}

impl Plan {
    /// The plan that leads to the newest state at or before a time; `Ok(None)` where there is no generation at all.
    pub(super) fn new(objects: Vec<Object>, until: Option<Timestamp>) -> Result<Option<Self>, Error> {
        let mut generations: BTreeMap<String, BTreeMap<Part, Object>> = BTreeMap::new();
        for object in objects {
            if let Some((generation, part)) = parse(&object.key) {
                let parts = generations.entry(generation.to_owned()).or_default();
                parts.insert(part, object.clone());
            }
        }
        if generations.is_empty() {
            return Ok(None);
        }
        let plans = generations.into_iter().filter_map(|(generation, parts)| {
            let plan = in_generation(&generation, parts, until);
            if plan.is_none() {
                tracing::debug!("generation {generation} has no snapshot to start from");
            }
            plan
        });
        let newest = plans.max_by_key(|plan| plan.time()).ok_or(Error::NoSnapshot)?;
        newest.check()?;
        Ok(Some(newest))
    }

    /// When the last of it was written.
    pub(super) fn time(&self) -> Timestamp {
        let newest = self.wal.iter().map(|segment| segment.object.time).max();
        newest.unwrap_or(self.snapshot.time).max(self.snapshot.time)
    }

    /// Bytes to fetch.
    pub(super) fn size(&self) -> u64 {
        let wal = self.wal.iter().map(|segment| segment.object.size);
        wal.fold(self.snapshot.size, u64::saturating_add)
    }

    fn check(&self) -> Result<(), Error> {
        let (mut index, mut offset) = (None, 0);
        for segment in &self.wal {
            let expected = index.map_or(self.index, |index: u64| index.saturating_add(1));
            let starts = segment.index == expected && segment.offset == 0;
            if index != Some(segment.index) && !starts {
                return Err(self.gap(index.unwrap_or(self.index), offset, &segment.object.key));
            }
            (index, offset) = (Some(segment.index), segment.offset);
        }
        Ok(())
    }

    pub(super) fn gap(&self, index: u64, offset: u64, next: &str) -> Error {
        Error::Gap {
            generation: self.generation.clone(),
            index,
            offset,
            next: next.to_owned(),
        }
    }
}

/// The newest snapshot in time, and all that follows it up to the first that is too late.
fn in_generation(generation: &str, parts: BTreeMap<Part, Object>, until: Option<Timestamp>) -> Option<Plan> {
    let in_time = |object: &Object| until.is_none_or(|until| object.time <= until);
    let mut snapshots = parts.iter().filter_map(|(part, object)| match part {
        Part::Snapshot { index } if in_time(object) => Some((*index, object.clone())),
        _ => None,
    });
    let (first, snapshot) = snapshots.next_back()?;
    let wal = parts.into_iter().filter_map(|(part, object)| match part {
        Part::Wal { index, offset } if index >= first => Some(Segment {
            index,
            offset,
            object,
        }),
        _ => None,
    });
    Some(Plan {
        generation: generation.to_owned(),
        index: first,
        snapshot,
        wal: wal.take_while(|segment| in_time(&segment.object)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(generation: u8, name: &str, time: i64) -> Object {
        Object {
            key: format!("generations/{generation:016x}/{name}.lz4"),
            size: 1,
            time: Timestamp(time),
        }
    }

    fn two_generations() -> Vec<Object> {
        vec![
            object(9, "wal/00000001_00000000.wal", 14),
            object(9, "snapshots/00000000.snapshot", 10),
            object(9, "wal/00000000_00001038.wal", 12),
            object(9, "wal/00000000_00000000.wal", 11),
            object(9, "snapshots/00000001.snapshot", 13),
            object(1, "snapshots/00000000.snapshot", 20),
            object(1, "wal/00000000_00000000.wal", 21),
            object(5, "wal/00000000_00000000.wal", 99),
        ]
    }

    fn plan(until: Option<i64>) -> Result<Plan, Error> {
        Plan::new(two_generations(), until.map(Timestamp)).map(Option::unwrap)
    }

    #[test]
    fn the_newest_state_at_or_before_a_time() {
        let newest = plan(None).unwrap();
        assert_eq!(
            (newest.generation.as_str(), newest.time().0),
            ("0000000000000001", 21)
        );
        let old = plan(Some(19)).unwrap();
        assert_eq!((old.index, old.wal.len(), old.time().0), (1, 1, 14));
        let older = plan(Some(12)).unwrap();
        assert_eq!((older.index, older.wal.len(), older.time().0), (0, 2, 12));
        assert_eq!(plan(Some(9)), Err(Error::NoSnapshot));
        assert_eq!(Plan::new(Vec::new(), None), Ok(None));
    }

    #[test]
    fn a_gap_is_an_error() {
        for lost in ["1_00000000", "0_00000000"] {
            let mut objects = two_generations();
            objects.retain(|object| !object.key.contains("snapshots/00000001") && !object.key.contains(lost));
            objects.push(object(9, "wal/00000002_00000000.wal", 40));
            let error = Plan::new(objects, None).unwrap_err();
            assert!(matches!(error, Error::Gap { .. }), "{error}");
        }
    }
}
