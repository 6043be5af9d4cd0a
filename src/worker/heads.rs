//! Heads, read from R2.
//!
//! What an isolate remembers is only where to start reading: every use lists R2 from there on, and starts over
//! if the remembered segment is gone. (A Durable Object a database will hold the head instead.)

use std::cell::RefCell;
use std::collections::HashMap;

use super::failure::Failure;
use super::head::Head;
use super::listing::MAX_PAGE;
use super::r2::{Entry, R2Store, key_before};
use super::route::Db;
use crate::replica::{Level, SegmentId};
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

/// Level 0 up to its segment `last`: the part that is not listed again.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    last: Option<SegmentId>,
    segments: u64,
    bytes: u64,
}

/// Why there is no head.
#[derive(Debug)]
pub(super) enum NoHead {
    /// Two segments of level 0 overlap: two writers at once. One of them may be about to withdraw.
    Forked(SegmentId, SegmentId),
    /// The remembered segment is not there: the replica was changed behind our back.
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
    let known = KNOWN.with_borrow(|known| known.get(store.db()).map(|known| known.level_0));
    match walk(store, known.unwrap_or_default(), None).await {
        Err(NoHead::Changed) => walk(store, Tally::default(), None).await,
        result => result,
    }
}

/// The same, after something was built on the segment `base`: [`NoHead::Changed`] if that is not there.
pub(super) async fn read_past(store: &R2Store, base: Option<SegmentId>) -> Result<Head, NoHead> {
    let known = KNOWN.with_borrow(|known| known.get(store.db()).map(|known| known.level_0));
    let known = known.filter(|known| known.last == base);
    walk(store, known.unwrap_or_default(), base).await
}

/// Lists what comes after `level_0`, and all of the other levels; `base` must be among it.
async fn walk(store: &R2Store, mut level_0: Tally, mut base: Option<SegmentId>) -> Result<Head, NoHead> {
    let mut expected = level_0.last;
    let mut others = Tally::default();
    let mut tip: Option<Entry> = None;
    let mut start = expected.map(|last| key_before(Level::RAW, last.min));
    for _ in 0..MAX_PAGES {
        let page = store
            .page(None, start.as_deref(), MAX_PAGE)
            .await
            .map_err(NoHead::unseen)?;
        for entry in page.entries {
            base = base.filter(|&base| base != entry.id);
            match expected.take() {
                Some(last) if last != entry.id => return Err(NoHead::Changed),
                Some(_) => {}
                None if entry.id.level == Level::RAW => level_0.add_next(&entry)?,
                None => others.add(&entry),
            }
            if tip.as_ref().is_none_or(|tip| reaches_further(&entry, tip)) {
                tip = Some(entry);
            }
        }
        start = page.next;
        if start.is_none() {
            break;
        }
        remember(
            store.db(),
            Known {
                level_0,
                head: hint(store.db()),
            },
        );
    }
    if start.is_some() {
        let message =
            "The replica has so many segments that finding its head takes several requests; try again.";
        return Err(NoHead::Unseen(Failure::passing("replica_large", message)));
    }
    if expected.is_some() || base.is_some() {
        return Err(NoHead::Changed);
    }
    let mut head = match tip {
        None => Head::EMPTY,
        Some(tip) => {
            let header = store.header(&tip).await.map_err(NoHead::unseen)?;
            Head::at(tip.id, &header)
        }
    };
    head.segments = level_0.segments.saturating_add(others.segments);
    head.bytes = level_0.bytes.saturating_add(others.bytes);
    remember(
        store.db(),
        Known {
            level_0,
            head: Some(head),
        },
    );
    Ok(head)
}

/// Of two that end at the same transaction, the one that carries the sum of its state tells more.
fn reaches_further(entry: &Entry, tip: &Entry) -> bool {
    let has_sums = |entry: &Entry| entry.header().is_some_and(|header| header.sums.is_some());
    entry.id.max > tip.id.max || (entry.id.max == tip.id.max && has_sums(entry) && !has_sums(tip))
}

fn remember(db: &Db, seen: Known) {
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= MAX_KNOWN && !known.contains_key(db) {
            known.clear();
        }
        known.insert(db.clone(), seen);
    });
}

impl Tally {
    fn add(&mut self, entry: &Entry) {
        self.segments = self.segments.saturating_add(1);
        self.bytes = self.bytes.saturating_add(entry.info().size);
    }

    /// Adds the next segment of level 0. If two overlap, nobody here can tell which is right.
    fn add_next(&mut self, entry: &Entry) -> Result<(), NoHead> {
        if let Some(last) = self.last.filter(|last| entry.id.min <= last.max) {
            return Err(NoHead::Forked(last, entry.id));
        }
        self.add(entry);
        self.last = Some(entry.id);
        Ok(())
    }
}

impl NoHead {
    fn unseen(error: store::Error) -> Self {
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
