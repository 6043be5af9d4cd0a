//! A destination with faults: slow, away for minutes, failing before or after it has done what it was asked, and the
//! place where the engine's machine dies. What it holds is consistent, as S3 is.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use walferry::ltx::{Header, Txid};
use walferry::replica::{Level, SegmentId, SegmentInfo};
use walferry::store::{self, Body, Error, MemoryStore, Source, Store};

use super::model::Shipped;
use super::random::Random;

/// More requests than a seed has reason for.
const MOST: u64 = 20_000;

pub(crate) struct Faulty {
    /// What it holds, without faults: for those who check.
    pub(crate) objects: MemoryStore,
    /// Every segment that it ever took, by its last transaction.
    pub(crate) shipped: RefCell<BTreeMap<Txid, Shipped>>,
    pub(crate) requests: Cell<u64>,
    /// How many of a hundred requests fail.
    pub(crate) failing: Cell<u64>,
    /// The longest answer, in milliseconds.
    pub(crate) slowest: Cell<u64>,
    away_until: Cell<Option<Instant>>,
    /// After so many requests the machine dies.
    fuse: Cell<Option<u64>>,
    /// It has.
    pub(crate) died: Rc<Notify>,
    random: RefCell<Random>,
}

/// What becomes of a request.
enum Fate {
    Done,
    /// It fails without effect.
    Lost,
    /// It has its effect, and nobody hears of it.
    Unheard,
}

impl Faulty {
    pub(crate) fn new(random: Random, died: Rc<Notify>) -> Rc<Self> {
        Rc::new(Self {
            objects: MemoryStore::default(),
            shipped: RefCell::default(),
            requests: Cell::default(),
            failing: Cell::new(0),
            slowest: Cell::new(1),
            away_until: Cell::default(),
            fuse: Cell::default(),
            died,
            random: RefCell::new(random),
        })
    }

    pub(crate) fn go_away(&self, time: Duration) {
        self.away_until.set(Some(Instant::now() + time));
    }

    /// No more faults.
    pub(crate) fn heal(&self) {
        self.away_until.set(None);
        self.failing.set(0);
        self.slowest.set(20);
        self.fuse.set(None);
    }

    /// The machine dies in the request after so many, before or after it has its effect.
    pub(crate) fn dies_after(&self, requests: Option<u64>) {
        self.fuse.set(requests);
    }

    async fn fate(&self) -> Fate {
        self.requests.set(self.requests.get() + 1);
        assert!(self.requests.get() < MOST, "requests without end");
        let (pause, dice, unheard) = {
            let mut random = self.random.borrow_mut();
            let slowest = self.slowest.get();
            let pause = if random.once_in(20) {
                slowest * 20
            } else {
                random.below(slowest + 1)
            };
            (pause, random.below(100), random.once_in(2))
        };
        sleep(Duration::from_millis(pause)).await;
        if self.away_until.get().is_some_and(|until| Instant::now() < until) {
            return Fate::Lost;
        }
        match self.fuse.get() {
            Some(0) if unheard => return Fate::Unheard,
            Some(0) => self.die().await,
            Some(left) => self.fuse.set(Some(left - 1)),
            None => {}
        }
        match dice < self.failing.get() {
            true if unheard => Fate::Unheard,
            true => Fate::Lost,
            false => Fate::Done,
        }
    }

    async fn die<T>(&self) -> T {
        self.fuse.set(None);
        self.died.notify_one();
        std::future::pending().await
    }

    async fn answer<T>(&self, fate: Fate, answer: store::Result<T>) -> store::Result<T> {
        match fate {
            Fate::Done => answer,
            Fate::Unheard if self.fuse.get() == Some(0) => self.die().await,
            _ => Err(Error::Unavailable("the destination does not answer".into())),
        }
    }

    fn record(&self, id: SegmentId, bytes: &Bytes) {
        if id.level != Level::RAW && id.level != Level::SNAPSHOT {
            return;
        }
        let header = Header::parse(bytes.first_chunk().expect("a segment has a header")).expect("a header");
        assert_eq!(
            (header.min_txid, header.max_txid),
            (id.min, id.max),
            "{id} says that it is another"
        );
        let shipped = Shipped {
            txid: id.max,
            timestamp: header.timestamp,
        };
        let mut all = self.shipped.borrow_mut();
        if let Some((_, before)) = all.range(..id.max).next_back() {
            assert!(
                before.timestamp <= shipped.timestamp,
                "time goes back from {before:?} to {shipped:?}"
            );
        }
        // A snapshot repeats the moment of the segment that it stands on.
        all.entry(id.max).or_insert(shipped);
    }
}

#[async_trait(?Send)]
impl Source for Faulty {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> store::Result<Bytes> {
        let fate = self.fate().await;
        self.answer(fate, self.objects.read(id, range).await).await
    }
}

#[async_trait(?Send)]
impl Store for Faulty {
    async fn list(&self, level: Level, after: Txid) -> store::Result<Vec<SegmentInfo>> {
        let fate = self.fate().await;
        self.answer(fate, self.objects.list(level, after).await).await
    }

    async fn list_all(&self, after: Txid) -> store::Result<Vec<SegmentInfo>> {
        let fate = self.fate().await;
        self.answer(fate, self.objects.list_all(after).await).await
    }

    async fn stat(&self, id: SegmentId) -> store::Result<Option<SegmentInfo>> {
        let fate = self.fate().await;
        self.answer(fate, self.objects.stat(id).await).await
    }

    async fn create(&self, id: SegmentId, body: &dyn Body) -> store::Result<()> {
        let fate = self.fate().await;
        if matches!(fate, Fate::Lost) {
            return self.answer(fate, Ok(())).await;
        }
        let bytes = body.read(0..body.len()).await?;
        let created = self.objects.create(id, &bytes).await;
        if created.is_ok() {
            self.record(id, &bytes);
        }
        self.answer(fate, created).await
    }

    async fn delete(&self, id: SegmentId) -> store::Result<()> {
        let fate = self.fate().await;
        if matches!(fate, Fate::Lost) {
            return self.answer(fate, Ok(())).await;
        }
        self.answer(fate, self.objects.delete(id).await).await
    }
}
