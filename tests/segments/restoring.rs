//! Restores as a native restore and a browser's refresh do, into a list of pages.

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use std::cell::Cell;
use std::ops::Range;
use walferry::ltx::{DbSum, PageCrc, Pgno, Txid};
use walferry::replica::{Level, Position, SegmentId, SegmentInfo, Target};
use walferry::restore::{Chunk, Error, Restore, Scratch};
use walferry::store::{self, Body, Source, Store};

use super::history::{State, sum};

/// A database from nothing.
pub fn restore(store: &dyn Store, target: Target) -> Result<(State, Position), Error> {
    now(whole(store, target))
}

/// The same, over a network.
pub async fn whole(store: &dyn Store, target: Target) -> Result<(State, Position), Error> {
    let restore = Restore::prepare(store, target, Position::EMPTY).await?;
    let restore = restore.expect("from nothing there is always something to do");
    finish(&restore, Vec::new(), DbSum::EMPTY).await
}

/// From a state at hand; `None` if it is there already.
pub fn refresh(
    store: &dyn Store,
    target: Target,
    (state, from): (&State, Position),
) -> Result<Option<(State, Position)>, Error> {
    now(async {
        let Some(restore) = Restore::prepare(store, target, from).await? else {
            return Ok(None);
        };
        if let Some(page) = state.first() {
            let page_size = walferry::ltx::PageSize::new(page.len() as u32).unwrap();
            restore.applies_to(page_size, state.len() as u32)?;
        }
        finish(&restore, state.clone(), sum(state)).await.map(Some)
    })
}

async fn finish(restore: &Restore<'_>, mut state: State, mut sum: DbSum) -> Result<(State, Position), Error> {
    let page_size = restore.page_size();
    let commit = restore.commit() as usize;
    for (pgno, page) in (1..).map(Pgno).zip(&state).skip(commit) {
        sum = sum.minus(PageCrc::of(pgno, page));
    }
    state.resize(commit, Vec::new());
    let mut scratch = Scratch::default();
    let (mut pages, mut fetched) = (0, 0);
    let mut chunks = restore.chunks();
    while let Some(chunk) = chunks.next().await {
        let chunk: Chunk = chunk?;
        fetched += chunk.fetched();
        let part = chunk.decode(&mut scratch, |pgno, crc, page| {
            assert_eq!(page.len(), page_size.len());
            let place = &mut state[pgno.0 as usize - 1];
            if !place.is_empty() {
                sum = sum.minus(PageCrc::of(pgno, place));
            }
            assert_eq!(crc, PageCrc::of(pgno, page));
            *place = page.to_vec();
            pages += 1;
            Ok::<(), Error>(())
        })?;
        sum = sum.join(part);
    }
    let position = restore.prove(sum)?;
    assert_eq!(
        (pages, fetched),
        (restore.pages(), restore.bytes()),
        "progress ends at 100 %"
    );
    assert_eq!(position.sum, Some(self::sum(&state)));
    Ok((state, position))
}

/// Nothing here waits for anything.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a store in memory never waits")
}

/// Counts requests on their way to another store.
pub struct Counting<'a> {
    pub store: &'a dyn Store,
    pub lists: Cell<u32>,
    pub reads: Cell<u32>,
    pub bytes: Cell<u64>,
}

impl<'a> Counting<'a> {
    pub fn new(store: &'a dyn Store) -> Self {
        Self {
            store,
            lists: Cell::default(),
            reads: Cell::default(),
            bytes: Cell::default(),
        }
    }
}

#[async_trait::async_trait(?Send)]
impl Source for Counting<'_> {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> store::Result<Bytes> {
        self.reads.set(self.reads.get() + 1);
        self.bytes.set(self.bytes.get() + range.end - range.start);
        self.store.read(id, range).await
    }
}

#[async_trait::async_trait(?Send)]
impl Store for Counting<'_> {
    async fn list(&self, level: Level, after: Txid) -> store::Result<Vec<SegmentInfo>> {
        self.lists.set(self.lists.get() + 1);
        self.store.list(level, after).await
    }

    async fn stat(&self, id: SegmentId) -> store::Result<Option<SegmentInfo>> {
        self.store.stat(id).await
    }

    async fn create(&self, id: SegmentId, body: &dyn Body) -> store::Result<()> {
        self.store.create(id, body).await
    }

    async fn delete(&self, id: SegmentId) -> store::Result<()> {
        self.store.delete(id).await
    }
}
