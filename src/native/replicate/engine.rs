//! The loop: see what is committed, let every replica take it, let the WAL go.

use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};

use super::owner::{Claim, Identity};
use super::pace::{Growth, Look, PIN_AGE, at_or_never, pause_or_never};
use super::shipper::{Limits, News, Shipper, Task, Urge};
use super::state::StateFolder;
use super::stop::Stop;
use super::wishes::Wishes;
use super::{Environment, Error, Options, Replica, SyncRequest};
use crate::native::sqlite::{self, Checkpointed, Committed, Held, Patience, Pinned, Source};
use crate::native::status::DatabaseStatus;
use crate::native::watch::{Wake, Watcher};

/// Checkpoints are at least so far apart, each syncs two files: after one that let the WAL start again, and after one
/// that others kept from it.
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(200);
const HINDERED_PAUSE: Duration = Duration::from_secs(1);
/// How long the write lock is asked for before another time is awaited, and how long it is kept for a checkpoint of the
/// application that is under way.
const PATIENCE: Patience = Patience {
    for_lock: Duration::from_millis(500),
    for_checkpoint: Duration::from_millis(10),
};
/// The same when the WAL is long. An application that writes as fast as it can copies frames back in its own commits:
/// then it is always at it, and nothing is written while it is.
const PATIENCE_IF_LONG: Patience = Patience {
    for_checkpoint: Duration::from_millis(250),
    ..PATIENCE
};
/// The longest pause between looks at a commit that is under way.
const LONGEST_LOOK: Duration = Duration::from_millis(250);
/// How often at the least to look whether a checkpoint that was seen writing is done, and while one may be waiting for
/// our pin: it says so in the wal-index only, after it has synced the database file.
const CHECKPOINT_LOOK: Duration = Duration::from_millis(50);
/// The write lock is taken when no more than so many frames are left to be copied back under it.
const FEW_FRAMES: u32 = 1000;
/// With so many new frames the pin leaves the database file for a frame. While it is on the file nothing can be copied
/// back, but an application that checkpoints at every commit beyond 1000 frames sorts all of them first, only to learn
/// that. Behind a frame it has nothing to do.
const FRAMES_ON_FILE: u32 = 250;
/// For so long others may be in the way before following ends with that.
const BUSY_PATIENCE: Duration = Duration::from_secs(30);

/// One database and its replicas.
pub(super) struct Engine {
    options: Options,
    status: Rc<DatabaseStatus>,
    source: Source,
    shippers: Vec<Shipper>,
    tasks: FuturesUnordered<LocalBoxFuture<'static, (usize, News)>>,
    /// Told when a snapshot of any replica is due.
    snapshot_due: Rc<Notify>,
    wishes: Wishes,
    requests: Option<mpsc::Receiver<SyncRequest>>,
    watcher: Watcher,
    pace: Pace,
    checkpoints: Checkpoints,
}

/// When to look again.
#[derive(Debug)]
struct Pace {
    /// Whether the watcher leaves the WAL alone.
    listening_paused: bool,
    look: Look,
    growth: Growth,
    /// Since the pin is on the database file.
    on_file: Look,
    /// Somebody was seen writing to the database file, and may be at it still.
    checkpoint_seen: bool,
    /// What was committed at the last look.
    last: Option<Committed>,
    busy_since: Option<Instant>,
}

#[derive(Debug)]
struct Checkpoints {
    pinned: Pinned,
    /// When the pin was last moved into a frame.
    moved: Instant,
    next: Instant,
    /// Others kept the last one from letting the WAL start again.
    hindered: bool,
    /// Until the next try while the WAL is long. Mostly a single read of the application was in the way.
    again: Look,
    /// What the last one left, so that it is not tried again before something changed.
    last: Option<Committed>,
}

impl Engine {
    pub(super) fn open(
        mut options: Options,
        replicas: Vec<Replica>,
        status: Rc<DatabaseStatus>,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let source = Source::open(
            &options.database,
            &sqlite::Options {
                set_wal: options.set_wal,
            },
        )?;
        let folder = options
            .state
            .clone()
            .unwrap_or_else(|| StateFolder::beside(source.path()));
        let identity = Identity::new(StateFolder::open(folder)?, source.path().to_owned());
        let limits = Limits {
            segments: options.queue_segments,
            bytes: options.queue_bytes,
            slice: options.slice_bytes,
        };
        let snapshot_due = Rc::new(Notify::new());
        let shippers = replicas
            .into_iter()
            .enumerate()
            .map(|(number, replica)| {
                let state = identity.state().replica(&replica.status.name, number == 0)?;
                Shipper::new(
                    replica,
                    Rc::clone(&identity),
                    state,
                    source.page_size(),
                    limits,
                    environment.clock.clone(),
                    Rc::clone(&snapshot_due),
                )
            })
            .collect::<Result<_, _>>()?;
        let watcher = environment.hub.watch(source.path(), &source.wal_path());
        Ok(Self {
            requests: options.requests.take(),
            options,
            status,
            source,
            shippers,
            tasks: FuturesUnordered::new(),
            snapshot_due,
            wishes: Wishes::default(),
            watcher,
            pace: Pace {
                listening_paused: false,
                look: Look::default(),
                growth: Growth::new(),
                on_file: Look::default(),
                checkpoint_seen: false,
                last: None,
                busy_since: None,
            },
            checkpoints: Checkpoints {
                pinned: Pinned::Stayed,
                moved: Instant::now(),
                next: Instant::now(),
                hindered: false,
                again: Look::default(),
                last: None,
            },
        })
    }

    /// Follows until `shutdown`, then ships what is committed.
    pub(super) async fn run(
        mut self,
        shutdown: &mut Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), Error> {
        let stop = Stop::default();
        let timeout = self.options.shutdown_timeout;
        if self.options.once {
            stop.request();
        }
        let asked_to_end = async {
            shutdown.await;
            stop.request();
            sleep(timeout).await;
        };
        let ended = tokio::select! {
            result = self.follow(&stop) => result,
            () = asked_to_end => {
                let late = self.shippers.iter().filter(|shipper| !self.wishes.is_last_granted(shipper));
                let names: Vec<&str> = late.map(Shipper::name).collect();
                Err(Error::Unshipped(format!("{} did not confirm it within {} s", names.join(", "), timeout.as_secs())))
            }
        };
        // Otherwise what was sent last may still arrive: it was saved with the rest.
        ended?;
        for shipper in &self.shippers {
            if shipper.is_following() {
                shipper.save(None);
            }
        }
        match self.shippers.into_iter().find_map(Shipper::into_failure) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    async fn follow(&mut self, stop: &Stop) -> Result<(), Error> {
        let claim = match self.options.takeover {
            true => Claim::TakeOver,
            false => Claim::IfOurs,
        };
        self.each(|shipper, _| Ok(Some(shipper.ask(claim))))?;
        loop {
            match self.round(stop) {
                Ok(true) => return Ok(()),
                Ok(false) => self.pace.busy_since = None,
                Err(error) if error.is_busy() && !self.is_busy_for_long() => {
                    tracing::debug!("{error}");
                    sleep(PIN_AGE).await;
                    continue;
                }
                Err(error) => return Err(error),
            }
            self.rest(stop).await?;
        }
    }

    /// Does all that can be done now; whether everything is done.
    fn round(&mut self, stop: &Stop) -> Result<bool, Error> {
        if stop.is_requested() {
            self.wishes.make_last();
        }
        // What a checkpoint did that is done now is in what is committed.
        self.pace.checkpoint_seen = self.pace.checkpoint_seen && self.source.is_being_copied_back()?;
        let committed = self.source.committed()?;
        self.pace.growth.see(&committed);
        let urge = Urge {
            wish: self.wishes.newest(),
            over_limit: self.is_long(&committed),
        };
        self.each(|shipper, source| shipper.work(source, &committed, urge))?;
        let is_pin_old = Instant::now() >= self.checkpoints.moved + PIN_AGE;
        let leaves_file = self.source.is_pinned_to_file() && committed.mx_frame >= FRAMES_ON_FILE;
        self.advance(&committed, is_pin_old || leaves_file)?;
        self.checkpoint(urge)?;
        if self.source.replaced()? {
            return Err(Error::Replaced(self.source.path().to_owned()));
        }
        self.report(&committed);
        self.wishes.answer(&self.shippers);
        if self.shippers.iter().all(Shipper::has_failed) {
            return Ok(true);
        }
        Ok(self.wishes.is_over(&self.shippers))
    }

    /// Waits for something to do.
    async fn rest(&mut self, stop: &Stop) -> Result<(), Error> {
        let is_cutting = self.shippers.iter().any(Shipper::is_cutting);
        let committed = self.source.committed()?;
        let is_attentive = self
            .shippers
            .iter()
            .any(|shipper| shipper.is_attentive(&committed));
        let next_cut = self
            .shippers
            .iter()
            .filter_map(|shipper| shipper.next_cut(&committed))
            .min();
        let moves = self.pace.last.replace(committed) != Some(committed);
        // Where nobody would take a commit now, there is nothing to learn: the clock wakes us often enough.
        let paused = !is_attentive && (moves || next_cut.is_some());
        let in_the_way = committed.mx_frame > 0
            && committed.backfilled == committed.mx_frame
            && self.checkpoints.pinned != Pinned::File;
        let pause = if self.pace.checkpoint_seen || in_the_way {
            Some(self.pace.look.next(CHECKPOINT_LOOK))
        } else if paused {
            self.pace.look = Look::default();
            Some(PIN_AGE)
        } else if self.source.commit_under_way(&committed)? {
            Some(self.pace.look.next(LONGEST_LOOK))
        } else {
            self.pace.look = Look::default();
            None
        };
        if paused != self.pace.listening_paused {
            self.pace.listening_paused = paused;
            if paused {
                self.watcher.pause();
            } else {
                self.watcher.resume();
                // What was written meanwhile is not told.
                self.pace.checkpoint_seen = true;
                return Ok(());
            }
        }
        let pin_at = (!self.source.covers(&committed)).then_some(self.checkpoints.moved + PIN_AGE);
        let checkpoint_at = self.next_checkpoint(&committed);
        let long_at = self.pace.growth.reaches(self.long_frames(), PIN_AGE);
        let leaves_file = match self.source.is_pinned_to_file() {
            // Who wrote fast before it may write on so; who does not is left alone.
            true => Some(self.pace.on_file.next(PIN_AGE)).filter(|pause| *pause < PIN_AGE),
            false => {
                self.pace.on_file = Look::default();
                None
            }
        };
        let next_snapshot = self.shippers.iter().filter_map(Shipper::next_snapshot).min();
        let mut wake = Wake::default();
        let mut news = None;
        let mut request = None;
        tokio::select! {
            arrived = self.tasks.next(), if !self.tasks.is_empty() => news = arrived,
            // Others have their turn between two slices.
            () = tokio::task::yield_now(), if is_cutting => {}
            () = at_or_never(next_cut) => {}
            () = pause_or_never(pause) => {}
            () = at_or_never(pin_at) => {}
            () = at_or_never(checkpoint_at) => {}
            () = at_or_never(long_at) => {}
            () = pause_or_never(leaves_file) => {}
            () = at_or_never(next_snapshot) => {}
            () = self.snapshot_due.notified() => {}
            // An application that copies frames back at every commit would have us run at every commit.
            woken = self.watcher.wait(), if !paused => wake = woken,
            asked = next_request(&mut self.requests) => request = Some(asked),
            () = stop.requested(), if !stop.is_requested() => {}
        }
        if wake.database {
            self.pace.checkpoint_seen = true;
            self.pace.look = Look::default();
        }
        if let Some(request) = request {
            self.wishes.add(request);
        }
        match news {
            Some((number, news)) => self.hear(number, news),
            None => Ok(()),
        }
    }

    fn hear(&mut self, number: usize, news: News) -> Result<(), Error> {
        let Some(shipper) = self.shippers.get_mut(number) else {
            return Ok(());
        };
        let result = shipper.hear(&mut self.source, news);
        self.take(number, result)
    }

    /// Lets every replica do something. What fails for one holds none of the others back; what fails at the database
    /// fails for all.
    fn each(
        &mut self,
        mut work: impl FnMut(&mut Shipper, &mut Source) -> Result<Option<Task>, Error>,
    ) -> Result<(), Error> {
        for number in 0..self.shippers.len() {
            if let Some(shipper) = self.shippers.get_mut(number) {
                let result = work(shipper, &mut self.source);
                self.take(number, result)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, number: usize, result: Result<Option<Task>, Error>) -> Result<(), Error> {
        let task = match result {
            Ok(task) => task,
            Err(error @ Error::Database(_)) => return Err(error),
            Err(error) => self
                .shippers
                .get_mut(number)
                .and_then(|shipper| shipper.fail(error)),
        };
        self.start(number, task);
        let outbox = self.shippers.get_mut(number).map(Shipper::take_outbox);
        for task in outbox.into_iter().flatten() {
            self.start(number, Some(task));
        }
        Ok(())
    }

    fn start(&mut self, number: usize, task: Option<Task>) {
        if let Some(task) = task {
            self.tasks.push(async move { (number, task.await) }.boxed_local());
        }
    }

    /// Up to where no replica needs the WAL.
    fn held(&self, committed: &Committed) -> Held {
        let frames = self.shippers.iter().filter_map(|shipper| shipper.held(committed));
        Held {
            salts: committed.salts,
            frame: frames.min().unwrap_or(committed.mx_frame),
        }
    }

    fn advance(&mut self, committed: &Committed, into_frame: bool) -> Result<(), Error> {
        let held = self.held(committed);
        let Self { source, shippers, .. } = self;
        let first = |source: &mut Source, committed: &Committed| save_before(shippers, source, committed);
        self.checkpoints.pinned = match into_frame {
            true => source.advance_after(held, first)?,
            false => source.fall_after(held, first)?,
        };
        if matches!(self.checkpoints.pinned, Pinned::Frame | Pinned::Barred) {
            self.checkpoints.moved = Instant::now();
        }
        Ok(())
    }

    /// When the WAL is to be copied back, if it is long enough, and not as the last checkpoint left it.
    fn next_checkpoint(&self, committed: &Committed) -> Option<Instant> {
        let Checkpoints {
            pinned,
            moved,
            next,
            last,
            hindered,
            ..
        } = &self.checkpoints;
        if last.as_ref() == Some(committed) {
            None
        } else if self.is_long(committed) {
            Some(if *hindered { *next } else { *moved })
        } else if committed.mx_frame >= self.options.checkpoint_frames && *pinned != Pinned::File {
            // What is copied back without the write lock goes up to the pin.
            Some((*moved + PIN_AGE).max(*next))
        } else {
            None
        }
    }

    /// Keeps the WAL short.
    fn checkpoint(&mut self, urge: Urge) -> Result<(), Error> {
        let committed = self.source.committed()?;
        let is_due = |at| Instant::now() >= at;
        if !self.next_checkpoint(&committed).is_some_and(is_due) {
            return Ok(());
        }
        // Who writes so fast would only write on while frames are copied back without the lock.
        let is_long = self.is_long(&committed);
        let is_busy = match is_long {
            true => false,
            false => {
                let done = self.copy_back()?;
                let committed = self.source.committed()?;
                let left = committed.mx_frame.saturating_sub(done.backfilled);
                if !done.busy && self.checkpoints.pinned != Pinned::File && left > FEW_FRAMES {
                    // Come back for the rest without a pause. A writer that is faster than that has to wait in the end.
                    self.checkpoints.next = Instant::now();
                    return Ok(());
                }
                done.busy
            }
        };
        // If it is busy, the application is at it.
        if is_long || !is_busy && self.checkpoints.pinned != Pinned::File {
            let committed = self.source.committed()?;
            self.each(|shipper, source| shipper.release(source, &committed, urge).map(|()| None))?;
            self.checkpoint_locked(if is_long { PATIENCE_IF_LONG } else { PATIENCE })?;
        }
        let committed = self.source.committed()?;
        self.checkpoints.hindered = self.checkpoints.pinned != Pinned::File;
        self.checkpoints.last = Some(committed);
        if !self.checkpoints.hindered {
            self.checkpoints.again = Look::default();
        }
        self.checkpoints.next = Instant::now()
            + match self.checkpoints.hindered {
                false => CHECKPOINT_PAUSE,
                true if is_busy => PIN_AGE,
                true if self.is_long(&committed) => self.checkpoints.again.next(PIN_AGE),
                true => HINDERED_PAUSE,
            };
        Ok(())
    }

    /// Whether no time is to be lost: the WAL grows on while it is copied back.
    fn is_long(&self, committed: &Committed) -> bool {
        committed.mx_frame >= self.long_frames()
    }

    fn long_frames(&self) -> u32 {
        let frame = u64::from(self.source.page_size().get()).saturating_add(24);
        let frames = (self.options.wal_limit / 8)
            .checked_div(frame)
            .unwrap_or_default();
        u32::try_from(frames).unwrap_or(u32::MAX)
    }

    fn wal_bytes(&self, committed: &Committed) -> u64 {
        let frame = u64::from(self.source.page_size().get()).saturating_add(24);
        u64::from(committed.mx_frame).saturating_mul(frame)
    }

    /// A checkpoint that lets writers run on.
    fn copy_back(&mut self) -> Result<Checkpointed, Error> {
        let committed = self.source.committed()?;
        let held = self.held(&committed);
        let Self { source, shippers, .. } = self;
        let done =
            source.checkpoint_passive(held, |source, committed| save_before(shippers, source, committed))?;
        tracing::debug!(?done, "checkpoint");
        self.checkpoints.pinned = done.pinned;
        let checkpoints = &self.status.checkpoints;
        checkpoints.set(checkpoints.get().saturating_add(1));
        Ok(done)
    }

    /// Takes the write lock for the moment that the WAL needs to start again: every replica takes note of the few
    /// frames that it has not seen yet, and the database file holds them when the lock is let go.
    fn checkpoint_locked(&mut self, patience: Patience) -> Result<(), Error> {
        let Self {
            source,
            shippers,
            tasks: _,
            ..
        } = self;
        let mut failed = Vec::new();
        let result = source.checkpoint_locked(patience, |source, committed| {
            save_before(shippers, source, committed)?;
            for (number, shipper) in shippers.iter_mut().enumerate() {
                match shipper.fold(source, committed) {
                    Err(error @ Error::Database(_)) => return Err(error),
                    Err(error) => failed.push((number, error)),
                    Ok(()) => {}
                }
            }
            Ok(())
        });
        for (number, error) in failed {
            self.take(number, Err(error))?;
        }
        match result {
            Ok(done) => {
                tracing::debug!(?done, "checkpoint under the write lock");
                self.checkpoints.pinned = done.pinned;
                self.pace.on_file = Look::default();
                let micros = u64::try_from(done.locked.as_micros()).unwrap_or(u64::MAX);
                let status = &self.status;
                status
                    .locked_micros
                    .set(status.locked_micros.get().saturating_add(micros));
                status
                    .longest_lock_micros
                    .set(status.longest_lock_micros.get().max(micros));
                Ok(())
            }
            Err(error) if error.is_busy() => {
                tracing::debug!("the write lock is not to be had now");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn report(&self, committed: &Committed) {
        let pages = u64::from(committed.commit);
        let page_size = u64::from(self.source.page_size().get());
        self.status.database_bytes.set(pages.saturating_mul(page_size));
        self.status.wal_bytes.set(self.wal_bytes(committed));
        for shipper in &self.shippers {
            shipper.report();
        }
    }

    fn is_busy_for_long(&mut self) -> bool {
        let since = *self.pace.busy_since.get_or_insert_with(Instant::now);
        since.elapsed() > BUSY_PATIENCE
    }
}

/// Saves for every replica what it still wants to read of older states. One that cannot save it starts anew later.
fn save_before(shippers: &mut [Shipper], source: &mut Source, committed: &Committed) -> Result<(), Error> {
    for shipper in shippers {
        match shipper.save_before(source, committed) {
            Err(error @ Error::Database(_)) => return Err(error),
            Err(error) => shipper.give_up_cut(&error),
            Ok(()) => {}
        }
    }
    Ok(())
}

async fn next_request(requests: &mut Option<mpsc::Receiver<SyncRequest>>) -> SyncRequest {
    if let Some(receiver) = requests {
        if let Some(request) = receiver.recv().await {
            return request;
        }
        *requests = None;
    }
    std::future::pending().await
}
