//! Databases of a gibibyte, around the page that SQLite never writes, and the memory that they take on their way:
//! no more than small ones.
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

use std::io::Write;

use bytes::Bytes;
use futures_util::StreamExt;
use memory::Peak;
use segments::history::{create, id};
use segments::restoring::now;
use segments::{decode, encode};
use walferry::ltx::{
    Codec, Compressor, DbSum, Decoder, Encoder, Error, Event, Header, PageCrc, PageSize, Pgno, Sums,
    Timestamp, Trailer, Txid,
};
use walferry::replica::{Position, Target};
use walferry::restore::{self, Restore, Scratch};
use walferry::store::MemoryStore;

/// Every page is the same but for its first bytes, so that nothing of the gibibyte needs to be kept.
struct Page(Vec<u8>);

impl Page {
    fn new(size: PageSize) -> Self {
        Self((0..size.len()).map(|at| (at / 1024) as u8).collect())
    }

    fn numbered(&mut self, pgno: Pgno) -> &[u8] {
        self.0[..4].copy_from_slice(&pgno.0.to_le_bytes());
        &self.0
    }
}

/// Decodes what an encoder writes, as it is written.
struct Pipe {
    decoder: Decoder,
    pages: u32,
    expected: Page,
    lock_page: Pgno,
    trailer: Option<Trailer>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.decoder.push(bytes);
        while let Some(event) = self.decoder.next().map_err(std::io::Error::other)? {
            match event {
                Event::Header(_) => {}
                Event::Page(page) => {
                    self.pages += 1;
                    assert_eq!(
                        page.pgno.0,
                        self.pages + u32::from(self.pages >= self.lock_page.0)
                    );
                    assert!(
                        page.data == self.expected.numbered(page.pgno),
                        "page {}",
                        page.pgno
                    );
                }
                Event::End(trailer) => self.trailer = Some(trailer),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The sizes at which page size 65536 meets its lock page, 16385.
#[test]
fn snapshots_pass_over_the_lock_page() {
    let _alone = memory::alone();
    let size = PageSize::new(65_536).unwrap();
    assert_eq!(size.lock_page(), Pgno(16_385));
    for (commit, codec) in [
        (16_384, Codec::Lz4),
        (16_385, Codec::Deflate),
        (16_386, Codec::Lz4),
        (16_390, Codec::Lz4),
    ] {
        let header = Header::new(size, commit, (Txid(1), Txid(1)), Timestamp(0), None);
        let pipe = Pipe {
            decoder: Decoder::new(),
            pages: 0,
            expected: Page::new(size),
            lock_page: size.lock_page(),
            trailer: None,
        };
        let mut page = Page::new(size);
        let before = Peak::start();
        let mut encoder = Encoder::new(pipe, header, Compressor::new(codec)).unwrap();
        for pgno in (1..=commit).map(Pgno).filter(|&pgno| pgno != size.lock_page()) {
            let page = page.numbered(pgno);
            encoder.page(pgno, PageCrc::of(pgno, page), page).unwrap();
        }
        let (pipe, trailer, _) = encoder.finish().unwrap();
        let peak = before.peak();
        pipe.decoder.finish().unwrap();
        assert_eq!(pipe.trailer, Some(trailer));
        assert_eq!(pipe.pages, size.stored_pages(commit));
        // Pages and payloads of 64 KiB, deflate's tables, and the encoder's index of 160 KB, doubled as it grows.
        assert!(peak < 1_500_000, "{commit} pages took {peak} bytes of memory");
    }
}

/// The better pages are packed, the more of them a read brings: a gibibyte of zeros is four megabytes.
#[test]
fn a_gibibyte_of_zeros_is_restored_in_bounded_memory() {
    let _alone = memory::alone();
    let size = PageSize::new(65_536).unwrap();
    let commit = 16_388;
    let zeros = vec![0; size.len()];
    let header = |sums| Header::new(size, commit, (Txid(1), Txid(1)), Timestamp(0), sums);
    let mut encoder = Encoder::new(Vec::new(), header(None), Compressor::new(Codec::Lz4)).unwrap();
    let mut sum = DbSum::EMPTY;
    for pgno in (1..=commit).map(Pgno).filter(|&pgno| pgno != size.lock_page()) {
        let crc = PageCrc::of(pgno, &zeros);
        encoder.page(pgno, crc, &zeros).unwrap();
        sum = sum.plus(crc);
    }
    let unpromised: Bytes = encoder.finish().unwrap().0.into();
    let mut promised = unpromised.to_vec();
    let sums = Sums {
        before: DbSum::EMPTY,
        after: sum,
    };
    promised[..Header::LEN].copy_from_slice(&header(Some(sums)).encode());

    for bytes in [unpromised, promised.into()] {
        let store = MemoryStore::default();
        create(&store, id(9, 1, 1), &bytes);
        let before = Peak::start();
        let (pages, computed) = now(async {
            let restore = Restore::prepare(&store, Target::Latest, Position::EMPTY)
                .await
                .unwrap()
                .unwrap();
            let (mut pages, mut sum) = (0, DbSum::EMPTY);
            let mut scratch = Scratch::default();
            let mut chunks = restore.chunks();
            while let Some(chunk) = chunks.next().await {
                let part = chunk.unwrap().decode(&mut scratch, |pgno, _, page| {
                    assert!(pgno != size.lock_page() && page == zeros);
                    pages += 1;
                    Ok::<(), restore::Error>(())
                });
                sum = sum.join(part.unwrap());
            }
            restore.prove(sum).unwrap();
            (pages, sum)
        });
        let peak = before.peak();
        assert_eq!((pages, computed), (size.stored_pages(commit), sum));
        assert!(peak < 8 * 1024 * 1024, "it took {peak} bytes of memory");
    }
}

#[test]
fn the_lock_page_is_refused_and_not_missed() {
    let _alone = memory::alone();
    for log in 9..=16 {
        let size = PageSize::new(1 << log).unwrap();
        let lock_page = size.lock_page().0;
        let header = Header::new(size, lock_page + 2, (Txid(2), Txid(2)), Timestamp(0), None);
        let page = vec![7; size.len()];
        let around = [lock_page - 1, lock_page + 1, lock_page + 2].map(|pgno| (Pgno(pgno), &page[..]));
        let segment = decode(&encode(&header, Codec::Lz4, around).unwrap()).unwrap();
        assert_eq!(segment.pages.len(), 3);
        let on_it = [(Pgno(lock_page), &page[..])];
        let refused = encode(&header, Codec::Lz4, on_it).unwrap_err();
        assert!(
            matches!(refused, Error::PageOrder { pgno, .. } if pgno.0 == lock_page),
            "{refused}"
        );
    }
}
