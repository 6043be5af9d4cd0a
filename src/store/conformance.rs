//! What every [`Store`] must do, as one test to run against each: the Worker's on workerd as well as a folder.
//!
//! Panics with the rule that was broken; only tests call it.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "this is a test that several test suites share"
)]

use bytes::Bytes;

use super::{Body, Error, Store, create_or_confirm};
use crate::ltx::{
    Codec, Compressor, DbSum, Encoder, Header, PageCrc, PageSize, Pgno, Sums, Timestamp, Trailer, Txid,
};
use crate::replica::{Level, SegmentId, SegmentInfo};

/// Runs the suite against an empty replica. Leaves three segments of one database in it.
pub async fn run(store: &dyn Store) {
    assert_eq!(
        store
            .list(Level::RAW, Txid::ZERO)
            .await
            .expect("an empty replica can be listed"),
        []
    );
    let mut sum = DbSum::EMPTY;
    let mut made = Vec::new();
    // The last covers a range, as one does that was shipped after a while.
    for (min, max) in [(1, 1), (2, 2), (3, 4)] {
        let (id, bytes, trailer) = range(min, max, &mut sum);
        assert_eq!(
            store.stat(id).await.expect("stat of what is not there"),
            None,
            "nothing is there before create"
        );
        store.create(id, &bytes).await.expect("create");
        made.push((id, bytes, trailer));
    }

    listings(store, &made).await;
    for (id, bytes, _) in &made {
        reads(store, *id, bytes).await;
    }
    creates_only_once(store, &made).await;
}

/// Deletion, for stores that allow it; deletes `id`.
pub async fn deletes(store: &dyn Store, id: SegmentId) {
    let info = store.stat(id).await.expect("stat").expect("it is there");
    let bytes = store.read(id, 0..info.size).await.expect("read");
    store.delete(id).await.expect("delete");
    assert_eq!(
        store.stat(id).await.expect("stat"),
        None,
        "a deleted object is gone"
    );
    store.delete(id).await.expect("deleting what is gone is no error");
    store.create(id, &bytes).await.expect("its name is free again");
    let missing = SegmentId { max: Txid(99), ..id };
    store.delete_all(&[missing, id]).await.expect("delete several");
    assert_eq!(
        store.stat(id).await.expect("stat"),
        None,
        "what is deleted with others is gone"
    );
    store
        .delete_all(&[])
        .await
        .expect("to delete nothing is no error");
}

/// A small valid segment at level 0: one page of a one-page database, in the chain of `sum`.
pub fn segment(txid: u64, sum: &mut DbSum) -> (SegmentId, Bytes, Trailer) {
    range(txid, txid, sum)
}

fn range(min: u64, max: u64, sum: &mut DbSum) -> (SegmentId, Bytes, Trailer) {
    let page_size = PageSize::new(512).expect("512 is a page size");
    let page = |txid: u64| vec![txid as u8; page_size.len()];
    let before = *sum;
    if min > 1 {
        *sum = sum.minus(PageCrc::of(Pgno(1), &page(min - 1)));
    }
    let crc = PageCrc::of(Pgno(1), &page(max));
    *sum = sum.plus(crc);
    let sums = Sums { before, after: *sum };
    let time = Timestamp(1_700_000_000_000 + max as i64 * 1000);
    let header = Header::new(page_size, 1, (Txid(min), Txid(max)), time, Some(sums));
    let mut encoder = Encoder::new(Vec::new(), header, Compressor::new(Codec::Lz4)).expect("a valid header");
    encoder.page(Pgno(1), crc, &page(max)).expect("a valid page");
    let (bytes, trailer, _) = encoder.finish().expect("a valid segment");
    let id = SegmentId::new(Level::RAW, Txid(min), Txid(max)).expect("a valid name");
    (id, Bytes::from(bytes), trailer)
}

async fn listings(store: &dyn Store, made: &[(SegmentId, Bytes, Trailer)]) {
    let all = store.list(Level::RAW, Txid::ZERO).await.expect("list");
    let expected: Vec<(SegmentId, u64)> = made
        .iter()
        .map(|(id, bytes, _)| (*id, bytes.len() as u64))
        .collect();
    let found: Vec<(SegmentId, u64)> = all.iter().map(|info| (info.id, info.size)).collect();
    assert_eq!(found, expected, "a listing is complete and ascending");
    let everywhere = store.list_all(Txid::ZERO).await.expect("list all levels");
    assert_eq!(everywhere, all, "there is nothing at other levels");
    let time = |info: &SegmentInfo| {
        info.timestamp
            .is_none_or(|time| time.0 == 1_700_000_000_000 + info.id.max.0 as i64 * 1000)
    };
    assert!(all.iter().all(time), "a time that is told is the segment's");
    for (after, left) in [(1, 2), (2, 1), (3, 1), (4, 0)] {
        assert_eq!(
            store.list(Level::RAW, Txid(after)).await.expect("list").len(),
            left,
            "a listing after transaction {after} holds what reaches beyond it, and nothing else"
        );
    }
    assert_eq!(
        store.list(Level::SNAPSHOT, Txid::ZERO).await.expect("list"),
        [],
        "levels are apart"
    );
}

async fn reads(store: &dyn Store, id: SegmentId, bytes: &Bytes) {
    let size = bytes.len() as u64;
    let info = store.stat(id).await.expect("stat").expect("it is there");
    assert_eq!((info.id, info.size), (id, size));
    assert_eq!(store.read(id, 0..size).await.expect("read all"), bytes);
    assert_eq!(
        store.read(id, 7..100).await.expect("read a range"),
        bytes.slice(7..100)
    );
    assert_eq!(
        store.read(id, size - 16..size).await.expect("read the end"),
        bytes.slice(bytes.len() - 16..)
    );
    for range in [0..size + 1, size + 5..size + 6] {
        match store.read(id, range.clone()).await {
            Err(Error::OutOfRange(_)) => {}
            other => panic!("reading {range:?} of {size} bytes must be out of range, not {other:?}"),
        }
    }
    let missing = SegmentId { max: Txid(99), ..id };
    match store.read(missing, 0..1).await {
        Err(Error::NotFound(_)) => {}
        other => panic!("reading what is not there must be not found, not {other:?}"),
    }
}

async fn creates_only_once(store: &dyn Store, made: &[(SegmentId, Bytes, Trailer)]) {
    let Some((id, bytes, trailer)) = made.last() else {
        return;
    };
    create_or_confirm(store, *id, bytes, trailer.file_checksum)
        .await
        .expect("a retry of the same is confirmed");
    let mut other = bytes.to_vec();
    if let Some(last) = other.last_mut() {
        *last ^= 1;
    }
    let other = Bytes::from(other);
    let checksum = crate::ltx::FileChecksum(trailer.file_checksum.0 ^ 1);
    match create_or_confirm(store, *id, &other, checksum).await {
        Err(Error::Exists(_) | Error::Conflict { .. } | Error::Refused(_)) => {}
        result => panic!("a second object of the same name must be refused, not {result:?}"),
    }
    assert_eq!(
        store.read(*id, 0..Body::len(bytes)).await.expect("read"),
        bytes,
        "the first object stands"
    );
}
