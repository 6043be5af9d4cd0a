//! What there is to do to keep a replica in order, and when: a function of what is there, the policy and the time.
//!
//! What is promised to who restores:
//!
//! * Any moment within the retention restores to the last sync at or before it; a plan for it, once made, finds all of
//!   its snapshots and levels for [`Policy::grace`] more. Retention deletes nothing that a target within it, `grace` ago,
//!   could have named.
//! * Raw segments, and levels finer than [`Policy::history_window`], may go while a restore runs, when a higher level and
//!   a bundle hold what they hold (the latter not before `grace` is over): planned again, the restore finds the same
//!   states there.
//! * Deleting never leaves a listing from which a wrong state follows: whole databases go first, and what depends on
//!   them only when they are gone.
//! * Where an object is damaged, nothing that could replace it is deleted for its sake.
//!
//! And to who pays for it: nothing is made again that was deleted, whatever it was made of and is still there. Doing
//! what is due comes to an end.

use std::time::Duration;

use super::catalog::is_whole;
use super::{Catalog, Entry, Level, MAX_MEMBERS, Policy, SegmentId, SegmentInfo};
use crate::ltx::{Timestamp, Txid};

/// The most segments that become one.
const MAX_INPUTS: usize = 256;
/// Segments that become one have so many bytes together, at the most.
const MAX_INPUT_BYTES: u64 = 1024 * 1024 * 1024;
/// One deletion names so many objects at the most.
const MAX_DELETED: usize = 1000;
/// A bundle of one is only another copy.
const MIN_MEMBERS: usize = 2;

/// One piece of work. Each is safe to be broken off, and to be done again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chore {
    /// Merge segments into one of a level.
    Compact {
        /// Where it goes.
        level: Level,
        /// What it is made of, oldest first.
        inputs: Vec<SegmentInfo>,
    },
    /// Bundle raw segments, oldest first.
    Bundle(Vec<SegmentInfo>),
    /// Delete objects, in any order.
    Delete(Vec<SegmentId>),
}

/// What is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Something is due.
    Now(Chore),
    /// Nothing before then, unless something comes.
    At(Timestamp),
    /// Nothing until something comes.
    Never,
}

/// What is due `now`, or when something will be.
pub fn next_chore(catalog: &Catalog, policy: &Policy, now: Timestamp) -> Next {
    let chores = Chores::new(catalog, policy, now);
    let mut next = Next::Never;
    for level in 1..=policy.levels.len().min(8) {
        next = next.or(|| chores.compaction(level));
    }
    next = next.or(|| chores.bundle());
    if policy.retention_enabled {
        next = next
            .or(|| chores.raw())
            .or(|| chores.superseded())
            .or(|| chores.expired());
    }
    next
}

/// When a snapshot is due: `None` while nothing has changed since the last, or there is none to go on from.
pub fn snapshot_due(catalog: &Catalog, policy: &Policy) -> Option<Timestamp> {
    let (newest, entry) = catalog.wholes().max_by_key(|(id, _)| id.max)?;
    if catalog.newest() <= newest.max {
        return None;
    }
    let is_broken = |(id, entry): (SegmentId, &Entry)| entry.damaged && id.max > newest.max;
    if entry.damaged || Level::all().any(|level| catalog.level(level).any(is_broken)) {
        // No chain of segments leads past it.
        return Some(Timestamp(0));
    }
    Some(after(entry.timestamp?, policy.snapshot_interval))
}

struct Chores<'a> {
    catalog: &'a Catalog,
    policy: &'a Policy,
    now: Timestamp,
    /// The oldest whole database that a target within the retention needs.
    base: Option<SegmentId>,
    /// Those that take its place one after the other, and when.
    next_bases: Vec<(SegmentId, Timestamp)>,
}

impl<'a> Chores<'a> {
    fn new(catalog: &'a Catalog, policy: &'a Policy, now: Timestamp) -> Self {
        let kept = policy.retention.saturating_add(policy.grace);
        let mut wholes: Vec<(SegmentId, Timestamp)> = catalog
            .wholes()
            .filter(|(_, entry)| policy.retention_enabled && !entry.damaged)
            .filter_map(|(id, entry)| Some((id, after(entry.timestamp?, kept))))
            .filter(|(_, due)| *due < Timestamp(i64::MAX))
            .collect();
        super::sort_by_key(&mut wholes, |(id, _)| (id.max, id.level));
        let base = wholes.iter().rposition(|(_, due)| *due <= now);
        let next = base.map_or(0, |base| base.saturating_add(1));
        Self {
            catalog,
            policy,
            now,
            base: base.and_then(|base| wholes.get(base)).map(|(id, _)| *id),
            next_bases: wholes.split_off(next.min(wholes.len())),
        }
    }

    /// What becomes one segment of a level: all that has come to the level below since its last.
    fn compaction(&self, number: usize) -> Next {
        let (Some(level), Some(below)) = (as_level(number), as_level(number.saturating_sub(1))) else {
            return Next::Never;
        };
        let Some(&interval) = self.policy.levels.get(number.saturating_sub(1)) else {
            return Next::Never;
        };
        let frontier = self.frontier(number);
        let mut inputs: Vec<SegmentInfo> = Vec::new();
        let (mut due, mut bytes) = (Timestamp(i64::MAX), 0u64);
        for (id, entry) in self.after(below, frontier) {
            let Some(last) = inputs.last() else {
                if !entry.damaged {
                    due = self.window_end(entry.since, interval);
                    bytes = entry.size;
                    inputs.push(info(id, entry));
                }
                continue;
            };
            bytes = bytes.saturating_add(entry.size);
            let follows = last.id.max.next().is_some_and(|next| id.min <= next) && id.max > last.id.max;
            if entry.damaged || !follows || inputs.len() >= MAX_INPUTS || bytes > MAX_INPUT_BYTES {
                due = self.now;
                break;
            }
            inputs.push(info(id, entry));
        }
        self.when(due, !inputs.is_empty(), || Chore::Compact { level, inputs })
    }

    /// Raw segments that a level holds, and no bundle.
    fn bundle(&self) -> Next {
        let mut members: Vec<SegmentInfo> = Vec::new();
        let (mut due, mut bytes) = (Timestamp(i64::MAX), 0u64);
        for (id, entry) in self.after(Level::RAW, self.expired_until()) {
            let is_wanted =
                entry.bundled.is_none() && !entry.damaged && entry.size <= self.policy.bundled_bytes;
            if !is_wanted || self.covered(id, 1).is_none() {
                continue;
            }
            if members.is_empty() {
                due = self.window_end(entry.since, self.policy.history_window);
            }
            if members.last().is_some_and(|last| last.id.max >= id.min) {
                continue;
            }
            bytes = bytes.saturating_add(entry.size);
            if members.len() >= MAX_MEMBERS
                || (bytes > self.policy.bundle_bytes && members.len() >= MIN_MEMBERS)
            {
                due = self.now;
                break;
            }
            members.push(info(id, entry));
        }
        self.when(due, members.len() >= MIN_MEMBERS, || Chore::Bundle(members))
    }

    /// Raw segments that are held twice elsewhere.
    fn raw(&self) -> Next {
        let held = self.after(Level::RAW, Txid::ZERO).filter_map(|(id, entry)| {
            let (_, cover) = self.covered(id, 1)?;
            Some((
                id,
                after(entry.bundled?.max(cover.since), self.policy.raw_retention),
            ))
        });
        self.delete(held)
    }

    /// Levels that are finer than bundles, once a coarser one holds what they hold and every moment is in the history.
    fn superseded(&self) -> Next {
        let fine = |interval: &Duration| *interval < self.policy.history_window;
        let levels = self
            .policy
            .levels
            .iter()
            .take_while(|interval| fine(interval))
            .count();
        let objects = (1..=levels).filter_map(|number| Some((number, as_level(number)?)));
        let held = objects.flat_map(|(number, level)| {
            let objects = self.catalog.level(level).filter(|(id, _)| !is_whole(*id));
            objects.filter_map(move |(id, _)| {
                let (_, cover) = self.covered(id, number.saturating_add(1))?;
                let due = after(cover.since, self.policy.grace);
                // The history is looked at only when it matters.
                (due > self.now || self.has_history(id)).then_some((id, due))
            })
        });
        self.delete(held)
    }

    /// What is older than any target within the retention needs.
    fn expired(&self) -> Next {
        let mut next_bases = self.next_bases.iter();
        let next = next_bases.find(|(base, _)| !self.before(*base).is_empty());
        let next = next.map_or(Next::Never, |(_, due)| Next::At(*due));
        let Some(base) = self.base else { return next };
        let expired = self.before(base);
        match expired.is_empty() {
            false => Next::Now(Chore::Delete(expired.into_iter().take(MAX_DELETED).collect())),
            true => next,
        }
    }

    /// What goes first when `base` is the oldest that is needed.
    fn before(&self, base: SegmentId) -> Vec<SegmentId> {
        let wholes = self.catalog.wholes().map(|(id, _)| id);
        let older: Vec<SegmentId> = wholes
            .filter(|id| *id != base && (id.max, id.level) < (base.max, base.level))
            .collect();
        if older.is_empty() {
            self.dependent(base)
        } else {
            older
        }
    }

    /// What only states before `base` need.
    fn dependent(&self, base: SegmentId) -> Vec<SegmentId> {
        let shelves = [Level::HISTORY, Level::SUMS];
        let levels = Level::all().chain(shelves);
        let objects = levels.flat_map(|level| self.catalog.level(level));
        objects
            .map(|(id, _)| id)
            .filter(|id| !is_whole(*id) && id.max <= base.max)
            .filter(|id| id.level != Level::SUMS || id.max < base.max)
            .collect()
    }

    /// How far a level needs no more: what is there has come to it, what was deleted of it is in a higher one, or has
    /// expired.
    fn frontier(&self, number: usize) -> Txid {
        let levels = (number..=8).filter_map(as_level);
        let held = levels.filter_map(|level| self.catalog.frontier(level)).max();
        held.unwrap_or(Txid::ZERO).max(self.expired_until())
    }

    /// Up to there, nothing but the whole database is needed any more.
    fn expired_until(&self) -> Txid {
        self.base.map_or(Txid::ZERO, |base| base.max)
    }

    /// Segments of a level beyond a transaction, but for whole databases: those are written once.
    fn after(&self, level: Level, frontier: Txid) -> impl Iterator<Item = (SegmentId, &Entry)> {
        let segments = self.catalog.level(level);
        segments.filter(move |(id, _)| !is_whole(*id) && id.max > frontier)
    }

    /// The object at a level from `number` on that holds all that `id` holds.
    fn covered(&self, id: SegmentId, number: usize) -> Option<(SegmentId, &Entry)> {
        let levels = (number..=8).filter_map(as_level);
        levels.filter_map(|level| self.catalog.cover(level, id)).next()
    }

    /// Whether every sync of these transactions can be found: in bundles, or as it was shipped.
    fn has_history(&self, id: SegmentId) -> bool {
        let mut at = Txid(id.min.0.saturating_sub(1));
        while at < id.max {
            let Some(next) = at.next() else { return false };
            let exact = |level| {
                self.catalog.cover(
                    level,
                    SegmentId {
                        level,
                        min: next,
                        max: next,
                    },
                )
            };
            match exact(Level::HISTORY).or_else(|| exact(Level::RAW)) {
                Some((found, _)) => at = found.max,
                None => return false,
            }
        }
        true
    }

    fn delete(&self, objects: impl Iterator<Item = (SegmentId, Timestamp)>) -> Next {
        let mut due = Vec::new();
        let mut soonest = None;
        for (id, at) in objects {
            if at > self.now {
                soonest = Some(soonest.map_or(at, |soonest: Timestamp| soonest.min(at)));
            } else if due.len() < MAX_DELETED {
                due.push(id);
            }
        }
        match (due.is_empty(), soonest) {
            (false, _) => Next::Now(Chore::Delete(due)),
            (true, Some(at)) => Next::At(at),
            (true, None) => Next::Never,
        }
    }

    /// The end of the window that a time is in; at once where the clock went backwards.
    fn window_end(&self, time: Timestamp, window: Duration) -> Timestamp {
        if time > self.now {
            return self.now;
        }
        let window = millis(window).max(1);
        let start = time
            .0
            .saturating_sub(time.0.checked_rem_euclid(window).unwrap_or(0));
        Timestamp(start.saturating_add(window))
    }

    fn when(&self, due: Timestamp, is_any: bool, chore: impl FnOnce() -> Chore) -> Next {
        match is_any {
            false => Next::Never,
            true if due <= self.now => Next::Now(chore()),
            true => Next::At(due),
        }
    }
}

impl Next {
    /// This, if it is due, otherwise whatever of the two comes first.
    fn or(self, other: impl FnOnce() -> Self) -> Self {
        if matches!(self, Self::Now(_)) {
            return self;
        }
        match (self, other()) {
            (Self::At(one), Self::At(two)) => Self::At(one.min(two)),
            (one, Self::Never) => one,
            (_, other) => other,
        }
    }
}

fn as_level(number: usize) -> Option<Level> {
    u8::try_from(number).ok().and_then(Level::new)
}

fn info(id: SegmentId, entry: &Entry) -> SegmentInfo {
    SegmentInfo {
        id,
        size: entry.size,
        timestamp: entry.timestamp,
    }
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(millis(duration)))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    /// The start of a day.
    const NOW: i64 = 20_000 * DAY;

    fn id(level: u8, min: u64, max: u64) -> SegmentId {
        let all = Level::all().chain(Level::shelves());
        let level = all.into_iter().find(|known| u8::from(*known) == level).unwrap();
        SegmentId::new(level, Txid(min), Txid(max)).unwrap()
    }

    /// Objects that are there since `NOW` plus the last number, with that as their time.
    fn catalog(objects: &[(u8, u64, u64, i64)]) -> Catalog {
        let mut catalog = Catalog::default();
        for &(level, min, max, time) in objects {
            let time = Timestamp(NOW + time);
            let object = SegmentInfo {
                id: id(level, min, max),
                size: 1000,
                timestamp: Some(time),
            };
            catalog.add(object, time);
        }
        catalog
    }

    fn next(catalog: &Catalog, at: i64) -> Next {
        next_chore(catalog, &Policy::default(), Timestamp(NOW + at))
    }

    fn compaction(next: Next) -> (u8, Vec<u64>) {
        match next {
            Next::Now(Chore::Compact { level, inputs }) => {
                (level.into(), inputs.iter().map(|input| input.id.max.0).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    fn deletion(next: Next) -> Vec<SegmentId> {
        match next {
            Next::Now(Chore::Delete(ids)) => ids,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_window_closes_at_its_end_and_takes_what_came_until_then() {
        let catalog = catalog(&[(9, 1, 1, 0), (0, 2, 2, 1000), (0, 3, 3, 29_999)]);
        assert_eq!(next(&catalog, 29_999), Next::At(Timestamp(NOW + 30_000)));
        assert_eq!(compaction(next(&catalog, 30_000)), (1, vec![2, 3]));
        assert_eq!(next(&self::catalog(&[]), 0), Next::Never);
        let first = self::catalog(&[(9, 1, 1, 0)]);
        assert_eq!(next(&first, 0), Next::Never, "nothing will expire");
    }

    #[test]
    fn a_clock_that_goes_back_holds_nothing_up() {
        let catalog = catalog(&[(9, 1, 1, 0), (0, 2, 2, DAY)]);
        assert_eq!(compaction(next(&catalog, 0)), (1, vec![2]));
    }

    #[test]
    fn a_damaged_segment_is_left_aside_and_a_snapshot_is_due() {
        let mut catalog = catalog(&[(9, 1, 1, 0), (0, 2, 2, 0), (0, 3, 3, 0), (0, 4, 4, 0)]);
        assert_eq!(
            snapshot_due(&catalog, &Policy::default()),
            Some(Timestamp(NOW + DAY))
        );
        catalog.get_mut(id(0, 3, 3)).unwrap().damaged = true;
        assert_eq!(snapshot_due(&catalog, &Policy::default()), Some(Timestamp(0)));
        assert_eq!(compaction(next(&catalog, 10)), (1, vec![2]));
        let merged = SegmentInfo {
            id: id(1, 2, 2),
            size: 9,
            timestamp: None,
        };
        catalog.add(merged, Timestamp(NOW));
        assert_eq!(compaction(next(&catalog, 30_000)), (1, vec![4]));
    }

    #[test]
    fn gaps_and_numbers_end_a_merge() {
        let gap = catalog(&[(0, 2, 2, 0), (0, 3, 3, 0), (0, 5, 5, 0)]);
        assert_eq!(compaction(next(&gap, 1)), (1, vec![2, 3]));
        let many: Vec<_> = (2..1000).map(|txid| (0, txid, txid, 0)).collect();
        assert_eq!(compaction(next(&catalog(&many), 1)).1.len(), MAX_INPUTS);
    }

    #[test]
    fn raw_segments_go_when_they_are_held_twice() {
        let mut catalog = catalog(&[(9, 1, 1, 0), (0, 2, 2, 0), (0, 3, 3, 0), (1, 2, 3, 0)]);
        let bundle = match next(&catalog, 5 * MINUTE) {
            // Level 2 is due at the same moment.
            Next::Now(Chore::Compact { inputs, .. }) => {
                assert_eq!(inputs[0].id, id(1, 2, 3));
                catalog.add(
                    SegmentInfo {
                        id: id(2, 2, 3),
                        ..inputs[0]
                    },
                    Timestamp(NOW + 5 * MINUTE),
                );
                next(&catalog, 5 * MINUTE)
            }
            other => panic!("{other:?}"),
        };
        assert!(matches!(bundle, Next::Now(Chore::Bundle(members)) if members.len() == 2));
        // Only one of them: the other is too long for it.
        catalog.get_mut(id(0, 2, 2)).unwrap().bundled = Some(Timestamp(NOW + 5 * MINUTE));
        catalog.get_mut(id(0, 3, 3)).unwrap().size = 5 * 1024 * 1024;
        assert!(matches!(next(&catalog, 10 * MINUTE - 1), Next::At(_)));
        assert_eq!(deletion(next(&catalog, 10 * MINUTE)), [id(0, 2, 2)]);
    }

    /// What is held twice goes all the same: otherwise a replica would be too long to work with within days.
    #[test]
    fn for_ever_is_every_moment_not_every_object() {
        let policy = Policy {
            retention: Duration::MAX,
            ..Policy::default()
        };
        let mut catalog = catalog(&[(9, 1, 1, 0), (0, 2, 2, 0), (0, 3, 3, 0)]);
        let (mut now, mut deleted) = (NOW, BTreeSet::new());
        for _ in 0..200 {
            now += HOUR;
            settle(&mut catalog, &policy, Timestamp(now), &mut deleted);
        }
        assert_eq!(catalog.level(Level::RAW).count(), 0);
        assert!(catalog.cover(Level::HISTORY, id(10, 2, 3)).is_some());
        let snapshot = SegmentInfo {
            id: id(9, 1, 3),
            size: 9,
            timestamp: Some(Timestamp(NOW)),
        };
        catalog.add(snapshot, Timestamp(NOW));
        let far = Timestamp(NOW + 99 * 365 * DAY);
        assert_eq!(next_chore(&catalog, &policy, far), Next::Never);
    }

    /// What Litestream has deleted raw is as fine as it gets.
    #[test]
    fn fine_levels_stay_where_there_is_no_exact_history() {
        let objects = [(9, 1, 1, 0), (1, 2, 3, 0), (2, 2, 3, 0), (3, 2, 3, 0)];
        let mut catalog = catalog(&objects);
        assert_eq!(next(&catalog, HOUR), Next::Never);
        catalog.add(
            SegmentInfo {
                id: id(10, 2, 3),
                size: 9,
                timestamp: None,
            },
            Timestamp(NOW),
        );
        assert!(matches!(next(&catalog, HOUR - 1), Next::At(due) if due.0 == NOW + HOUR));
        assert_eq!(deletion(next(&catalog, HOUR)), [id(1, 2, 3)]);
    }

    #[test]
    fn whole_databases_expire_before_what_depends_on_them() {
        let mut catalog = catalog(&[
            (0, 1, 1, 0),
            (9, 1, 1, 0),
            (11, 1, 1, 0),
            (3, 2, 9, DAY),
            (10, 2, 9, DAY),
            (9, 1, 9, DAY),
            (11, 1, 9, DAY),
            (3, 10, 20, 2 * DAY),
            (9, 1, 20, 2 * DAY),
        ]);
        let due = DAY + 3 * DAY + HOUR;
        // The same database twice is once too often.
        assert_eq!(deletion(next(&catalog, due - 1)), [id(0, 1, 1)]);
        catalog.remove(id(0, 1, 1));
        assert_eq!(next(&catalog, due - 1), Next::At(Timestamp(NOW + due)));
        for expected in [vec![id(9, 1, 1)], vec![id(3, 2, 9), id(10, 2, 9), id(11, 1, 1)]] {
            let expired = deletion(next(&catalog, due));
            assert_eq!(expired, expected);
            expired.into_iter().for_each(|id| catalog.remove(id));
        }
        assert_eq!(next(&catalog, due), Next::At(Timestamp(NOW + due + DAY)));
    }

    /// A raw segment too long for a bundle stays; what was made of it and has gone up is not made again.
    #[test]
    fn what_a_higher_level_holds_is_not_merged_again() {
        let objects = [
            (9, 1, 1, 0),
            (0, 2, 3, 0),
            (1, 2, 3, 0),
            (2, 2, 3, 0),
            (3, 2, 3, 0),
        ];
        let mut catalog = catalog(&objects);
        catalog.get_mut(id(0, 2, 3)).unwrap().size = 5 * 1024 * 1024;
        assert_eq!(deletion(next(&catalog, HOUR)), [id(1, 2, 3)]);
        catalog.remove(id(1, 2, 3));
        assert_eq!(next(&catalog, HOUR), Next::Never);
    }

    /// What expires is not merged first.
    #[test]
    fn what_has_expired_is_only_deleted() {
        let catalog = catalog(&[(9, 1, 4, 0), (0, 3, 3, 0), (0, 4, 4, 0), (0, 5, 5, 0)]);
        assert_eq!(compaction(next(&catalog, 3 * DAY + HOUR)), (1, vec![5]));
    }

    /// Does what is due until nothing is; what was deleted stays so.
    fn settle(catalog: &mut Catalog, policy: &Policy, now: Timestamp, deleted: &mut BTreeSet<SegmentId>) {
        let objects = catalog.iter().count();
        let bound = objects * (2 * policy.levels.len() + 3);
        let sum = |inputs: &[SegmentInfo]| inputs.iter().map(|input| input.size).sum();
        for step in 0.. {
            assert!(step <= bound, "{step} chores of {objects} objects");
            let (level, inputs) = match next_chore(catalog, policy, now) {
                Next::Now(Chore::Compact { level, inputs }) => (level, inputs),
                Next::Now(Chore::Bundle(members)) => {
                    for member in &members {
                        catalog.get_mut(member.id).unwrap().bundled = Some(now);
                    }
                    (Level::HISTORY, members)
                }
                Next::Now(Chore::Delete(ids)) => {
                    assert!(!ids.is_empty());
                    for id in ids {
                        assert!(catalog.get(id).is_some());
                        catalog.remove(id);
                        deleted.insert(id);
                    }
                    continue;
                }
                Next::At(time) => return assert!(time > now),
                Next::Never => return,
            };
            let (first, last) = (inputs[0].id, inputs[inputs.len() - 1].id);
            let merged = SegmentInfo {
                id: SegmentId::new(level, first.min, last.max).unwrap(),
                size: sum(&inputs),
                timestamp: Some(now),
            };
            assert!(!deleted.contains(&merged.id), "{} was deleted", merged.id);
            catalog.add(merged, now);
        }
    }

    prop_compose! {
        fn policies()(
            levels in prop::sample::select(vec![vec![30, 300, 3600], vec![5], vec![5, 10, 20, 40], vec![]]),
            retention in prop::sample::select(vec![0, 3600, 3 * 3600]),
            retention_enabled in prop::bool::weighted(0.9),
            raw_retention in prop::sample::select(vec![0, 60]),
            history_window in prop::sample::select(vec![0, 10, 300, 7200]),
            bundled_bytes in prop::sample::select(vec![0, 4096, 1 << 20]),
            grace in prop::sample::select(vec![0, 60, 1800]),
        ) -> Policy {
            let seconds = Duration::from_secs;
            Policy {
                levels: levels.into_iter().map(seconds).collect(),
                retention: seconds(retention),
                retention_enabled,
                raw_retention: seconds(raw_retention),
                history_window: seconds(history_window),
                bundle_bytes: 16 * 1024,
                bundled_bytes,
                grace: seconds(grace),
                ..Policy::default()
            }
        }
    }

    proptest! {
        /// From whatever is there, however long it goes on: overlapping, with holes, damaged, by another's hand.
        #[test]
        fn chores_end_and_make_nothing_again(
            policy in policies(),
            found in vec(
                (0u8..=11, 1u64..24, 0u64..8, -8 * HOUR..MINUTE, prop::bool::weighted(0.1), any::<bool>()),
                0..30,
            ),
            coming in vec(
                (0..2 * HOUR, vec((1u64..3, prop::sample::select(vec![500u64, 6000, 1 << 21])), 0..12), any::<bool>()),
                1..8,
            ),
        ) {
            let mut catalog = Catalog::default();
            for (level, min, more, time, damaged, is_bundled) in found {
                let (id, time) = (id(level, if level == 9 { 1 } else { min }, min + more), Timestamp(NOW + time));
                catalog.add(SegmentInfo { id, size: 1000 * min, timestamp: Some(time) }, time);
                let entry = catalog.get_mut(id).unwrap();
                entry.damaged = damaged;
                entry.bundled = (is_bundled && level == 0).then_some(time);
            }
            let (mut now, mut deleted) = (NOW, BTreeSet::new());
            let mut newest = catalog.newest().0;
            for (later, raw, is_snapshot) in coming {
                now += later;
                for (txids, size) in raw {
                    let id = id(0, newest + 1, newest + txids);
                    newest += txids;
                    catalog.add(SegmentInfo { id, size, timestamp: Some(Timestamp(now)) }, Timestamp(now - later / 2));
                }
                if is_snapshot && newest > 0 {
                    let timestamp = Some(Timestamp(now));
                    catalog.add(SegmentInfo { id: id(9, 1, newest), size: 9, timestamp }, Timestamp(now));
                }
                settle(&mut catalog, &policy, Timestamp(now), &mut deleted);
            }
        }
    }
}
