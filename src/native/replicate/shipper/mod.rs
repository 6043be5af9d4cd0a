//! One replica of a followed database: what it has confirmed, what waits to be sent to it, what is still to be cut.
//!
//! Every change goes one way: frames of the WAL are *seen*, either by a [`Cut`] that reads their pages, or, when the WAL
//! must go on and there is no room for a segment, by noting in `dirty` which pages they changed. A segment that is cut
//! waits in the queue; its front is on its way; what the replica confirms moves the page-sum table.

mod asking;
mod cutting;
mod sending;
mod snapshots;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::cut::{Cut, Segment, table};
use super::owner::Identity;
use super::pace::Allowance;
use super::page_set::PageSet;
use super::page_sums::PageSums;
use super::resume::{Standing, nothing};
use super::snapshot::Snapshot;
use super::state::{Mark, Marks, ReplicaState, WalMark};
use super::{Error, Replica};
use crate::ltx::{DbSum, PageSize, Timestamp, Txid};
use crate::native::clock::Clock;
use crate::native::sqlite::Held;
use crate::native::status::ReplicaStatus;
use crate::native::upkeep;
use crate::replica::SegmentInfo;
use crate::store::{self, Body};

/// When a replica that failed is tried again while others go on.
const RETRY: Duration = Duration::from_secs(60);

/// What comes back from the destination.
pub(super) enum News {
    /// What it holds.
    Standing(Result<Standing, Error>),
    /// The front of the queue is there, or why not.
    Uploaded(store::Result<()>),
    /// A snapshot and its page-sum table are there, or why not.
    Snapshot(store::Result<[SegmentInfo; 2]>),
    /// The page-sum table of the first segment is there, or why not.
    Sums(store::Result<SegmentInfo>),
    /// It stands elsewhere than we thought, and why.
    Refused(Error),
    /// It may be asked again.
    Retry,
}

/// Work that waits for the destination.
pub(super) type Task = LocalBoxFuture<'static, News>;

/// What makes a cut necessary before its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Urge {
    /// The last wish that everything be shipped now; wishes are numbered.
    pub(super) wish: u64,
    /// The WAL is longer than it may be.
    pub(super) over_limit: bool,
}

/// How much may wait, and how much is done at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) segments: usize,
    pub(super) bytes: u64,
    pub(super) slice: usize,
}

#[derive(Debug)]
enum Phase {
    /// The replica is asked what it holds. Nothing in the WAL is worth guarding for it: the end of that is a proof
    /// that the WAL still holds all it lacks, or a comparison.
    Asking,
    Following,
    Failed(Error),
}

/// A snapshot under way.
#[derive(Debug)]
struct Snapshotting {
    snapshot: Snapshot,
    /// The sum of its state, once that is known.
    expected: Option<DbSum>,
    is_read: bool,
}

/// A segment in the queue.
#[derive(Debug)]
struct Waiting {
    segment: Rc<Segment>,
    /// When its oldest commit was seen.
    since: Timestamp,
}

pub(super) struct Shipper {
    replica: Replica,
    clock: Clock,
    limits: Limits,
    upkeep: Option<upkeep::Handle>,
    snapshot: Option<Snapshotting>,
    is_sending_snapshot: bool,
    next_snapshot: Instant,
    /// Told when a snapshot is due.
    snapshot_due: Rc<Notify>,
    /// Work for the destination besides segments.
    outbox: Vec<Task>,
    identity: Rc<Identity>,
    state: Rc<ReplicaState>,
    sums: Rc<PageSums>,
    page_size: PageSize,
    phase: Phase,
    /// The state that the replica has confirmed; the page-sum table describes it.
    confirmed: Mark,
    /// The oldest first.
    queue: VecDeque<Waiting>,
    sending_since: Option<Instant>,
    cut: Option<Cut>,
    /// Pages that may differ from the newest state that was cut, as far as the WAL is seen.
    dirty: PageSet,
    /// Up to where in the WAL every change is cut, being cut, or dirty; the pin guards what comes after.
    seen: WalMark,
    /// The size of the database there.
    seen_commit: u32,
    /// When the oldest commit was seen that no segment holds.
    unshipped_since: Option<Timestamp>,
    /// Up to where this replica does not need the WAL.
    held: Held,
    allowance: Allowance,
    /// The last wish that a cut has taken up, and the transaction that fulfils it.
    granted: (u64, Txid),
}

impl Shipper {
    pub(super) fn new(
        replica: Replica,
        identity: Rc<Identity>,
        state: ReplicaState,
        page_size: PageSize,
        limits: Limits,
        clock: Clock,
        snapshot_due: Rc<Notify>,
    ) -> Result<Self, Error> {
        let sums = PageSums::open(&state.page_sums()).map_err(table)?;
        let allowance = Allowance::new(replica.options.sync_interval);
        Ok(Self {
            replica,
            clock,
            limits,
            upkeep: None,
            snapshot: None,
            is_sending_snapshot: false,
            next_snapshot: Instant::now(),
            snapshot_due,
            outbox: Vec::new(),
            identity,
            state: Rc::new(state),
            sums: Rc::new(sums),
            page_size,
            phase: Phase::Asking,
            confirmed: nothing(),
            queue: VecDeque::new(),
            sending_since: None,
            cut: None,
            dirty: PageSet::default(),
            seen: WalMark::default(),
            seen_commit: 0,
            unshipped_since: None,
            held: Held::default(),
            allowance,
            granted: (0, Txid::ZERO),
        })
    }

    /// Stops here, until it is asked again.
    pub(super) fn fail(&mut self, error: Error) -> Option<Task> {
        tracing::error!(replica = %self.name(), "{error}");
        let status = &self.replica.status;
        status.failure.replace(Some(error.to_string()));
        status.errors.set(status.errors.get().saturating_add(1));
        let retry = error.may_pass();
        self.phase = Phase::Failed(error);
        self.queue.clear();
        self.sending_since = None;
        self.cut = None;
        self.upkeep = None;
        self.snapshot = None;
        self.is_sending_snapshot = false;
        self.outbox.clear();
        self.dirty = PageSet::default();
        retry.then(|| {
            async {
                tokio::time::sleep(RETRY).await;
                News::Retry
            }
            .boxed_local()
        })
    }

    /// Why it stopped.
    pub(super) fn into_failure(self) -> Option<Error> {
        match self.phase {
            Phase::Failed(error) => Some(error),
            _ => None,
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.phase, Phase::Failed(_))
    }

    pub(super) fn is_following(&self) -> bool {
        matches!(self.phase, Phase::Following)
    }

    /// Work for the destination besides segments.
    pub(super) fn take_outbox(&mut self) -> Vec<Task> {
        std::mem::take(&mut self.outbox)
    }

    /// Remembers where we are; that it fails costs a comparison at the next start.
    pub(super) fn save(&self, sent: Option<Mark>) {
        // An empty replica has no state to remember.
        let confirmed = Some(self.confirmed).filter(|mark| mark.commit > 0);
        if let Err(error) = self.state.save(self.page_size, Marks { confirmed, sent }) {
            tracing::warn!(replica = %self.name(), "cannot save the local state, the next start compares all pages: {error}");
        }
    }

    /// Tells how it stands.
    pub(super) fn report(&self) {
        let status: &ReplicaStatus = &self.replica.status;
        let oldest = self.queue.front().map(|waiting| waiting.since);
        status.behind_since.set(oldest.or(self.unshipped_since));
        status.waiting_bytes.set(self.queue_bytes());
    }

    fn note_success(&self) {
        let status = &self.replica.status;
        status.confirmed.set(Some(self.confirmed.position));
        status.last_success.set(Some(self.clock.now()));
        status.failure.replace(None);
    }

    pub(super) fn name(&self) -> &str {
        &self.replica.status.name
    }

    pub(super) fn confirmed(&self) -> Mark {
        self.confirmed
    }

    fn queue_bytes(&self) -> u64 {
        self.queue.iter().map(|waiting| waiting.segment.body.len()).sum()
    }
}
