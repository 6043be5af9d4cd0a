//! A replica that is filled and kept under virtual time, and a model of every state that it ever had.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, sleep_until};
use walferry::ltx::{
    Codec, Compressor, DbSum, Encoder, Header, PageCrc, PageSize, Pgno, Sums, Timestamp, Txid,
};
use walferry::native::clock::Clock;
use walferry::native::status::ReplicaStatus;
use walferry::native::upkeep::{Handle, Policy, spawn};
use walferry::replica::{Level, Position, SegmentId, SegmentInfo, Target};
use walferry::restore::{Error, Restore, Scratch};
use walferry::store::{self, Body, MemoryStore, Source, Store};

use super::segments::content::Random;

/// Tuesday, 2023-11-14 22:13:20 UTC.
pub const START: i64 = 1_700_000_000_000;

/// Runs under virtual time.
pub fn simulate<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// A clock that goes with virtual time.
pub fn clock() -> Clock {
    let start = Instant::now();
    Clock::new(move || Timestamp(START + start.elapsed().as_millis() as i64))
}

/// A replica, who fills it, and what it must be able to give back.
pub struct Kept {
    pub store: Rc<MemoryStore>,
    pub requests: Rc<Counted>,
    pub policy: Policy,
    pub clock: Clock,
    pub status: Rc<ReplicaStatus>,
    pub handle: Option<Handle>,
    snapshot_due: Rc<tokio::sync::Notify>,
    pub folder: tempfile::TempDir,
    pub random: Random,
    pub codec: Codec,
    /// The state now.
    pages: Vec<Vec<u8>>,
    crcs: Vec<PageCrc>,
    sum: DbSum,
    /// Time and sum after each transaction, from 1.
    pub states: Vec<(Timestamp, DbSum)>,
}

const PAGE: usize = 512;

impl Kept {
    /// A new replica: the first copy is a snapshot.
    pub async fn start(policy: Policy, seed: u64) -> Self {
        let store = Rc::new(MemoryStore::default());
        Self::over(store.clone(), store, policy, seed).await
    }

    /// One whose requests go another way, through faults for instance.
    pub async fn over(store: Rc<MemoryStore>, way: Rc<dyn Store>, policy: Policy, seed: u64) -> Self {
        let mut kept = Self {
            store,
            requests: Rc::new(Counted::new(way)),
            policy,
            clock: clock(),
            status: ReplicaStatus::new("memory".to_owned(), "memory"),
            handle: None,
            snapshot_due: Rc::default(),
            folder: tempfile::tempdir().unwrap(),
            random: Random(seed),
            codec: Codec::Lz4,
            pages: Vec::new(),
            crcs: Vec::new(),
            sum: DbSum::EMPTY,
            states: Vec::new(),
        };
        kept.change(24);
        let info = kept
            .ship(Level::SNAPSHOT, &(0..24).collect::<Vec<_>>(), None)
            .await;
        kept.open(vec![info]);
        kept
    }

    /// Starts the upkeep over a listing.
    pub fn open(&mut self, listing: Vec<SegmentInfo>) {
        self.handle = Some(spawn(
            self.requests.clone(),
            self.policy.clone(),
            self.folder.path(),
            self.clock.clone(),
            listing,
            self.status.clone(),
            self.snapshot_due.clone(),
        ));
    }

    /// As after a crash and a start.
    pub async fn reopen(&mut self) {
        self.handle = None;
        let listing = self.store.list_all(Txid::ZERO).await.unwrap();
        self.open(listing);
    }

    pub fn txid(&self) -> Txid {
        Txid(self.states.len() as u64)
    }

    /// One write every `interval` for a time, and what the engine does beside.
    pub async fn write_every(&mut self, interval: Duration, time: Duration) {
        let (mut at, end) = (Instant::now() + interval, Instant::now() + time);
        while at <= end {
            self.idle_until(at).await;
            self.write().await;
            at += interval;
        }
        self.idle_until(end).await;
    }

    pub async fn idle(&mut self, time: Duration) {
        self.idle_until(Instant::now() + time).await;
    }

    /// It is asked for within that time, and not taken yet.
    pub async fn snapshot_is_due(&self, within: Duration) {
        let end = Instant::now() + within;
        while !self.handle.as_ref().unwrap().snapshot_due() {
            tokio::select! {
                () = self.snapshot_due.notified() => {}
                () = sleep_until(end) => panic!("no snapshot was due"),
            }
        }
    }

    async fn idle_until(&mut self, end: Instant) {
        loop {
            if self.handle.as_ref().unwrap().snapshot_due() {
                self.snapshot().await;
            }
            tokio::select! {
                biased;
                () = self.snapshot_due.notified() => {}
                () = sleep_until(end) => return,
            }
        }
    }

    /// A transaction, shipped and confirmed.
    pub async fn write(&mut self) {
        let before = self.sum;
        let old_len = self.pages.len();
        let len = match self.random.below(60) {
            0 => old_len + 1 + self.random.below(3),
            1 if old_len > 8 => old_len - 1 - self.random.below(3),
            _ => old_len,
        };
        let mut written: Vec<usize> = (old_len..len).collect();
        for _ in 0..1 + self.random.below(3) {
            written.push(self.random.below(len));
        }
        written.sort_unstable();
        written.dedup();
        self.change(len);
        for &page in &written {
            let content = page_of(&mut self.random);
            self.set(page, content);
        }
        let (info, body) = self.segment(Level::RAW, &written, Some(before));
        self.create(info.id, &body).await;
        let body: Rc<dyn Body> = Rc::new(body);
        self.handle.as_ref().unwrap().shipped(info, &body);
    }

    async fn snapshot(&mut self) {
        let all: Vec<usize> = (0..self.pages.len()).collect();
        let (mut info, body) = self.whole(&all);
        self.create(info.id, &body).await;
        info.timestamp = Some(self.states.last().unwrap().0);
        let handle = self.handle.as_ref().unwrap();
        handle.snapshot_done(info);
        let sums = SegmentId {
            level: Level::SUMS,
            ..info.id
        };
        let table: Vec<u8> = self.crcs.iter().flat_map(|crc| crc.0.to_be_bytes()).collect();
        let size = table.len() as u64;
        self.create(sums, &Bytes::from(table)).await;
        handle.snapshot_done(SegmentInfo {
            id: sums,
            size,
            timestamp: None,
        });
    }

    /// What the engine creates: counted, but out of the way of faults.
    async fn create(&self, id: SegmentId, body: &Bytes) {
        self.requests.count(|| format!("create {id}"));
        sleep(Duration::from_millis(20)).await;
        self.store.create(id, body).await.unwrap();
    }

    async fn ship(&mut self, level: Level, pages: &[usize], before: Option<DbSum>) -> SegmentInfo {
        let (info, body) = self.segment(level, pages, before);
        self.store.create(info.id, &body).await.unwrap();
        info
    }

    /// A segment of the pages as they are now, under the next transaction.
    fn segment(&mut self, level: Level, pages: &[usize], before: Option<DbSum>) -> (SegmentInfo, Bytes) {
        let now = self.clock.now();
        self.states.push((now, self.sum));
        let txid = self.txid();
        self.encode(SegmentId::new(level, txid, txid).unwrap(), now, pages, before)
    }

    fn whole(&self, pages: &[usize]) -> (SegmentInfo, Bytes) {
        let id = SegmentId::new(Level::SNAPSHOT, Txid::FIRST, self.txid()).unwrap();
        self.encode(id, self.states.last().unwrap().0, pages, None)
    }

    fn encode(
        &self,
        id: SegmentId,
        time: Timestamp,
        pages: &[usize],
        before: Option<DbSum>,
    ) -> (SegmentInfo, Bytes) {
        let sums = Sums {
            before: before.unwrap_or(DbSum::EMPTY),
            after: self.sum,
        };
        let page_size = PageSize::new(PAGE as u32).unwrap();
        let header = Header::new(
            page_size,
            self.pages.len() as u32,
            (id.min, id.max),
            time,
            Some(sums),
        );
        let mut encoder = Encoder::new(Vec::new(), header, Compressor::new(self.codec)).unwrap();
        for &page in pages {
            encoder
                .page(Pgno(page as u32 + 1), self.crcs[page], &self.pages[page])
                .unwrap();
        }
        let (bytes, ..) = encoder.finish().unwrap();
        let info = SegmentInfo {
            id,
            size: bytes.len() as u64,
            timestamp: Some(time),
        };
        (info, bytes.into())
    }

    /// Grows or shrinks the state.
    fn change(&mut self, len: usize) {
        while self.pages.len() > len {
            self.pages.pop();
            self.sum = self.sum.minus(self.crcs.pop().unwrap());
        }
        while self.pages.len() < len {
            self.pages.push(Vec::new());
            let content = page_of(&mut self.random);
            self.crcs.push(PageCrc(0));
            self.sum = self.sum.plus(PageCrc(0));
            self.set(self.pages.len() - 1, content);
        }
    }

    fn set(&mut self, page: usize, content: Vec<u8>) {
        let crc = PageCrc::of(Pgno(page as u32 + 1), &content);
        self.sum = self.sum.minus(self.crcs[page]).plus(crc);
        self.crcs[page] = crc;
        self.pages[page] = content;
    }

    /// What there is at each level and on each shelf.
    pub fn counts(&self) -> Vec<(u8, usize)> {
        let levels = Level::all().chain(Level::shelves());
        let count = |level| {
            super::segments::restoring::now(self.store.list(level, Txid::ZERO))
                .unwrap()
                .len()
        };
        levels
            .map(|level| (u8::from(level), count(level)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Restores to some moments of the last `window`, its edges and those of segments among them.
    pub async fn every_moment_restores(&mut self, window: Duration, samples: usize) {
        let now = self.clock.now().0;
        let from = (now - window.as_millis() as i64).max(self.states[0].0.0);
        for sample in 0..samples {
            let time = match sample {
                0 => from,
                1 => now,
                _ if sample % 2 == 0 => from + (self.random.next() % (now - from + 1) as u64) as i64,
                // The very moment of a sync, or the last before it.
                _ => {
                    let first = self.states.partition_point(|(time, _)| time.0 < from);
                    let at = first + self.random.below((self.states.len() - first).max(1));
                    self.states[at.min(self.states.len() - 1)].0.0 - (sample as i64 / 2 % 2)
                }
            };
            let time = time.max(from);
            let expected = self.states.partition_point(|(at, _)| at.0 <= time) as u64;
            let by_time = self.restored(Target::Time(Timestamp(time))).await;
            self.assert_state(by_time, expected, &format!("at {time}, sample {sample}"));
            let by_txid = self.restored(Target::Txid(Txid(expected))).await;
            self.assert_state(
                by_txid,
                expected,
                &format!("transaction {expected}, sample {sample}"),
            );
        }
        let latest = self.restored(Target::Latest).await;
        self.assert_state(latest, self.txid().0, "latest");
    }

    pub fn assert_state(&self, found: Result<Position, Error>, txid: u64, what: &str) {
        let found = found.unwrap_or_else(|error| panic!("{what}: {error}; {:?}", self.counts()));
        assert_eq!(found.txid, Txid(txid), "{what}");
        assert_eq!(found.sum, Some(self.states[txid as usize - 1].1), "{what}");
    }

    pub async fn restored(&self, target: Target) -> Result<Position, Error> {
        restored(&*self.store, target).await
    }
}

/// Restores, and proves the result.
pub async fn restored(store: &dyn Store, target: Target) -> Result<Position, Error> {
    let restore = Restore::prepare(store, target, Position::EMPTY)
        .await?
        .expect("something to do");
    let mut scratch = Scratch::default();
    let mut sum = DbSum::EMPTY;
    let mut chunks = restore.chunks();
    while let Some(chunk) = chunks.next().await {
        sum = sum.join(chunk?.decode(&mut scratch, |_, _, _| Ok::<(), Error>(()))?);
    }
    restore.prove(sum)
}

fn page_of(random: &mut Random) -> Vec<u8> {
    // Mostly the same, as rows have it: packs well, is never the same twice.
    let mut page = vec![b'w'; PAGE];
    page[..16].copy_from_slice(&random.bytes(16));
    page
}

/// Counts the requests that cost something, and deletions.
pub struct Counted {
    store: Rc<dyn Store>,
    requests: Cell<u64>,
    deletes: Cell<u64>,
    pub log: RefCell<Option<Vec<String>>>,
}

impl Counted {
    pub fn new(store: Rc<dyn Store>) -> Self {
        Self {
            store,
            requests: Cell::new(0),
            deletes: Cell::new(0),
            log: RefCell::new(None),
        }
    }

    pub fn reset(&self) {
        self.take();
    }

    /// Requests and deletions since the last time.
    pub fn take(&self) -> (u64, u64) {
        (self.requests.take(), self.deletes.take())
    }

    fn count(&self, what: impl FnOnce() -> String) {
        self.requests.set(self.requests.get() + 1);
        if let Some(log) = &mut *self.log.borrow_mut() {
            log.push(what());
        }
    }
}

#[async_trait::async_trait(?Send)]
impl Source for Counted {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> store::Result<Bytes> {
        self.count(|| format!("read {id}"));
        self.store.read(id, range).await
    }
}

#[async_trait::async_trait(?Send)]
impl Store for Counted {
    async fn list(&self, level: Level, after: Txid) -> store::Result<Vec<SegmentInfo>> {
        self.count(|| format!("list {level}"));
        self.store.list(level, after).await
    }

    async fn stat(&self, id: SegmentId) -> store::Result<Option<SegmentInfo>> {
        self.count(|| format!("stat {id}"));
        self.store.stat(id).await
    }

    async fn create(&self, id: SegmentId, body: &dyn Body) -> store::Result<()> {
        self.count(|| format!("create {id}"));
        // A store takes its time.
        sleep(Duration::from_millis(20)).await;
        self.store.create(id, body).await
    }

    async fn delete(&self, id: SegmentId) -> store::Result<()> {
        self.deletes.set(self.deletes.get() + 1);
        self.store.delete(id).await
    }

    async fn delete_all(&self, ids: &[SegmentId]) -> store::Result<()> {
        self.deletes.set(self.deletes.get() + 1);
        self.store.delete_all(ids).await
    }
}
