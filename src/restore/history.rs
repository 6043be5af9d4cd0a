//! The states between the levels: the raw segments of the past, as they lie in bundles.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::lock::Mutex;

use crate::ltx::{Timestamp, Txid};
use crate::replica::{BundleEnd, BundleWriter, Level, Member, SegmentId, SegmentInfo, Target, bundle_end};
use crate::store::{Body, Error, Result, Store};

/// What is read of a bundle at once: its members are small, and neighbours are wanted together.
const BLOCK: u64 = 2 * 1024 * 1024;
/// So many of these are kept.
const BLOCKS: usize = 8;

/// A replica as seen by who wants one state of it: beside its segments, the listing has those members of bundles that
/// lead closer to it. They are named by their transactions, at [`Level::HISTORY`].
///
/// The newest state is at the levels: no bundle is looked at for it, unless something else is gone.
pub struct History<'a> {
    store: &'a dyn Store,
    target: Target,
    is_excluded: Box<dyn Fn(SegmentId) -> bool + 'a>,
    /// Where members are: their bundles, and the places in these.
    members: RefCell<BTreeMap<SegmentId, (SegmentInfo, Member)>>,
    blocks: Mutex<Vec<Block>>,
}

struct Block {
    bundle: SegmentId,
    start: u64,
    bytes: Bytes,
}

impl std::fmt::Debug for History<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl<'a> History<'a> {
    /// Toward a state.
    pub fn new(store: &'a dyn Store, target: Target) -> Self {
        Self::without(store, target, |_| false)
    }

    /// The same, where some segments are known to be of no use: the bundles that hold what they hold are looked for.
    pub fn without(
        store: &'a dyn Store,
        target: Target,
        is_excluded: impl Fn(SegmentId) -> bool + 'a,
    ) -> Self {
        Self {
            store,
            target,
            is_excluded: Box::new(is_excluded),
            members: RefCell::default(),
            blocks: Mutex::default(),
        }
    }

    /// Opens bundles, oldest first, for as long as they lead on.
    async fn open_bundles(&self, segments: &mut Vec<SegmentInfo>, after: Txid) -> Result<()> {
        let mut reach = self.reach(segments, after);
        let goal = match self.target {
            Target::Latest => segments.iter().map(|segment| segment.id.max).max(),
            Target::Txid(txid) => Some(txid),
            Target::Time(_) => None,
        };
        if goal.is_some_and(|goal| reach >= goal) || segments.is_empty() {
            return Ok(());
        }
        for bundle in self.store.list(Level::HISTORY, reach).await? {
            if bundle.id.max <= reach {
                continue;
            }
            if goal.is_some_and(|goal| bundle.id.min > goal || reach >= goal) {
                break;
            }
            let members = match members(self.store, bundle).await {
                Ok(members) => members,
                // Deleted while we look: what it held is expired.
                Err(Error::NotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            let mut beyond = false;
            for member in members {
                let id = SegmentId {
                    level: Level::HISTORY,
                    ..member.id
                };
                beyond |= matches!(self.target, Target::Time(time) if member.timestamp > time);
                if id.max <= after || (self.is_excluded)(id) {
                    continue;
                }
                self.members.borrow_mut().insert(id, (bundle, member));
                segments.push(SegmentInfo {
                    id,
                    size: member.size,
                    timestamp: Some(member.timestamp),
                });
            }
            let before = reach;
            reach = self.reach(segments, after);
            if beyond || reach == before {
                break;
            }
        }
        Ok(())
    }

    /// How far segments lead toward the target.
    fn reach(&self, segments: &[SegmentInfo], after: Txid) -> Txid {
        let within = |segment: &&SegmentInfo| match self.target {
            Target::Latest => true,
            Target::Txid(txid) => segment.id.max <= txid,
            Target::Time(time) => segment.timestamp.is_some_and(|timestamp| timestamp <= time),
        };
        let mut usable: Vec<&SegmentInfo> = segments.iter().filter(within).collect();
        usable.sort_by_key(|segment| segment.id.min);
        usable.iter().fold(after, |reach, segment| {
            if reach.next().is_some_and(|next| segment.id.min <= next) {
                reach.max(segment.id.max)
            } else {
                reach
            }
        })
    }

    async fn read_member(&self, bundle: SegmentInfo, range: Range<u64>) -> Result<Bytes> {
        // One after the other: who waits finds the block that another has fetched.
        let mut blocks = self.blocks.lock().await;
        let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        let mut out = BytesMut::with_capacity(len);
        let mut at = range.start;
        while at < range.end {
            let start = at.saturating_sub(at % BLOCK);
            let end = start.saturating_add(BLOCK).min(bundle.size);
            let known = blocks
                .iter()
                .position(|block| block.bundle == bundle.id && block.start == start);
            let block = match known {
                Some(place) => blocks.remove(place),
                None => Block {
                    bundle: bundle.id,
                    start,
                    bytes: self.store.read(bundle.id, start..end).await?,
                },
            };
            let take = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
            let piece = block.bytes.get(take(at)..take(range.end.min(end)));
            out.extend_from_slice(piece.ok_or_else(|| Error::OutOfRange(format!("bundle {}", bundle.id)))?);
            blocks.push(block);
            if blocks.len() > BLOCKS {
                blocks.remove(0);
            }
            at = end;
        }
        Ok(out.freeze())
    }

    /// Tells which segments are at or before `time`, where a listing does not: times ascend with transactions, so that a
    /// few need to be asked.
    async fn tell_times(&self, segments: &mut Vec<SegmentInfo>, time: Timestamp) -> Result<()> {
        if segments.iter().all(|segment| segment.timestamp.is_some()) {
            return Ok(());
        }
        segments.sort_by_key(|segment| segment.id.max);
        let mut low = 0;
        let mut high = segments.len();
        let (mut at_or_before, mut later) = (time, Timestamp(time.0.saturating_add(1)));
        while low < high {
            let middle = low.midpoint(high);
            let Some(segment) = segments.get(middle).copied() else {
                break;
            };
            let timestamp = match segment.timestamp {
                Some(timestamp) => Some(timestamp),
                None => match self.store.stat(segment.id).await? {
                    Some(found) => Some(self.time_of(found).await?),
                    None => None,
                },
            };
            match timestamp {
                // Deleted while we look.
                None => {
                    segments.remove(middle);
                    high = high.saturating_sub(1);
                }
                Some(timestamp) if timestamp <= time => {
                    at_or_before = timestamp;
                    low = middle.saturating_add(1);
                }
                Some(timestamp) => {
                    later = timestamp;
                    high = middle;
                }
            }
        }
        for (number, segment) in segments.iter_mut().enumerate() {
            let told = if number < low { at_or_before } else { later };
            segment.timestamp = segment.timestamp.or(Some(told));
        }
        Ok(())
    }

    async fn time_of(&self, segment: SegmentInfo) -> Result<Timestamp> {
        if let Some(timestamp) = segment.timestamp {
            return Ok(timestamp);
        }
        let len = crate::ltx::Header::LEN as u64;
        let head = self.store.read(segment.id, 0..len.min(segment.size)).await?;
        let header = head.first_chunk().map(crate::ltx::Header::parse);
        match header {
            Some(Ok(header)) => Ok(header.timestamp),
            _ => Err(Error::Protocol(format!(
                "segment {} is damaged: it has no header",
                segment.id
            ))),
        }
    }
}

/// What a bundle holds, from its last bytes.
pub async fn members(store: &dyn Store, bundle: SegmentInfo) -> Result<Vec<Member>> {
    let (id, size) = (bundle.id, bundle.size);
    let invalid = |why: &dyn std::fmt::Display| Error::Protocol(format!("bundle {id}: {why}"));
    let mut len = BundleWriter::TAIL;
    for _ in 0..2 {
        let tail = store.read(id, size.saturating_sub(len)..size).await?;
        match bundle_end(&tail, id, size).map_err(|error| invalid(&error))? {
            BundleEnd::Members(members) => return Ok(members),
            BundleEnd::Need(need) => len = need,
        }
    }
    Err(invalid(&"its index has no end"))
}

#[async_trait(?Send)]
impl Store for History<'_> {
    async fn list(&self, level: Level, after: Txid) -> Result<Vec<SegmentInfo>> {
        self.store.list(level, after).await
    }

    async fn list_all(&self, after: Txid) -> Result<Vec<SegmentInfo>> {
        let mut segments = self.store.list_all(after).await?;
        segments.retain(|segment| !(self.is_excluded)(segment.id));
        if let Target::Time(time) = self.target {
            self.tell_times(&mut segments, time).await?;
        }
        self.open_bundles(&mut segments, after).await?;
        Ok(segments)
    }

    async fn stat(&self, id: SegmentId) -> Result<Option<SegmentInfo>> {
        let member = self.members.borrow().get(&id).copied();
        match member {
            Some((_, member)) => Ok(Some(SegmentInfo {
                id,
                size: member.size,
                timestamp: Some(member.timestamp),
            })),
            None => self.store.stat(id).await,
        }
    }

    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        let member = self.members.borrow().get(&id).copied();
        let Some((bundle, member)) = member else {
            return self.store.read(id, range).await;
        };
        if range.start > range.end || range.end > member.size {
            return Err(Error::OutOfRange(format!("segment {id}")));
        }
        let at = |place: u64| member.offset.saturating_add(place);
        self.read_member(bundle, at(range.start)..at(range.end)).await
    }

    async fn create(&self, id: SegmentId, body: &dyn Body) -> Result<()> {
        self.store.create(id, body).await
    }

    async fn delete(&self, id: SegmentId) -> Result<()> {
        self.store.delete(id).await
    }
}
