//! A replica in memory, made by the crate's own encoder from the pages of a database as it changes.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use bytes::Bytes;
use futures_util::FutureExt;
use walferry::ltx::{
    Codec, Compressor, DbSum, Encoder, Header, PageCrc, PageSize, Pgno, Sums, Timestamp, Txid,
};
use walferry::replica::{Level, SegmentId};
use walferry::store::{MemoryStore, Source, Store};

pub struct Replica {
    pub store: MemoryStore,
    pub page_size: PageSize,
    pub codec: Codec,
    /// Whether segments promise database sums; Litestream's do not.
    pub promised: bool,
    pub txid: Txid,
    pub pages: Vec<Vec<u8>>,
    /// What the clock of whoever ships shows, in Unix milliseconds: a millisecond more with each transaction.
    pub clock: i64,
}

impl Replica {
    pub fn new(page_size: u32, codec: Codec) -> Self {
        Self {
            store: MemoryStore::default(),
            page_size: PageSize::new(page_size).unwrap(),
            codec,
            promised: true,
            txid: Txid::ZERO,
            pages: Vec::new(),
            clock: 1_700_000_000_000,
        }
    }

    /// Ships the difference to `database`, the bytes of the whole file; the first time, all of it.
    pub fn ship(&mut self, database: &[u8]) -> SegmentId {
        let pages: Vec<Vec<u8>> = database
            .chunks(self.page_size.len())
            .map(<[u8]>::to_vec)
            .collect();
        let (before, after) = (self.sum(&self.pages), self.sum(&pages));
        self.txid = self.txid.next().unwrap();
        let header = Header::new(
            self.page_size,
            pages.len() as u32,
            (self.txid, self.txid),
            Timestamp(self.clock + self.txid.0 as i64),
            self.promised.then_some(Sums { before, after }),
        );
        let mut encoder = Encoder::new(Vec::new(), header, Compressor::new(self.codec)).unwrap();
        for (pgno, page) in self.numbered(&pages) {
            if self.pages.get(pgno.0 as usize - 1) != Some(page) {
                encoder.page(pgno, PageCrc::of(pgno, page), page).unwrap();
            }
        }
        let (bytes, ..) = encoder.finish().unwrap();
        let id = SegmentId::new(Level::RAW, self.txid, self.txid).unwrap();
        let body = Bytes::from(bytes);
        self.store.create(id, &body).now_or_never().unwrap().unwrap();
        self.pages = pages;
        id
    }

    /// The newest state as a snapshot of all transactions so far.
    pub fn snapshot(&self) -> Bytes {
        let after = self.sum(&self.pages);
        let header = Header::new(
            self.page_size,
            self.pages.len() as u32,
            (Txid::FIRST, self.txid),
            Timestamp(self.clock + self.txid.0 as i64),
            self.promised.then_some(Sums {
                before: DbSum::EMPTY,
                after,
            }),
        );
        let mut encoder = Encoder::new(Vec::new(), header, Compressor::new(self.codec)).unwrap();
        for (pgno, page) in self.numbered(&self.pages) {
            encoder.page(pgno, PageCrc::of(pgno, page), page).unwrap();
        }
        let (bytes, ..) = encoder.finish().unwrap();
        bytes.into()
    }

    /// The bytes of one object.
    pub fn object(&self, id: SegmentId) -> Bytes {
        let info = self.store.stat(id).now_or_never().unwrap().unwrap().unwrap();
        self.store.read(id, 0..info.size).now_or_never().unwrap().unwrap()
    }

    /// The whole database as it was shipped last.
    pub fn database(&self) -> Vec<u8> {
        self.pages.concat()
    }

    fn sum(&self, pages: &[Vec<u8>]) -> DbSum {
        self.numbered(pages).fold(DbSum::EMPTY, |sum, (pgno, page)| {
            sum.plus(PageCrc::of(pgno, page))
        })
    }

    fn numbered<'p>(&self, pages: &'p [Vec<u8>]) -> impl Iterator<Item = (Pgno, &'p Vec<u8>)> + use<'p> {
        let lock_page = self.page_size.lock_page();
        (1..)
            .map(Pgno)
            .zip(pages)
            .filter(move |(pgno, _)| *pgno != lock_page)
    }
}
