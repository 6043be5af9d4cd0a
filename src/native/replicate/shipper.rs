//! One replica of a followed database: what it has confirmed, what waits to be sent to it, what is still to be cut.
//!
//! Every change goes one way: frames of the WAL are *seen*, either by a [`Cut`] that reads their pages, or, when the WAL
//! must go on and there is no room for a segment, by noting in `dirty` which pages they changed. A segment that is cut
//! waits in the queue; its front is on its way; what the replica confirms moves the page-sum table.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::cut::{Cut, Order, Segment, table};
use super::frozen::Frozen;
use super::owner::{Claim, Identity, newcomer};
use super::pace::Allowance;
use super::page_set::PageSet;
use super::page_sums::PageSums;
use super::prior::Prior;
use super::resume::{Standing, nothing, read_replica, wal_continues};
use super::snapshot::{self, Snapshot};
use super::state::{Mark, Marks, ReplicaState, WalMark};
use super::upload::upload;
use super::{Error, Replica};
use crate::ltx::{DbSum, PageCrc, PageSize, Pgno, Timestamp, Txid};
use crate::native::clock::Clock;
use crate::native::sqlite::{self, Committed, Held, Source};
use crate::native::staged::{LARGE, SMALL};
use crate::native::status::ReplicaStatus;
use crate::native::upkeep;
use crate::replica::{Level, SegmentInfo};
use crate::store::{self, Body};

/// The pin is not older than this while the database is written: a RESTART or TRUNCATE checkpoint of the application
/// waits for an older one, with the write lock in its hands, and nothing tells us. And it is not moved more often, see
/// [`Source::advance_after`].
pub(super) const PIN_AGE: Duration = Duration::from_millis(125);
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

    /// Asks the replica what it holds.
    pub(super) fn ask(&mut self, claim: Claim) -> Task {
        self.phase = Phase::Asking;
        let (replica, identity, state, sums) = (
            self.replica.clone(),
            Rc::clone(&self.identity),
            Rc::clone(&self.state),
            Rc::clone(&self.sums),
        );
        let (page_size, now) = (self.page_size, self.clock.now());
        let read =
            async move { read_replica(&replica, &state, &sums, page_size, &identity, claim, now).await };
        read.map(News::Standing).boxed_local()
    }

    /// Takes an answer of the destination.
    pub(super) fn hear(&mut self, source: &mut Source, news: News) -> Result<Option<Task>, Error> {
        match news {
            News::Standing(standing) => match standing? {
                Standing::Ours { mark, listing } => {
                    self.keep_up(listing);
                    self.go_on_from(mark, source)?;
                }
                // A copy that was restored elsewhere goes on where its replica stands.
                Standing::Foreign { head, .. } if head.sum == Some(sum_of(source)?) => {
                    return Ok(Some(self.ask(Claim::TakeOver)));
                }
                Standing::Foreign { owner, .. } => {
                    return Err(Error::Owned {
                        replica: self.name().to_owned(),
                        owner: owner.to_string(),
                    });
                }
            },
            News::Uploaded(Err(store @ (store::Error::Exists(_) | store::Error::Conflict { .. }))) => {
                return Ok(Some(self.ask_who_moved_it(store)));
            }
            News::Uploaded(result) => {
                result?;
                self.confirm()?;
            }
            News::Snapshot(result) => {
                self.is_sending_snapshot = false;
                match (result, &self.upkeep) {
                    (Ok(objects), Some(upkeep)) => {
                        tracing::info!(replica = %self.name(), txid = %objects[0].id.max, bytes = objects[0].size, "snapshot");
                        objects
                            .into_iter()
                            .for_each(|object| upkeep.snapshot_done(object));
                    }
                    (Ok(_), None) => {}
                    (Err(error), _) => {
                        tracing::warn!(replica = %self.name(), "cannot ship a snapshot: {error}");
                        self.next_snapshot = Instant::now() + RETRY;
                    }
                }
            }
            News::Sums(Ok(object)) => {
                if let Some(upkeep) = &self.upkeep {
                    upkeep.snapshot_done(object);
                }
            }
            News::Sums(Err(error)) => {
                tracing::warn!(replica = %self.name(), "cannot ship the page-sum table: {error}");
            }
            News::Refused(error) => return Err(error),
            News::Retry => return Ok(Some(self.ask(Claim::IfOurs))),
        }
        Ok(None)
    }

    fn ask_who_moved_it(&self, store: store::Error) -> Task {
        let (replica, identity) = (self.replica.clone(), Rc::clone(&self.identity));
        let ours = self.confirmed.position;
        async move {
            let newcomer = match replica.options.self_kept {
                true => None,
                false => newcomer(&*replica.store, &identity).await,
            };
            News::Refused(match newcomer {
                Some(owner) => Error::TakenOver {
                    replica: replica.status.name.clone(),
                    owner: owner.to_string(),
                },
                None => Error::Moved { ours, store },
            })
        }
        .boxed_local()
    }

    /// Has the replica kept in order from now on.
    fn keep_up(&mut self, listing: Vec<SegmentInfo>) {
        let Some(policy) = self.replica.options.upkeep.clone() else {
            return;
        };
        self.upkeep = Some(upkeep::spawn(
            Rc::clone(&self.replica.store),
            policy,
            self.state.path(),
            self.clock.clone(),
            listing,
            Rc::clone(&self.replica.status),
            Rc::clone(&self.snapshot_due),
        ));
    }

    fn go_on_from(&mut self, mark: Mark, source: &mut Source) -> Result<(), Error> {
        self.confirmed = mark;
        self.phase = Phase::Following;
        self.allowance.now();
        self.note_success();
        let committed = source.committed()?;
        if let Some(wal) = wal_continues(source, &committed, &self.confirmed)? {
            match source.changes(wal.frame, self.confirmed.commit, &committed) {
                Ok(changes) => {
                    self.dirty = changes.iter().map(|(pgno, _)| pgno).collect();
                    self.see(&committed);
                    self.held = wal.held();
                    self.settle();
                    tracing::info!(replica = %self.name(), position = %self.confirmed.position, "going on where the replica stands");
                    return Ok(());
                }
                // Found copied back, the WAL was restarted just now.
                Err(sqlite::Error::Moved(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.compare(source)
    }

    /// Takes every page for one that may differ.
    fn compare(&mut self, source: &mut Source) -> Result<(), Error> {
        let committed = source.committed()?;
        self.dirty = PageSet::all(committed.commit);
        self.see(&committed);
        self.held = Held {
            frame: 0,
            ..self.seen.held()
        };
        tracing::info!(replica = %self.name(), position = %self.confirmed.position, pages = committed.commit, "comparing all pages");
        Ok(())
    }

    /// One round: cuts what is to be cut now, gives the WAL free if it must go on, sends what waits.
    pub(super) fn work(
        &mut self,
        source: &mut Source,
        committed: &Committed,
        urge: Urge,
    ) -> Result<Option<Task>, Error> {
        if !self.is_following() {
            return Ok(None);
        }
        self.notice(committed);
        let wished = urge.wish > self.granted.0;
        // Someone has copied all frames back, and may be waiting for our pin with the write lock in its hands.
        let pressed =
            committed.backfilled == committed.mx_frame && self.allowance.last().elapsed() >= PIN_AGE;
        if self.cut.is_none() {
            if !self.is_behind(committed) {
                let tip = self.tip();
                self.grant(urge.wish, tip.position.txid);
                if self.queue.is_empty() {
                    self.begin_snapshot(source, committed, &tip)?;
                }
            } else if self.queue.is_empty() && (wished || Instant::now() >= self.allowance.next()) {
                self.begin_cut(source, committed, urge)?;
            }
        }
        self.go_on_cutting(source)?;
        self.go_on_with_snapshot(source)?;
        if pressed || urge.over_limit {
            self.release(source, committed, urge)?;
        }
        Ok(self.send())
    }

    /// Gives the whole WAL free: what is not cut becomes a segment in the queue, or dirty if there is no room.
    pub(super) fn release(
        &mut self,
        source: &mut Source,
        committed: &Committed,
        urge: Urge,
    ) -> Result<(), Error> {
        if !self.is_following() {
            return Ok(());
        }
        self.notice(committed);
        let is_time = Instant::now() >= self.allowance.next();
        if self.cut.is_none() && is_time && self.is_behind(committed) && self.has_room() {
            self.begin_cut(source, committed, urge)?;
            self.go_on_cutting(source)?;
        }
        self.fold(source, committed)
    }

    /// Notes which pages changed, and gives the whole WAL free.
    pub(super) fn fold(&mut self, source: &mut Source, committed: &Committed) -> Result<(), Error> {
        if !self.is_following() {
            return Ok(());
        }
        self.notice(committed);
        if self.is_unseen(committed) {
            let changes = source.changes(self.seen.frame, self.seen_commit, committed)?;
            self.dirty.extend(changes.iter().map(|(pgno, _)| pgno));
            self.see(committed);
        }
        self.held = self.seen.held();
        Ok(())
    }

    /// Saves what is still to be read of older states. To be called before the pin moves to `committed`.
    pub(super) fn save_before(&mut self, source: &mut Source, committed: &Committed) -> Result<(), Error> {
        if let Some(cut) = &mut self.cut {
            cut.save_before(source, committed)?;
        }
        if let Some(Snapshotting { snapshot, .. }) = &mut self.snapshot {
            snapshot.save_before(source, committed)?;
        }
        Ok(())
    }

    /// Begins a snapshot of the newest commit, which is the state `mark`, if one is due.
    fn begin_snapshot(
        &mut self,
        source: &mut Source,
        committed: &Committed,
        mark: &Mark,
    ) -> Result<(), Error> {
        let is_due = self.upkeep.as_ref().is_some_and(upkeep::Handle::snapshot_due);
        let is_time = Instant::now() >= self.next_snapshot && mark.position.txid > Txid::FIRST;
        if !is_due || !is_time || self.snapshot.is_some() || self.is_sending_snapshot {
            return Ok(());
        }
        let view = match source.view(committed) {
            // Restarted just now: another time.
            Err(sqlite::Error::Moved(_)) => return Ok(()),
            view => view?,
        };
        let folder = self.state.path().to_owned();
        let wanted = PageSet::all(committed.commit);
        let frozen = Frozen::new(source, committed, view, wanted, folder.clone());
        let snapshot = Snapshot::new(
            frozen,
            committed,
            (mark.position.txid, mark.timestamp),
            (self.page_size, self.replica.options.codec),
            folder,
        )?;
        self.snapshot = Some(Snapshotting {
            snapshot,
            expected: mark.position.sum,
            is_read: false,
        });
        Ok(())
    }

    /// Reads on, after what is to be shipped; sends the snapshot once the replica has its state.
    fn go_on_with_snapshot(&mut self, source: &mut Source) -> Result<(), Error> {
        let Some(under_way) = &mut self.snapshot else {
            return Ok(());
        };
        if self.cut.is_none() && !under_way.is_read {
            under_way.is_read = under_way.snapshot.step(source, self.limits.slice)?;
        }
        let is_there = self.confirmed.position.txid >= under_way.snapshot.txid();
        let Some(expected) = under_way.expected.filter(|_| under_way.is_read && is_there) else {
            return Ok(());
        };
        let Some(Snapshotting { snapshot, .. }) = self.snapshot.take() else {
            return Ok(());
        };
        match snapshot.finish(expected)? {
            Some(made) => {
                self.is_sending_snapshot = true;
                let send = snapshot::send(self.replica.clone(), made);
                self.outbox.push(send.map(News::Snapshot).boxed_local());
            }
            None => {
                tracing::error!(replica = %self.name(), "the database differs from what was shipped of it: comparing all pages");
                self.next_snapshot = Instant::now() + RETRY;
                self.dirty.extend((1..=self.seen_commit).map(Pgno));
            }
        }
        Ok(())
    }

    /// Sends the page-sum table of the first segment.
    fn send_sums(&mut self, first: &Segment) -> Result<(), Error> {
        let header = snapshot::header_of(first, self.page_size);
        let sums = snapshot::sums_object(&first.changed, header, self.state.path())?;
        let (replica, timestamp) = (self.replica.clone(), first.mark.timestamp);
        let send = async move {
            let object = snapshot::create_sums(&replica, header, &sums).await?;
            Ok(SegmentInfo {
                timestamp: Some(timestamp),
                ..object
            })
        };
        self.outbox.push(send.map(News::Sums).boxed_local());
        Ok(())
    }

    /// Drops the segment that is being cut; its pages are compared again.
    pub(super) fn give_up_cut(&mut self, error: &Error) {
        tracing::error!(replica = %self.name(), "the copy is given up and begun anew: {error}");
        self.snapshot = None;
        if self.cut.take().is_some() {
            self.dirty = PageSet::all(self.seen_commit);
        }
    }

    fn begin_cut(&mut self, source: &mut Source, committed: &Committed, urge: Urge) -> Result<(), Error> {
        match self.try_begin_cut(source, committed) {
            Ok(cut) => {
                self.grant(urge.wish, cut.txid());
                let mark = cut.mark();
                self.cut = Some(cut);
                self.begin_snapshot(source, committed, &mark)?;
                self.allowance.spend();
                Ok(())
            }
            // The WAL was restarted between two looks at it, as it may be when all of it is held: the next look tells
            // what is new.
            Err(Error::Database(sqlite::Error::Moved(_))) if !self.is_unseen(committed) => Ok(()),
            Err(Error::Database(sqlite::Error::Moved(_))) => self.compare(source),
            Err(error) => Err(error),
        }
    }

    fn try_begin_cut(&mut self, source: &mut Source, committed: &Committed) -> Result<Cut, Error> {
        let before = self.tip();
        let changes = source.changes(self.seen.frame, self.seen_commit, committed)?;
        let changed = changes.iter().map(|(pgno, _)| pgno);
        let view = if self.dirty.is_empty() {
            self.dirty.extend(changed);
            changes.into_view()
        } else {
            self.dirty.extend(changed);
            source.view(committed)?
        };
        let wanted = std::mem::take(&mut self.dirty);
        self.see(committed);
        let folder = self.state.path().to_owned();
        let frozen = Frozen::new(source, committed, view, wanted, folder.clone());
        let waiting = self
            .queue
            .iter()
            .map(|waiting| Rc::clone(&waiting.segment.changed));
        let is_first = before.position.txid == Txid::ZERO && !self.replica.options.self_kept;
        let order = Order {
            codec: self.replica.options.codec,
            level: if is_first { Level::SNAPSHOT } else { Level::RAW },
            before,
            prior: Prior::new(waiting, &self.sums),
            timestamp: self.clock.now(),
            folder,
            in_memory: if self.queue.is_empty() { LARGE } else { SMALL },
        };
        Cut::new(order, frozen, committed, self.page_size)
    }

    fn go_on_cutting(&mut self, source: &mut Source) -> Result<(), Error> {
        let Some(cut) = &mut self.cut else { return Ok(()) };
        if !cut.step(source, self.limits.slice)? {
            return Ok(());
        }
        let Some(cut) = self.cut.take() else { return Ok(()) };
        let txid = cut.txid();
        let segment = cut.finish()?;
        if let Some(under_way) = &mut self.snapshot
            && under_way.snapshot.txid() == txid
        {
            match &segment {
                Some(segment) => under_way.expected = segment.mark.position.sum,
                None => self.snapshot = None,
            }
        }
        if let Some(segment) = segment {
            let since = self.unshipped_since.take().unwrap_or(segment.mark.timestamp);
            let segment = Rc::new(segment);
            self.queue.push_back(Waiting { segment, since });
        } else {
            // Nothing differed: the wish is fulfilled by what there is.
            self.granted.1 = self.granted.1.min(self.tip().position.txid);
            self.unshipped_since = None;
        }
        self.settle();
        Ok(())
    }

    /// Sends the front of the queue, if it is not on its way.
    fn send(&mut self) -> Option<Task> {
        if self.sending_since.is_some() {
            return None;
        }
        let segment = Rc::clone(&self.queue.front()?.segment);
        self.sending_since = Some(Instant::now());
        self.save(Some(segment.mark));
        tracing::debug!(replica = %self.name(), segment = %segment.id, pages = segment.changed.len(), "shipping");
        let replica = self.replica.clone();
        Some(async move { News::Uploaded(upload(&replica, &segment).await) }.boxed_local())
    }

    /// The replica has answered.
    fn confirm(&mut self) -> Result<(), Error> {
        self.sending_since = None;
        let Some(Waiting { segment, .. }) = self.queue.pop_front() else {
            return Ok(());
        };
        let mut at = 0;
        while at < segment.changed.len() {
            let run = segment.changed.run(at).map_err(table)?;
            self.sums.set(&run).map_err(table)?;
            at = at.saturating_add(run.len() as u64);
        }
        self.sums.resize(segment.mark.commit).map_err(table)?;
        self.confirmed = segment.mark;
        if let Some(wal) = segment.mark.wal
            && wal.salts == self.held.salts
        {
            self.held.frame = self.held.frame.max(wal.frame);
        }
        self.settle();
        self.note_success();
        if let Some(upkeep) = &self.upkeep {
            let body: Rc<dyn Body> = Rc::clone(&segment.body) as Rc<dyn Body>;
            upkeep.shipped(segment.info(), &body);
            if segment.id.level == Level::SNAPSHOT {
                self.send_sums(&segment)?;
            }
        }
        let segments = &self.replica.status.segments;
        segments.set(segments.get().saturating_add(1));
        let (replica, position, pages) = (self.name(), self.confirmed.position, segment.changed.len());
        if self.replica.status.tells_now() {
            let segments = self.replica.status.segments.get();
            tracing::info!(%replica, %position, pages, segments, "shipped");
        } else {
            tracing::debug!(%replica, %position, pages, "shipped");
        }
        Ok(())
    }

    /// With nothing under way, all that is seen is confirmed.
    fn settle(&mut self) {
        if self.queue.is_empty() && self.cut.is_none() && !self.owes() {
            self.confirmed.wal = Some(self.seen);
            self.held = self.seen.held();
        }
    }

    /// A WAL of other salts was started after everything before had been held, and so seen: all of it is new.
    fn notice(&mut self, committed: &Committed) {
        if self.seen.salts != committed.salts {
            self.seen = WalMark {
                salts: committed.salts,
                frame: 0,
                checksum: committed.frame_checksum,
            };
            self.held = self.seen.held();
        }
        if self.unshipped_since.is_none() && self.is_behind(committed) {
            self.unshipped_since = Some(self.clock.now());
        }
    }

    fn see(&mut self, committed: &Committed) {
        self.seen = WalMark::newest(committed);
        self.seen_commit = committed.commit;
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

    /// Whether a cut wants to go on.
    pub(super) fn is_cutting(&self) -> bool {
        self.cut.is_some() || self.snapshot.as_ref().is_some_and(|under_way| !under_way.is_read)
    }

    /// Work for the destination besides segments.
    pub(super) fn take_outbox(&mut self) -> Vec<Task> {
        std::mem::take(&mut self.outbox)
    }

    /// The last frame of this generation that it does not need; `None` while it needs none at all.
    pub(super) fn held(&self, committed: &Committed) -> Option<u32> {
        match self.held.salts == committed.salts {
            _ if !self.is_following() => None,
            true => Some(self.held.frame),
            false => Some(0),
        }
    }

    /// Whether a commit would be cut at once.
    pub(super) fn is_attentive(&self, committed: &Committed) -> bool {
        self.is_following()
            && self.cut.is_none()
            && self.queue.is_empty()
            && !self.is_behind(committed)
            && Instant::now() >= self.allowance.next()
    }

    /// When something that waits to be cut will be.
    pub(super) fn next_cut(&self, committed: &Committed) -> Option<Instant> {
        let waits = self.is_following()
            && self.cut.is_none()
            && self.queue.is_empty()
            && (self.is_behind(committed) || self.seen.salts != committed.salts && committed.mx_frame > 0);
        waits.then_some(self.allowance.next())
    }

    /// When a snapshot that is due and failed is tried again.
    pub(super) fn next_snapshot(&self) -> Option<Instant> {
        let is_due = self.upkeep.as_ref().is_some_and(upkeep::Handle::snapshot_due);
        (is_due && Instant::now() < self.next_snapshot).then_some(self.next_snapshot)
    }

    /// Whether it has everything that was committed at the time of a wish.
    pub(super) fn has_granted(&self, wish: u64) -> bool {
        self.granted.0 >= wish && self.confirmed.position.txid >= self.granted.1
    }

    pub(super) fn confirmed(&self) -> Mark {
        self.confirmed
    }

    pub(super) fn name(&self) -> &str {
        &self.replica.status.name
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

    fn grant(&mut self, wish: u64, txid: Txid) {
        if wish > self.granted.0 {
            self.granted = (wish, txid);
        }
    }

    /// The newest state that was cut.
    fn tip(&self) -> Mark {
        self.queue
            .back()
            .map_or(self.confirmed, |waiting| waiting.segment.mark)
    }

    /// Whether there is something to cut.
    fn is_behind(&self, committed: &Committed) -> bool {
        self.is_unseen(committed) || self.owes()
    }

    fn is_unseen(&self, committed: &Committed) -> bool {
        self.seen.salts == committed.salts && committed.mx_frame > self.seen.frame
    }

    /// Whether what is seen differs from what is cut; meaningful while nothing is being cut.
    fn owes(&self) -> bool {
        !self.dirty.is_empty() || self.cut.is_none() && self.seen_commit != self.tip().commit
    }

    fn has_room(&self) -> bool {
        self.queue.len() < self.limits.segments && self.queue_bytes() < self.limits.bytes
    }

    fn queue_bytes(&self) -> u64 {
        self.queue.iter().map(|waiting| waiting.segment.body.len()).sum()
    }
}

/// The sum of the whole database as it is now.
fn sum_of(source: &mut Source) -> Result<DbSum, Error> {
    let committed = source.committed()?;
    let view = source.view(&committed)?;
    let (mut sum, mut page) = (DbSum::EMPTY, vec![0; source.page_size().len()]);
    let lock_page = source.page_size().lock_page();
    for pgno in (1..=view.commit()).map(Pgno).filter(|&pgno| pgno != lock_page) {
        source.read_page(pgno, view.location(pgno), &mut page)?;
        sum = sum.plus(PageCrc::of(pgno, &page));
    }
    Ok(sum)
}
