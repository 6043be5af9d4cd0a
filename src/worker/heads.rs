//! Heads, read from R2.
//!
//! What an isolate remembers is only where to start reading: every use lists R2 from there on, and starts over
//! if the remembered segment is gone. (A Durable Object a database will hold the head instead.)

use std::cell::RefCell;
use std::collections::HashMap;

use super::failure::Failure;
use super::head::Head;
use super::listing::MAX_PAGE;
use super::r2::{R2Store, Times, key_before};
use super::route::Db;
use crate::ltx::Header;
use crate::replica::{Level, SegmentId, SegmentInfo};
use crate::store;

/// Pages of one request: below the 50 requests that the free plan allows. The next request goes on from there.
const MAX_PAGES: usize = 40;
/// Databases to remember; some hundred bytes each.
const MAX_KNOWN: usize = 1000;

thread_local! {
    static KNOWN: RefCell<HashMap<Db, Known>> = RefCell::default();
}

/// What was seen of a database.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    level_0: Tally,
    /// After the last complete reading.
    head: Option<Head>,
}

/// Segments from `first` to `last`.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    first: Option<SegmentId>,
    last: Option<SegmentId>,
    segments: u64,
    bytes: u64,
}

/// Why there is no head.
#[derive(Debug)]
pub(super) enum NoHead {
    /// Two segments of level 0 overlap: two writers at once. One of them may be about to withdraw.
    Forked(SegmentId, SegmentId),
    /// A segment that was there is not: the replica was changed behind our back.
    Changed,
    /// R2 could not be asked, or not to the end.
    Unseen(Failure),
}

/// The head as it was when this isolate last looked; nothing to rely on.
pub(super) fn hint(db: &Db) -> Option<Head> {
    KNOWN.with_borrow(|known| known.get(db).and_then(|known| known.head))
}

/// Forgets what was seen of a database.
pub(super) fn forget(db: &Db) {
    KNOWN.with_borrow_mut(|known| known.remove(db));
}

/// The head as R2 has it now.
pub(super) async fn read(store: &R2Store) -> Result<Head, NoHead> {
    let seen = match walk(store, level_0(store.db()).unwrap_or_default(), &[]).await {
        Err(NoHead::Changed) => walk(store, Tally::default(), &[]).await?,
        seen => seen?,
    };
    let mut head = Head::EMPTY;
    for &tip in &seen.tips {
        head = Head::at(tip, &store.header(tip).await?);
        // Of several that end there, the one that carries the sum of its state tells more.
        if head.position.sum.is_some() {
            break;
        }
    }
    Ok(seen.keep(store.db(), head))
}

/// The head after a segment with this header was created on top of `base`; [`NoHead::Changed`] if the two are not
/// part of one history. Costs one request where [`read`] takes two.
pub(super) async fn read_after_creation(
    store: &R2Store,
    base: Option<SegmentId>,
    created: SegmentId,
    header: &Header,
) -> Result<Head, NoHead> {
    let start = level_0(store.db()).filter(|level_0| level_0.last == base);
    let must: Vec<SegmentId> = base.into_iter().chain([created]).collect();
    let seen = walk(store, start.unwrap_or_default(), &must).await?;
    let head = Head::at(created, header);
    if created.level != Level::RAW && !seen.starts_with(created) {
        Err(NoHead::Changed)
    } else if seen.tips.contains(&created) {
        Ok(seen.keep(store.db(), head))
    } else if seen.tips.iter().any(|tip| tip.level == Level::RAW) {
        // It was built upon already: an earlier attempt's answer came late.
        Ok(head)
    } else {
        Err(NoHead::Changed)
    }
}

fn level_0(db: &Db) -> Option<Tally> {
    KNOWN.with_borrow(|known| known.get(db).map(|known| known.level_0))
}

fn remember(db: &Db, seen: Known) {
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= MAX_KNOWN && !known.contains_key(db) {
            known.clear();
        }
        known.insert(db.clone(), seen);
    });
}

/// All of a replica's segments, as one listing told.
#[derive(Debug, Default)]
struct Seen {
    level_0: Tally,
    others: Tally,
    /// Those that end at the newest transaction, the lowest level first.
    tips: Vec<SegmentId>,
}

/// Lists what comes after `level_0`, and all of the other levels; these segments must be among it.
async fn walk(store: &R2Store, level_0: Tally, must: &[SegmentId]) -> Result<Seen, NoHead> {
    let mut missing = must.to_vec();
    let mut expected = level_0.last;
    let mut start = expected.map(|last| key_before(Level::RAW, last.min));
    let mut seen = Seen {
        level_0,
        ..Seen::default()
    };
    for _ in 0..MAX_PAGES {
        let page = store
            .page(None, start.as_deref(), MAX_PAGE, Times::Untold)
            .await?;
        for segment in page.segments {
            missing.retain(|&id| id != segment.id);
            match expected.take() {
                Some(last) if last != segment.id => return Err(NoHead::Changed),
                Some(_) => {}
                None if segment.id.level == Level::RAW => seen.level_0.add_next(&segment)?,
                None => seen.others.add(&segment),
            }
            seen.reach(segment.id);
        }
        start = page.next;
        if start.is_none() {
            return if expected.is_none() && missing.is_empty() {
                Ok(seen)
            } else {
                Err(NoHead::Changed)
            };
        }
        let (level_0, head) = (seen.level_0, hint(store.db()));
        remember(store.db(), Known { level_0, head });
    }
    let message = "The replica has so many segments that finding its head takes several requests; try again.";
    Err(NoHead::Unseen(Failure::passing("replica_large", message)))
}

impl Seen {
    fn reach(&mut self, id: SegmentId) {
        let newest = self.tips.first().map(|tip| tip.max);
        if newest.is_none_or(|newest| newest < id.max) {
            self.tips.clear();
        }
        if newest.is_none_or(|newest| newest <= id.max) {
            self.tips.push(id);
        }
    }

    /// Whether a snapshot is the only one, and level 0 goes on from it.
    fn starts_with(&self, snapshot: SegmentId) -> bool {
        let goes_on = |first: SegmentId| first.min > snapshot.max;
        self.others.segments == 1 && self.level_0.first.is_none_or(goes_on)
    }

    /// Remembers it, with the head that it gave.
    fn keep(self, db: &Db, mut head: Head) -> Head {
        head.segments = self.level_0.segments.saturating_add(self.others.segments);
        head.bytes = self.level_0.bytes.saturating_add(self.others.bytes);
        let level_0 = self.level_0;
        remember(
            db,
            Known {
                level_0,
                head: Some(head),
            },
        );
        head
    }
}

impl Tally {
    fn add(&mut self, segment: &SegmentInfo) {
        self.segments = self.segments.saturating_add(1);
        self.bytes = self.bytes.saturating_add(segment.size);
        self.first = self.first.or(Some(segment.id));
        self.last = Some(segment.id);
    }

    /// Adds the next segment of level 0. If two overlap, nobody here can tell which is right.
    fn add_next(&mut self, segment: &SegmentInfo) -> Result<(), NoHead> {
        match self.last {
            Some(last) if segment.id.min <= last.max => Err(NoHead::Forked(last, segment.id)),
            _ => {
                self.add(segment);
                Ok(())
            }
        }
    }
}

impl From<store::Error> for NoHead {
    fn from(error: store::Error) -> Self {
        Self::Unseen(error.into())
    }
}

impl From<NoHead> for Failure {
    fn from(no_head: NoHead) -> Self {
        match no_head {
            NoHead::Unseen(failure) => failure,
            NoHead::Changed => Self::passing("replica_changing", "The replica is being changed; try again."),
            NoHead::Forked(one, other) => Self::passing(
                "replica_forked",
                format!(
                    "The replica has two histories: segments {one} and {other} overlap, left by two writers at \
                     once. If this lasts, delete the one that is wrong from the bucket."
                ),
            ),
        }
    }
}
