//! A replica of two objects of any bytes: what is restored is proven, and every page of it was brought.
#![no_main]

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use libfuzzer_sys::fuzz_target;
use walferry::ltx::{DbSum, Header, PageCrc};
use walferry::replica::{Level, Position, SegmentId, Target};
use walferry::restore::{Error, Restore, Scratch};
use walferry::store::MemoryStore;

fuzz_target!(|bytes: &[u8]| {
    let Some((at, both)) = bytes.split_first_chunk() else {
        return;
    };
    let (one, two) = both.split_at(usize::from(u16::from_be_bytes(*at)).min(both.len()));
    let store = MemoryStore::default();
    for object in [one, two] {
        let header = object.first_chunk().map(Header::parse);
        let Some(Ok(header)) = header else {
            return;
        };
        if let Some(id) = SegmentId::new(Level::RAW, header.min_txid, header.max_txid) {
            store.tamper(id, Bytes::copy_from_slice(object));
        }
    }
    restore(&store)
        .now_or_never()
        .expect("a store in memory never waits")
        .ok();
});

async fn restore(store: &MemoryStore) -> Result<(), Error> {
    let Some(restore) = Restore::prepare(store, Target::Latest, Position::EMPTY).await? else {
        return Ok(());
    };
    let (mut pages, mut sum) = (0, DbSum::EMPTY);
    let mut scratch = Scratch::default();
    let mut chunks = restore.chunks();
    while let Some(chunk) = chunks.next().await {
        sum = sum.join(chunk?.decode(&mut scratch, |pgno, crc, page| {
            assert!((1..=restore.commit()).contains(&pgno.0));
            assert_eq!(crc, PageCrc::of(pgno, page));
            pages += 1;
            Ok::<(), Error>(())
        })?);
    }
    restore.prove(sum)?;
    assert_eq!(pages, restore.page_size().stored_pages(restore.commit()));
    Ok(())
}
