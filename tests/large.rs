//! A database of as many pages as 10 GiB have: planned, mapped, restored in order and merged in memory that does not grow
//! with it. The pages are of 512 bytes; with `WALFERRY_LARGE=1` they have 4,096, and it is 10 GiB.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

#[path = "segments/memory.rs"]
mod memory;
mod segments;

use std::cell::Cell;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use memory::Peak;
use segments::restoring::now;
use walferry::ltx::{
    Codec, Compressor, DbSum, Decompressor, Encoder, Header, PageCrc, PageSize, Pgno, Sums, Timestamp, Txid,
    decode_frame,
};
use walferry::merge::{Sink, merge};
use walferry::replica::{Level, MapWindow, Position, SegmentId, SegmentInfo, Target};
use walferry::restore::{Damage, Restore, map, plan_without};
use walferry::store::{self, Body, MemoryStore, Source, Store};

const PAGES: u32 = 2_621_440;
/// Transactions after the snapshot, of so many pages each.
const LATER: u64 = 40;
const CHANGED: u32 = 1000;
const MIB: usize = 1 << 20;

/// Gives copies, as a network does, and counts the reads and their bytes.
struct Far {
    store: MemoryStore,
    reads: Cell<u32>,
    bytes: Cell<u64>,
}

#[async_trait(?Send)]
impl Source for Far {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> store::Result<Bytes> {
        let bytes = Bytes::copy_from_slice(&self.store.read(id, range).await?);
        self.reads.set(self.reads.get() + 1);
        self.bytes.set(self.bytes.get() + bytes.len() as u64);
        Ok(bytes)
    }
}

#[async_trait(?Send)]
impl Store for Far {
    async fn list(&self, level: Level, after: Txid) -> store::Result<Vec<SegmentInfo>> {
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

/// Counts what it takes.
#[derive(Default)]
struct Nowhere(u64);

impl std::io::Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink for Nowhere {}

/// Pages of one content, packed once; what tells them apart is their number, which their sums include.
struct Content {
    page_size: PageSize,
    page: Vec<u8>,
    payload: Vec<u8>,
}

impl Content {
    fn new(page_size: PageSize, fill: u8) -> Self {
        let page = vec![fill; page_size.len()];
        let header = Header::new(page_size, 1, (Txid(1), Txid(1)), Timestamp(1), None);
        let mut encoder = Encoder::new(Vec::new(), header, Compressor::new(Codec::Deflate)).unwrap();
        encoder.page(Pgno(1), PageCrc::of(Pgno(1), &page), &page).unwrap();
        let (bytes, ..) = encoder.finish().unwrap();
        let payload = segments::decode(&bytes).unwrap().pages.remove(0).payload;
        Self {
            page_size,
            page,
            payload,
        }
    }

    fn crc(&self, pgno: Pgno) -> PageCrc {
        PageCrc::of(pgno, &self.page)
    }

    fn put(&self, store: &MemoryStore, id: SegmentId, sums: Sums, pages: impl Iterator<Item = Pgno>) {
        let time = Timestamp(1_700_000_000_000 + id.max.0 as i64);
        let header = Header::new(self.page_size, PAGES, (id.min, id.max), time, Some(sums));
        let mut encoder = Encoder::new(Vec::new(), header, Compressor::new(Codec::Deflate)).unwrap();
        for pgno in pages {
            encoder
                .packed_page(pgno, Codec::Deflate, self.crc(pgno), &self.payload)
                .unwrap();
        }
        let (bytes, ..) = encoder.finish().unwrap();
        store.tamper(id, bytes.into());
    }
}

fn id(level: u8, min: u64, max: u64) -> SegmentId {
    SegmentId::new(Level::new(level).unwrap(), Txid(min), Txid(max)).unwrap()
}

/// A snapshot, and transactions that change pages all over it.
fn replica(page_size: PageSize) -> Far {
    let store = MemoryStore::default();
    let lock_page = page_size.lock_page();
    let old = Content::new(page_size, 1);
    let stored = || (1..=PAGES).map(Pgno).filter(|&pgno| pgno != lock_page);
    let mut after = stored().fold(DbSum::EMPTY, |sum, pgno| sum.plus(old.crc(pgno)));
    let sums = Sums {
        before: DbSum::EMPTY,
        after,
    };
    old.put(&store, id(9, 1, 1), sums, stored());
    let new = Content::new(page_size, 2);
    for number in 0..LATER {
        // No two of them change the same page.
        let start = 1 + number as u32;
        let pages = || {
            (0..CHANGED)
                .map(move |at| Pgno(start + at * (PAGES / CHANGED)))
                .filter(|&pgno| pgno != lock_page)
        };
        let before = after;
        after = pages().fold(before, |sum, pgno| sum.minus(old.crc(pgno)).plus(new.crc(pgno)));
        let txid = number + 2;
        new.put(&store, id(0, txid, txid), Sums { before, after }, pages());
    }
    Far {
        store,
        reads: Cell::new(0),
        bytes: Cell::new(0),
    }
}

#[test]
fn ten_gibibytes_fit_into_the_memory_of_a_worker() {
    let _alone = memory::alone();
    let is_large = std::env::var("WALFERRY_LARGE").is_ok_and(|large| large == "1");
    let page_size = PageSize::new(if is_large { 4096 } else { 512 }).unwrap();
    let far = replica(page_size);

    let memory = Peak::start();
    let plan = now(plan_without(&far, Target::Latest, Txid::ZERO, &Damage::default())).unwrap();
    assert_eq!(plan.segments.len() as u64, LATER + 1);
    assert!(memory.peak() < MIB, "a plan takes {} bytes", memory.peak());

    // A window anywhere is found by few reads, though the snapshot's index alone has 25 MB.
    let mut decompressor = Decompressor::default();
    for first in [1, 1_000_000, PAGES - MapWindow::MAX_PAGES + 1] {
        let (reads, bytes) = (far.reads.get(), far.bytes.get());
        let memory = Peak::start();
        let window = now(map(&far, &plan, Target::Latest, first..=u32::MAX, 4)).unwrap();
        let sent = window.encode();
        let peak = memory.peak();
        let (reads, bytes) = (far.reads.get() - reads, far.bytes.get() - bytes);
        eprintln!(
            "map from {first}: {peak} bytes of memory, {reads} reads, {bytes} bytes read, {} sent",
            sent.len()
        );
        assert!(peak < 24 * MIB, "a window takes {peak} bytes");
        assert!(reads < 70, "a window takes {reads} reads");
        assert!(bytes < 8 << 20, "a window takes {bytes} bytes");
        assert!(
            sent.len() < 2 * MapWindow::MAX_PAGES as usize,
            "a window has {} bytes",
            sent.len()
        );
        let window = MapWindow::decode(&sent).unwrap();
        assert!(window.pages().count() as u32 >= MapWindow::MAX_PAGES - 1);
        for (pgno, object, place) in window.pages().step_by(997) {
            let frame = now(far
                .store
                .read(object, place.offset..place.offset + u64::from(place.len)))
            .unwrap();
            let mut page = vec![0; page_size.len()];
            decode_frame(&frame, pgno, &mut decompressor, &mut page).unwrap();
            let is_new = (pgno.0 - 1) % (PAGES / CHANGED) < LATER as u32;
            assert_eq!(page[0], if is_new { 2 } else { 1 }, "page {}", pgno.0);
        }
    }

    let memory = Peak::start();
    let restored = now(async {
        let restore = Restore::from_plan_with(&far, plan.clone(), Position::EMPTY, 4)
            .await
            .unwrap()
            .unwrap();
        let (mut pieces, mut sum, mut len) = (restore.in_order(4 * MIB), DbSum::EMPTY, 0);
        while let Some(piece) = pieces.next().await {
            let piece = piece.unwrap();
            sum = sum.join(piece.sum);
            len += piece.bytes.len() as u64;
        }
        restore.prove(sum).unwrap();
        len
    });
    assert_eq!(restored, page_size.file_size(PAGES));
    eprintln!("in order: {} bytes of memory", memory.peak());
    assert!(
        memory.peak() < 32 * MIB,
        "a restore takes {} bytes",
        memory.peak()
    );

    let memory = Peak::start();
    let merged = now(merge(&far, &plan.segments, Level::SNAPSHOT, Nowhere::default())).unwrap();
    assert_eq!(merged.size, merged.out.0);
    assert_eq!(merged.header.commit, PAGES);
    eprintln!("merge: {} bytes of memory", memory.peak());
    assert!(memory.peak() < 40 * MIB, "a merge takes {} bytes", memory.peak());
}
