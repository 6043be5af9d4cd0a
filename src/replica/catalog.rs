//! What is known of a replica's objects by who keeps it.

use std::collections::BTreeMap;

use super::{Level, SegmentId, SegmentInfo};
use crate::ltx::{Timestamp, Txid};

/// The objects of a replica at every level and on every shelf, as far as its keeper knows them.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    objects: BTreeMap<SegmentId, Entry>,
}

/// What is known of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its length in bytes.
    pub size: u64,
    /// Its time, where it is known.
    pub timestamp: Option<Timestamp>,
    /// When it was first known to be there.
    pub since: Timestamp,
    /// A raw segment: since when a bundle holds it, too.
    pub bundled: Option<Timestamp>,
    /// It was found to be damaged, or gone: nothing is made of it.
    pub damaged: bool,
}

impl Catalog {
    /// Takes an object that is there `since` then. What is known already stands.
    pub fn add(&mut self, object: SegmentInfo, since: Timestamp) {
        let entry = self.objects.entry(object.id).or_insert(Entry {
            size: object.size,
            timestamp: None,
            since,
            bundled: None,
            damaged: false,
        });
        entry.timestamp = entry.timestamp.or(object.timestamp);
    }

    /// Forgets an object that is gone.
    pub fn remove(&mut self, id: SegmentId) {
        self.objects.remove(&id);
    }

    /// One object.
    pub fn get(&self, id: SegmentId) -> Option<&Entry> {
        self.objects.get(&id)
    }

    /// One object, to note what was learnt of it.
    pub fn get_mut(&mut self, id: SegmentId) -> Option<&mut Entry> {
        self.objects.get_mut(&id)
    }

    /// Everything, level by level.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (SegmentId, &Entry)> {
        self.objects.iter().map(|(&id, entry)| (id, entry))
    }

    /// The objects of a level, ascending.
    pub fn level(&self, level: Level) -> impl DoubleEndedIterator<Item = (SegmentId, &Entry)> {
        self.beyond(level, Txid::ZERO)
    }

    /// Those of them that start at `min` or after.
    pub fn beyond(&self, level: Level, min: Txid) -> impl DoubleEndedIterator<Item = (SegmentId, &Entry)> {
        let first = SegmentId {
            level,
            min,
            max: Txid::ZERO,
        };
        let last = SegmentId {
            level,
            min: Txid(u64::MAX),
            max: Txid(u64::MAX),
        };
        self.objects.range(first..=last).map(|(&id, entry)| (id, entry))
    }

    /// Whole databases, at whatever level, in no order.
    pub fn wholes(&self) -> impl Iterator<Item = (SegmentId, &Entry)> {
        Level::all().flat_map(|level| {
            let starts = self.level(level);
            starts.take_while(|(id, _)| is_whole(*id))
        })
    }

    /// The object of a level that holds all that `id` holds.
    pub fn cover(&self, level: Level, id: SegmentId) -> Option<(SegmentId, &Entry)> {
        let last = SegmentId {
            level,
            min: id.min,
            max: Txid(u64::MAX),
        };
        let first = SegmentId {
            level,
            min: Txid::ZERO,
            max: Txid::ZERO,
        };
        let (&found, entry) = self.objects.range(first..=last).next_back()?;
        (found.max >= id.max && !entry.damaged).then_some((found, entry))
    }

    /// The last transaction that any segment holds.
    pub fn newest(&self) -> Txid {
        let levels = Level::all().filter_map(|level| self.frontier(level));
        levels.max().unwrap_or(Txid::ZERO)
    }

    /// The last transaction of a level.
    pub fn frontier(&self, level: Level) -> Option<Txid> {
        self.level(level).map(|(id, _)| id.max).max()
    }
}

/// Whether it holds a whole database.
pub(super) fn is_whole(id: SegmentId) -> bool {
    id.min == Txid::FIRST && id.level <= Level::SNAPSHOT
}
