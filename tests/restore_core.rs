//! Whatever transactions made a database, and however their segments were compacted, a restore of any state gives
//! that state, byte for byte.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod segments;

use std::collections::BTreeMap;

use proptest::prelude::*;
use segments::content::Random;
use segments::decode;
use segments::history::{History, create, delete, id, objects};
use segments::mapping::mapped;
use segments::restoring::{Counting, refresh, restore};
use walferry::ltx::{Codec, Compressor, Encoder, Pgno, Txid};
use walferry::replica::{BundleWriter, Target};
use walferry::restore::Error;
use walferry::store::MemoryStore;

/// Which segments promise database sums.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Promise {
    All,
    /// As Litestream's.
    None,
    Some,
}

/// A replica of `history`: at level 0 each transaction or a few together, some deleted where a higher level covers
/// them, above it compacted ranges that overlap as they like.
fn replicate(history: &History, promise: Promise, random: &mut Random) -> MemoryStore {
    let store = MemoryStore::default();
    let put = |level: u8, min: u64, max: u64, random: &mut Random| {
        let codec = Codec::ALL[random.below(4)];
        let promised = match promise {
            Promise::All => true,
            Promise::None => false,
            Promise::Some => random.below(2) == 0,
        };
        create(
            &store,
            id(level, min, max),
            &history.segment(min, max, codec, promised),
        );
    };
    let mut min = 1;
    while min <= history.last() {
        let max = (min + [0, 0, 0, 1, 3][random.below(5)]).min(history.last());
        put(0, min, max, random);
        min = max + 1;
    }
    for level in 1..=8 {
        if random.below(2) == 0 {
            let min = 1 + random.below(history.last() as usize) as u64;
            let max = min + random.below((history.last() - min) as usize + 1) as u64;
            put(level, min, max, random);
        }
    }
    for _ in 0..random.below(3) {
        let max = 1 + random.below(history.last() as usize) as u64;
        if !objects(&store).contains(&id(9, 1, max)) {
            put(9, 1, max, random);
        }
    }
    // Retention: what is covered from above may go.
    for old in objects(&store) {
        let covered = objects(&store)
            .into_iter()
            .any(|other| other.level > old.level && other.min <= old.min && other.max >= old.max);
        if covered && random.below(2) == 0 {
            delete(&store, old);
        }
    }
    store
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_state_is_restored(
        seed in 1u64..,
        page_size in prop::sample::select(vec![512u32, 512, 512, 4096, 65_536]),
        transactions in 1usize..16,
        promise in prop::sample::select(vec![Promise::All, Promise::None, Promise::Some]),
    ) {
        let mut random = Random(seed);
        let history = History::random(page_size, transactions, &mut random);
        let store = replicate(&history, promise, &mut random);
        let (state, position) = restore(&store, Target::Latest).unwrap();
        prop_assert!(state == history.states[history.last() as usize]);
        prop_assert_eq!(position, history.position(history.last()));

        // A state inside a segment cannot be had; every other can, by its number and by its time.
        let ends: Vec<u64> = objects(&store).iter().map(|object| object.max.0).collect();
        let mut reached = Vec::new();
        for txid in 1..=history.last() {
            match restore(&store, Target::Txid(Txid(txid))) {
                Ok((state, position)) => {
                    prop_assert!(state == history.states[txid as usize]);
                    prop_assert_eq!(position, history.position(txid));
                    let (at_time, _) = restore(&store, Target::Time(History::time(txid))).unwrap();
                    prop_assert!(at_time == state);
                    let mapped = mapped(&store, Target::Txid(Txid(txid)), &mut random).unwrap();
                    prop_assert!(mapped == state);
                    reached.push(txid);
                }
                Err(Error::Plan(_)) => {}
                Err(error) => panic!("{error}"),
            }
            let alone = ends.contains(&txid) && objects(&store).contains(&id(9, 1, txid));
            prop_assert!(reached.contains(&txid) || !alone);
        }
        prop_assert!(reached.contains(&history.last()));

        for from in reached {
            let base = (&history.states[from as usize], history.position(from));
            match refresh(&store, Target::Latest, base).unwrap() {
                Some((state, position)) => {
                    prop_assert!(state == history.states[history.last() as usize]);
                    prop_assert_eq!(position, history.position(history.last()));
                }
                None => prop_assert_eq!(from, history.last()),
            }
        }
    }
}

proptest! {
    /// A compaction takes packed pages over as they are, from segments of any codec.
    #[test]
    fn packed_pages_are_merged_as_they_are(seed in 1u64.., transactions in 3u64..10) {
        let mut random = Random(seed);
        let history = History::random(512, transactions as usize, &mut random);
        let store = MemoryStore::default();
        let mut merged = BTreeMap::new();
        for txid in 1..=history.last() {
            let promised = random.below(2) == 0;
            let bytes = history.segment(txid, txid, Codec::ALL[random.below(4)], promised);
            create(&store, id(0, txid, txid), &bytes);
            if txid > 1 {
                merged.extend(decode(&bytes).unwrap().pages.into_iter().map(|page| (page.pgno, page)));
                delete(&store, id(0, txid, txid));
            }
        }
        let header = history.header(2, history.last(), true);
        let commit = Pgno(header.commit);
        let mut encoder = Encoder::new(Vec::new(), header, Compressor::new(Codec::Lz4)).unwrap();
        for page in merged.range(..=commit).map(|(_, page)| page) {
            encoder.packed_page(page.pgno, page.codec, page.crc, &page.payload).unwrap();
        }
        let (bytes, ..) = encoder.finish().unwrap();
        let again = decode(&bytes).unwrap();
        prop_assert!(again.pages.iter().eq(merged.range(..=commit).map(|(_, page)| page)));
        create(&store, id(1, 2, history.last()), &bytes.into());
        let (state, position) = restore(&store, Target::Latest).unwrap();
        prop_assert!(state == history.states[history.last() as usize]);
        prop_assert_eq!(position, history.position(history.last()));
    }
}

/// A request costs money and time: ten listings, one read for each small segment, and large reads of the rest.
#[test]
fn requests_are_few() {
    let mut random = Random(7);
    let history = History::random(4096, 1, &mut random);
    let mut history = History {
        states: history.states,
        ..history
    };
    history.states[1].resize_with(2000, || random.bytes(4096));
    history.written[1] = (1..=2000).collect();
    for txid in 2..=21usize {
        let mut state = history.states[txid - 1].clone();
        let written = [1, txid as u32 * 50];
        for pgno in written {
            state[pgno as usize - 1] = random.bytes(4096);
        }
        history.states.push(state);
        history.written.push(written.into());
    }
    for promised in [true, false] {
        let store = MemoryStore::default();
        create(&store, id(9, 1, 1), &history.segment(1, 1, Codec::Lz4, promised));
        for txid in 2..=21 {
            create(
                &store,
                id(0, txid, txid),
                &history.segment(txid, txid, Codec::Lz4, promised),
            );
        }
        let counting = Counting::new(&store);
        let (state, _) = restore(&counting, Target::Latest).unwrap();
        assert!(state == history.states[21]);
        assert_eq!(counting.lists.get(), 10);
        // 20 small ones, the head and the tail of the snapshot, its 8.3 MB in reads of a mebibyte.
        assert!(
            counting.reads.get() <= 20 + 2 + 9,
            "{} reads",
            counting.reads.get()
        );
        let stored: u64 = (2..=21)
            .map(|txid| segments::history::read(&store, id(0, txid, txid)).len() as u64)
            .sum();
        let snapshot = segments::history::read(&store, id(9, 1, 1)).len() as u64;
        assert!(
            counting.bytes.get() <= stored + snapshot + 100 + 64 * 1024,
            "{} bytes",
            counting.bytes.get()
        );

        let counting = Counting::new(&store);
        let base = (&history.states[18], history.position(18));
        refresh(&counting, Target::Latest, base).unwrap().unwrap();
        assert_eq!(counting.reads.get(), 3, "only what is newer");
    }
}

/// States of the past lie in a bundle: the page map tells places in there.
#[test]
fn a_page_map_leads_into_bundles() {
    let mut random = Random(11);
    let history = History::random(512, 12, &mut random);
    let store = MemoryStore::default();
    create(&store, id(9, 1, 1), &history.segment(1, 1, Codec::Deflate, true));
    create(
        &store,
        id(1, 2, 12),
        &history.segment(2, 12, Codec::Deflate, true),
    );
    let (mut writer, mut bundle) = (BundleWriter::default(), BundleWriter::magic().to_vec());
    for txid in 2..=12 {
        let segment = history.segment(txid, txid, Codec::Deflate, true);
        let (size, time) = (segment.len() as u64, History::time(txid));
        writer.add(Txid(txid), Txid(txid), size, time).unwrap();
        bundle.extend_from_slice(&segment);
    }
    bundle.extend_from_slice(&writer.finish());
    create(&store, writer.id().unwrap(), &bundle.into());
    for txid in 1..=12 {
        let state = mapped(&store, Target::Txid(Txid(txid)), &mut random).unwrap();
        assert!(state == history.states[txid as usize], "{txid}");
    }
}
