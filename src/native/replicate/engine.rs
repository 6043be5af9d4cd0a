//! The loop: see what is committed, cut, ship, confirm, let the WAL go.

use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::time::{Instant, sleep, sleep_until};

use super::cut::{Cut, Segment, all_pages, table};
use super::page_sums::PageSums;
use super::resume::{Head, catch_up, nothing, wal_continues};
use super::state::{Mark, Marks, StateFolder, WalMark};
use super::stop::Stop;
use super::upload::{Patience, upload};
use super::{Environment, Error, Options, Replica, ReplicaOptions};
use crate::ltx::PageSize;
use crate::native::clock::Clock;
use crate::native::sqlite::{self, Checkpointed, Committed, Held, Pinned, Source};
use crate::native::watch::Watcher;
use crate::store::{self, Store};

/// Passive checkpoints are at least so far apart: each syncs two files.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(1);
/// How long the write lock is asked for before another time is awaited.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// The longest pause between looks at a commit that is under way.
const LONGEST_LOOK: Duration = Duration::from_millis(250);
/// The pin is not older than this while the database is written: a RESTART or TRUNCATE checkpoint of the application
/// waits for an older one, with the write lock in its hands, and nothing tells us.
const PIN_AGE: Duration = Duration::from_millis(50);
/// For how long, and how often at the least, to look whether a checkpoint that was seen writing is done: it says so in
/// the wal-index only, after it has synced the database file. The looks go on when the pin seems to be out of its way:
/// the first time it is taken on the file it may still get a frame.
const CHECKPOINT_WATCH: Duration = Duration::from_secs(5);
const CHECKPOINT_LOOK: Duration = Duration::from_millis(50);
/// An upload that takes so long does not make a checkpoint of the application wait.
const OUTAGE: Duration = Duration::from_millis(500);
/// The write lock is taken when no more than so many frames are left to be read under it.
const FEW_FRAMES: u32 = 1000;

type Upload = LocalBoxFuture<'static, (Segment, store::Result<()>)>;

/// One database and its replica.
pub(super) struct Engine {
    source: Source,
    shipping: Shipping,
    watcher: Watcher,
    store: Rc<dyn Store>,
    /// Whether the watcher leaves the WAL alone.
    listening_paused: bool,
    pinned: Pinned,
    next_checkpoint: Instant,
    /// What the last checkpoint left, so that it is not tried again before something changed.
    last_checkpoint: Option<Committed>,
}

/// What is shipped, and how far.
struct Shipping {
    options: Options,
    replica: ReplicaOptions,
    clock: Clock,
    state: StateFolder,
    page_size: PageSize,
    sums: PageSums,
    /// The state that the replica has confirmed; the page-sum table describes it.
    confirmed: Mark,
    /// The end of what was cut, in the WAL; `None` while a comparison with the whole database is due.
    cut: Option<WalMark>,
    /// Whether the pin was proven to guard every frame after `cut`. Before that, a WAL of other salts may have
    /// dropped some.
    guarded: bool,
    /// Up to where the WAL is not needed any more.
    held: Held,
}

impl Engine {
    pub(super) fn open(options: Options, replica: Replica, environment: &Environment) -> Result<Self, Error> {
        let source = Source::open(
            &options.database,
            &sqlite::Options {
                set_wal: options.set_wal,
            },
        )?;
        let state = StateFolder::open(StateFolder::beside(source.path()))?;
        let sums = PageSums::open(&state.page_sums()).map_err(table)?;
        let watcher = environment.hub.watch(source.path(), &source.wal_path());
        let shipping = Shipping {
            options,
            replica: replica.options,
            clock: environment.clock.clone(),
            state,
            page_size: source.page_size(),
            sums,
            confirmed: nothing(),
            cut: None,
            guarded: false,
            held: Held::default(),
        };
        Ok(Self {
            source,
            shipping,
            watcher,
            store: replica.store,
            listening_paused: false,
            pinned: Pinned::Stayed,
            next_checkpoint: Instant::now(),
            last_checkpoint: None,
        })
    }

    /// Follows until `shutdown`, then ships what is committed.
    pub(super) async fn run(
        &mut self,
        shutdown: &mut Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), Error> {
        let stop = Stop::default();
        let timeout = self.shipping.options.shutdown_timeout;
        if self.shipping.options.once {
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
                Err(Error::Unshipped(format!("the destination did not confirm it within {} s", timeout.as_secs())))
            }
        };
        if ended.is_ok() {
            // Otherwise what was sent last may still arrive: it was saved with the rest.
            self.shipping.save(None);
        }
        ended
    }

    async fn follow(&mut self, stop: &Stop) -> Result<(), Error> {
        self.find_out().await?;
        let mut uploading: Option<Upload> = None;
        let mut next_cut = Instant::now();
        let mut last_cut = Instant::now();
        let mut final_cut = false;
        let mut look = Look::default();
        let mut checkpoint_until = Instant::now();
        loop {
            let committed = self.source.committed()?;
            let unshipped = self.shipping.is_behind(&committed);
            // Someone has copied all frames back, and may be waiting for our pin with the write lock in its hands.
            let pressed = committed.backfilled == committed.mx_frame && last_cut.elapsed() >= PIN_AGE;
            if uploading.is_none() {
                if stop.is_requested() && (final_cut || !unshipped) {
                    return Ok(());
                }
                if unshipped && (pressed || stop.is_requested() || Instant::now() >= next_cut) {
                    last_cut = Instant::now();
                    next_cut = last_cut + self.shipping.replica.sync_interval;
                    // What is committed after this is for the next start.
                    final_cut = stop.is_requested();
                    let segment = self.shipping.cut(&mut self.source, &committed);
                    let Some(segment) = self.shipping.unless_moved(segment)? else {
                        continue;
                    };
                    uploading = self.send(segment);
                }
            } else if pressed && last_cut.elapsed() >= OUTAGE {
                self.shipping.let_go(&committed);
            }
            self.pinned = self.source.advance(self.shipping.held)?;
            if uploading.is_none() {
                let checkpoint = self.checkpoint();
                let Some(upload) = self.shipping.unless_moved(checkpoint)? else {
                    continue;
                };
                uploading = upload;
            }
            if self.source.replaced()? {
                return Err(Error::Replaced(self.source.path().to_owned()));
            }

            let committed = self.source.committed()?;
            let waits_for_cut = self.shipping.is_behind(&committed);
            if stop.is_requested() && uploading.is_none() {
                continue;
            }
            let checkpoint_at = self.wants_checkpoint(&committed).then_some(self.next_checkpoint);
            let pause = if Instant::now() < checkpoint_until {
                Some(look.next(CHECKPOINT_LOOK))
            } else if waits_for_cut {
                look = Look::default();
                Some(PIN_AGE)
            } else if self.source.commit_under_way(&committed)? {
                Some(look.next(LONGEST_LOOK))
            } else {
                look = Look::default();
                None
            };
            // Between two segments under load there is nothing to learn: the clock wakes us often enough.
            if waits_for_cut != self.listening_paused {
                self.listening_paused = waits_for_cut;
                if waits_for_cut {
                    self.watcher.pause();
                } else {
                    self.watcher.resume();
                    checkpoint_until = checkpoint_until.max(Instant::now() + CHECKPOINT_PAUSE);
                }
                continue;
            }
            tokio::select! {
                (segment, result) = arrival(&mut uploading), if uploading.is_some() => {
                    uploading = None;
                    self.shipping.confirm(segment, result)?;
                }
                () = sleep_until(next_cut), if waits_for_cut && uploading.is_none() => {}
                () = pause_or_never(pause) => {}
                () = until_checkpoint(checkpoint_at), if !waits_for_cut && uploading.is_none() => {}
                wake = self.watcher.wait(), if !waits_for_cut => {
                    if wake.database {
                        checkpoint_until = Instant::now() + CHECKPOINT_WATCH;
                        look = Look::default();
                    }
                }
                () = stop.requested(), if !stop.is_requested() => {}
            }
        }
    }

    /// Learns what the replica holds, however long that takes, and from where on the WAL is needed. Until then
    /// nothing in the WAL is worth guarding: the pin gives way to every checkpoint.
    async fn find_out(&mut self) -> Result<(), Error> {
        let Self {
            source,
            shipping,
            store,
            ..
        } = self;
        let confirmed = {
            let mut reading = std::pin::pin!(shipping.read_replica(&**store));
            loop {
                tokio::select! {
                    confirmed = &mut reading => break confirmed?,
                    () = sleep(PIN_AGE) => {
                        let committed = source.committed()?;
                        source.advance(Held::all_of(&committed))?;
                    }
                }
            }
        };
        shipping.go_on_from(confirmed, source)
    }

    fn send(&self, segment: Option<Segment>) -> Option<Upload> {
        let segment = segment?;
        self.shipping.save(Some(segment.mark));
        tracing::debug!(segment = %segment.id, pages = segment.changed.len(), "shipping");
        Some(upload(Rc::clone(&self.store), segment).boxed_local())
    }

    /// Whether the WAL is long enough to be copied back, and not as the last checkpoint left it.
    fn wants_checkpoint(&self, committed: &Committed) -> bool {
        committed.mx_frame >= self.shipping.options.checkpoint_frames
            && self.pinned != Pinned::File
            && self.last_checkpoint != Some(*committed)
    }

    /// Keeps the WAL short. Called while nothing is on its way.
    fn checkpoint(&mut self) -> Result<Option<Upload>, Error> {
        let committed = self.source.committed()?;
        if !self.wants_checkpoint(&committed) || Instant::now() < self.next_checkpoint {
            return Ok(None);
        }
        let over_limit = self.is_over_limit(&committed);
        self.next_checkpoint = Instant::now() + if over_limit { PIN_AGE } else { CHECKPOINT_PAUSE };
        let mut done = self.copy_back()?;
        let mut upload = None;
        if over_limit && self.pinned != Pinned::File {
            let committed = self.source.committed()?;
            if self.shipping.unshipped_frames(&committed) > FEW_FRAMES {
                // Ship those without the lock, and come back when they are confirmed.
                let segment = self.shipping.cut(&mut self.source, &committed)?;
                upload = self.send(segment);
                self.next_checkpoint = Instant::now();
            } else {
                if committed.mx_frame.saturating_sub(done.backfilled) > FEW_FRAMES {
                    done = self.copy_back()?;
                }
                if done.pinned != Pinned::File {
                    upload = self.checkpoint_locked()?;
                }
            }
        }
        self.last_checkpoint = Some(self.source.committed()?);
        Ok(upload)
    }

    fn is_over_limit(&self, committed: &Committed) -> bool {
        let frame = u64::from(self.source.page_size().get()).saturating_add(24);
        u64::from(committed.mx_frame).saturating_mul(frame) > self.shipping.options.wal_limit
    }

    /// A checkpoint that lets writers run on.
    fn copy_back(&mut self) -> Result<Checkpointed, Error> {
        let done = self.source.checkpoint_passive(self.shipping.held)?;
        tracing::debug!(?done, "checkpoint");
        self.pinned = done.pinned;
        if done.busy {
            // The application is at it.
            self.next_checkpoint = Instant::now() + PIN_AGE;
        }
        Ok(done)
    }

    /// Takes the write lock for the moment that the WAL needs to start again: the few frames that are not shipped
    /// yet become a segment under the lock, and the database file holds them when it is let go.
    fn checkpoint_locked(&mut self) -> Result<Option<Upload>, Error> {
        let shipping = &mut self.shipping;
        let mut segment = None;
        let result = self.source.checkpoint_locked(LOCK_PATIENCE, |source, committed| {
            segment = shipping.cut(source, committed)?;
            shipping.held = Held::all_of(committed);
            Ok::<(), Error>(())
        });
        match result {
            Ok(done) => {
                tracing::debug!(?done, "checkpoint under the write lock");
                self.pinned = done.pinned;
            }
            Err(Error::Database(sqlite::Error::Busy { .. })) => {
                tracing::debug!("the write lock is not to be had now")
            }
            Err(error) => return Err(error),
        }
        Ok(self.send(segment))
    }
}

impl Shipping {
    /// The state that the replica holds, once it answers; the page-sum table then describes it.
    async fn read_replica(&self, store: &dyn Store) -> Result<Mark, Error> {
        let mut patience = Patience::default();
        loop {
            match self.try_read_replica(store).await {
                Err(error) if error.is_passing() => patience.wait("read the replica", &error).await,
                Ok(mark) => {
                    patience.end();
                    return Ok(mark);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_read_replica(&self, store: &dyn Store) -> Result<Mark, Error> {
        match Head::read(store).await? {
            Head::Empty => Ok(nothing()),
            Head::At { header, .. } if header.page_size != self.page_size => {
                Err(Error::page_size(self.page_size, header.page_size))
            }
            Head::At { header, plan } => {
                let marks = self.state.load(self.page_size);
                catch_up(store, &plan, &header, &self.sums, &marks).await
            }
        }
    }

    fn go_on_from(&mut self, confirmed: Mark, source: &mut Source) -> Result<(), Error> {
        self.confirmed = confirmed;
        let committed = source.committed()?;
        if wal_continues(source, &committed, &self.confirmed)? {
            self.go_on_after(self.confirmed.wal);
            // With nothing left to ship there is nothing that a restart of the WAL could drop.
            self.guarded = self.held == Held::all_of(&committed);
            tracing::info!(position = %self.confirmed.position, "going on where the replica stands");
        } else {
            self.go_on_after(None);
            tracing::info!(position = %self.confirmed.position, pages = committed.commit, "comparing all pages");
        }
        Ok(())
    }

    /// Takes the news that the WAL lost frames before they were guarded: all pages must be compared.
    fn unless_moved<T>(&mut self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Database(sqlite::Error::Moved(_))) => {
                self.go_on_after(None);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives up the frames that wait for a destination that is away, now that they are copied back into the database:
    /// an application's checkpoint must not wait for our network. Those of the segment on its way are in that; what
    /// was committed after it is found by comparing pages.
    fn let_go(&mut self, committed: &Committed) {
        if self.is_behind(committed) && self.cut.is_some() {
            tracing::info!("the WAL may start again while the destination is away; pages will be compared");
            self.go_on_after(None);
        }
        self.held = Held::all_of(committed);
    }

    fn go_on_after(&mut self, wal: Option<WalMark>) {
        self.cut = wal;
        self.guarded = false;
        self.held = wal
            .map(|wal| Held {
                salts: wal.salts,
                frame: wal.frame,
            })
            .unwrap_or_default();
    }

    /// Whether something is committed that was not cut. While the pin guards the frames, a WAL of other salts was
    /// started after everything before had been held: all of it is new.
    fn is_behind(&mut self, committed: &Committed) -> bool {
        if !self.guarded && self.cut.is_some_and(|cut| cut.salts != committed.salts) {
            self.go_on_after(None);
        }
        let Some(cut) = &mut self.cut else { return true };
        if cut.salts != committed.salts {
            *cut = WalMark {
                salts: committed.salts,
                frame: 0,
                checksum: committed.frame_checksum,
            };
            self.held = Held {
                salts: committed.salts,
                frame: 0,
            };
        }
        committed.mx_frame > cut.frame
    }

    /// How many frames are committed beyond what was cut; none are counted where all pages must be compared.
    fn unshipped_frames(&mut self, committed: &Committed) -> u32 {
        self.is_behind(committed);
        self.cut
            .map_or(0, |cut| committed.mx_frame.saturating_sub(cut.frame))
    }

    /// The segment that leads from the confirmed state to `committed`; `None` if no page differs.
    fn cut(&mut self, source: &mut Source, committed: &Committed) -> Result<Option<Segment>, Error> {
        if !self.is_behind(committed) {
            return Ok(None);
        }
        let wal = Some(WalMark::newest(committed));
        let segment = match self.cut {
            Some(cut) => {
                let pages = source.changes(cut.frame, self.confirmed.commit, committed)?;
                self.prepare(source, pages.commit(), wal).segment(pages.iter())?
            }
            None => {
                let view = source.view(committed)?;
                let pages =
                    all_pages(view.commit(), source.page_size()).map(|pgno| (pgno, view.location(pgno)));
                self.prepare(source, view.commit(), wal).segment(pages)?
            }
        };
        self.cut = wal;
        self.guarded = true;
        if self.held.salts != committed.salts {
            self.held = Held {
                salts: committed.salts,
                frame: 0,
            };
        }
        if segment.is_none() {
            self.confirmed.wal = wal;
            self.held = Held::all_of(committed);
        }
        Ok(segment)
    }

    fn prepare<'a>(&'a self, source: &'a Source, commit: u32, wal: Option<WalMark>) -> Cut<'a> {
        Cut {
            source,
            sums: &self.sums,
            codec: self.replica.codec,
            before: self.confirmed,
            commit,
            wal,
            timestamp: self.clock.now(),
            stage: self.state.path().to_owned(),
        }
    }

    /// The replica has answered.
    fn confirm(&mut self, segment: Segment, result: store::Result<()>) -> Result<(), Error> {
        match result {
            Ok(()) => {}
            Err(store @ (store::Error::Exists(_) | store::Error::Conflict { .. })) => {
                return Err(Error::Moved {
                    ours: self.confirmed.position,
                    store,
                });
            }
            Err(error) => return Err(error.into()),
        }
        self.sums.set(&segment.changed).map_err(table)?;
        self.sums.resize(segment.mark.commit).map_err(table)?;
        self.confirmed = segment.mark;
        if let Some(wal) = segment.mark.wal
            && wal.salts == self.held.salts
        {
            self.held.frame = self.held.frame.max(wal.frame);
        }
        tracing::info!(position = %self.confirmed.position, pages = segment.changed.len(), "shipped");
        Ok(())
    }

    /// Remembers where we are; that it fails costs a comparison at the next start.
    fn save(&self, sent: Option<Mark>) {
        // An empty replica has no state to remember.
        let confirmed = Some(self.confirmed).filter(|mark| mark.commit > 0);
        if let Err(error) = self.state.save(self.page_size, Marks { confirmed, sent }) {
            tracing::warn!("cannot save the local state, the next start compares all pages: {error}");
        }
    }
}

/// Pauses that grow while a commit or a checkpoint is under way: its notification came before it was done.
#[derive(Debug, Default)]
struct Look {
    pause: Duration,
}

impl Look {
    fn next(&mut self, longest: Duration) -> Duration {
        self.pause = (self.pause * 2).clamp(Duration::from_micros(500), longest);
        self.pause
    }
}

async fn pause_or_never(pause: Option<Duration>) {
    match pause {
        Some(pause) => sleep(pause).await,
        None => std::future::pending().await,
    }
}

async fn until_checkpoint(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn arrival(uploading: &mut Option<Upload>) -> (Segment, store::Result<()>) {
    match uploading {
        Some(upload) => upload.await,
        None => std::future::pending().await,
    }
}
