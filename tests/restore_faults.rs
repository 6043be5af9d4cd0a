//! What is wrong with a replica ends in an error, never in a wrong database.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod segments;

use std::ops::Range;

use bytes::Bytes;
use segments::content::{Fill, Random};
use segments::history::{History, create, delete, id, objects, read, replica};
use segments::restoring::{refresh, restore};
use walferry::ltx::{Codec, DbSum, Header, Txid};
use walferry::replica::{Level, PlanError, SegmentId, SegmentInfo, Target};
use walferry::restore::Error;
use walferry::store::conformance::segment;
use walferry::store::{self, Body, MemoryStore, Source, Store};

/// Restores and refreshes from `object` changed at one byte; neither may give a wrong database.
fn change(history: &History, store: &MemoryStore, object: SegmentId, at: usize, mask: u8) {
    let good = read(store, object);
    let mut bytes = good.to_vec();
    bytes[at] ^= mask;
    store.tamper(object, bytes.into());
    let expected = (history.states[4].clone(), history.position(4));
    if let Ok(found) = restore(store, Target::Latest) {
        assert!(
            found == expected,
            "a wrong database: {object}, byte {at} ^ {mask:#x}"
        );
    }
    let base = (&history.states[2], history.position(2));
    if let Ok(found) = refresh(store, Target::Latest, base) {
        assert!(
            found == Some(expected),
            "a wrong database by refresh: {object}, byte {at} ^ {mask:#x}"
        );
    }
    store.tamper(object, good);
}

/// Both kinds of replicas, in each codec.
fn replicas() -> impl Iterator<Item = (History, MemoryStore, Codec, bool)> {
    Codec::ALL.into_iter().flat_map(|codec| {
        [true, false].map(|promised| {
            let history = History::small();
            let store = replica(&history, codec, promised);
            (history, store, codec, promised)
        })
    })
}

#[test]
fn any_changed_byte_is_seen_or_harmless() {
    for (history, store, ..) in replicas() {
        let mut random = Random(5);
        for object in objects(&store) {
            for at in 0..read(&store, object).len() {
                let one_bit = 1 << random.below(8);
                let mask = if at % 3 == 0 {
                    1 + random.below(255) as u8
                } else {
                    one_bit
                };
                change(&history, &store, object, at, mask);
            }
        }
    }
}

/// An index that names another page hides the newest version of the one that it named. Where nothing else is wanted
/// of that segment, nobody would look at it again.
#[test]
fn any_changed_bit_of_an_index_is_seen() {
    for (history, store, ..) in replicas() {
        for object in objects(&store) {
            let bytes = read(&store, object);
            let index_len = u64::from_be_bytes(*bytes[bytes.len() - 24..].first_chunk().unwrap());
            for at in bytes.len() - 24 - index_len as usize..bytes.len() - 16 {
                for bit in 0..8 {
                    change(&history, &store, object, at, 1 << bit);
                }
            }
        }
    }
}

#[test]
fn any_cut_object_is_refused() {
    for (_, store, codec, promised) in replicas() {
        for object in objects(&store) {
            let good = read(&store, object);
            for cut in (0..good.len()).step_by(7) {
                store.tamper(object, good.slice(..cut));
                let result = restore(&store, Target::Latest);
                assert!(
                    result.is_err(),
                    "{codec}, promised {promised}, {object} cut at {cut}"
                );
            }
            store.tamper(object, good);
        }
    }
}

#[test]
fn gaps_and_missing_snapshots_are_named() {
    for (_, store, ..) in replicas() {
        delete(&store, id(0, 3, 3));
        let gap = restore(&store, Target::Latest).unwrap_err();
        assert!(
            matches!(
                gap,
                Error::Plan(PlanError::Gap {
                    after: Txid(2),
                    next: Txid(4)
                })
            ),
            "{gap}"
        );
        // What is before the gap can be had, if it is asked for.
        restore(&store, Target::Txid(Txid(2))).unwrap();
        delete(&store, id(9, 1, 1));
        let none = restore(&store, Target::Latest).unwrap_err();
        assert!(
            matches!(none, Error::Plan(PlanError::NoSnapshot(_, Txid(2)))),
            "{none}"
        );
    }
    let empty = restore(&MemoryStore::default(), Target::Latest).unwrap_err();
    assert!(matches!(empty, Error::Plan(PlanError::Empty)), "{empty}");
}

#[test]
fn another_page_size_is_refused() {
    for (_, store, codec, promised) in replicas() {
        let other = History::random(1024, 4, &mut Random(3));
        store.tamper(id(0, 2, 2), other.segment(2, 2, codec, promised));
        let error = restore(&store, Target::Latest).unwrap_err();
        assert!(matches!(error, Error::PageSize(_)), "{error}");
    }
}

#[test]
fn a_wrong_name_is_refused() {
    for (_, store, ..) in replicas() {
        let two = read(&store, id(0, 2, 2));
        let three = read(&store, id(0, 3, 3));
        store.tamper(id(0, 3, 3), two);
        store.tamper(id(0, 2, 2), three);
        let error = restore(&store, Target::Latest).unwrap_err();
        assert!(matches!(error, Error::WrongName { .. }), "{error}");
    }
}

/// A store that answers otherwise at the second read: what was planned by is not what was proven.
#[test]
fn a_header_that_changes_between_reads_is_refused() {
    let mut history = History::small();
    for state in &mut history.states[1..] {
        state.resize(300, Fill::Noise(3).page(512));
    }
    let header = history.header(1, 4, false);
    let bytes = history.segment(1, 4, Codec::Lz4, false);
    assert!(
        bytes.len() > 64 * 1024,
        "header and tail are read apart from the rest"
    );
    let object = id(9, 1, 4);
    let store = MemoryStore::default();
    create(&store, object, &bytes);
    assert!(restore(&store, Target::Latest).is_ok());
    let later = Header {
        timestamp: History::time(5),
        ..header
    };
    let lying = Lying {
        store,
        header: later.encode(),
    };
    let error = restore(&lying, Target::Latest).unwrap_err();
    assert!(
        matches!(error, Error::Damaged { segment, .. } if segment == object),
        "{error}"
    );
}

/// Gives another header when it is asked for nothing else.
struct Lying {
    store: MemoryStore,
    header: [u8; Header::LEN],
}

#[async_trait::async_trait(?Send)]
impl Source for Lying {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> store::Result<Bytes> {
        if range == (0..Header::LEN as u64) {
            return Ok(Bytes::copy_from_slice(&self.header));
        }
        self.store.read(id, range).await
    }
}

#[async_trait::async_trait(?Send)]
impl Store for Lying {
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

/// A segment that happens to hold every page needs no other; it must be of the same history all the same.
#[test]
fn a_whole_segment_of_another_history_is_refused() {
    let store = MemoryStore::default();
    let (mut ours, mut theirs) = (DbSum::EMPTY, DbSum(1));
    let (first, bytes, _) = segment(1, &mut ours);
    create(&store, first, &bytes);
    let (second, bytes, _) = segment(2, &mut theirs);
    create(&store, second, &bytes);
    match restore(&store, Target::Latest) {
        Err(Error::BrokenChain { segment, .. }) => assert_eq!(segment, second),
        other => panic!("{other:?}"),
    }
}
