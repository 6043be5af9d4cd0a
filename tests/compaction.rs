//! Several segments become one, which is what a single commit of all of them would have been; nothing damaged gets in.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod segments;

use bytes::Bytes;
use proptest::prelude::*;
use segments::content::{Fill, Random};
use segments::history::{History, create, delete, id, read, replica};
use segments::restoring::{now, restore};
use segments::{decode, encode};
use walferry::ltx::{Codec, Header, PageSize, Pgno, Timestamp, Txid};
use walferry::merge::{Error, Merged, merge};
use walferry::replica::{Level, SegmentInfo, Target};
use walferry::store::{MemoryStore, Store};

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_merge_is_what_one_commit_would_have_been(
        seed in 1u64..,
        page_size in prop::sample::select(vec![512u32, 4096, 65_536]),
        codec in prop::sample::select(Codec::ALL.to_vec()),
        promised: bool,
        transactions in 2usize..12,
    ) {
        let mut random = Random(seed);
        let history = History::random(page_size, transactions, &mut random);
        let store = replica(&history, codec, promised);
        let min = 2 + random.below(transactions - 1) as u64;
        let max = min + random.below(transactions + 1 - min as usize) as u64;
        let merged = merged(&store, &(min..=max).map(|txid| (0, txid, txid)).collect::<Vec<_>>(), 1).unwrap();
        prop_assert_eq!(merged.id, id(1, min, max));
        prop_assert_eq!(&merged.header, &history.header(min, max, promised));
        prop_assert_eq!(Bytes::from(merged.out), history.segment(min, max, codec, promised));
    }

    /// Merged in any way, at any depth, even with the snapshot: what is restored is the same.
    #[test]
    fn merges_of_merges_restore_every_end(seed in 1u64.., codec in prop::sample::select(Codec::ALL.to_vec())) {
        let mut random = Random(seed);
        let history = History::random(512, 12, &mut random);
        let store = replica(&history, codec, true);
        let mut below: Vec<(u8, u64, u64)> = (2..=12).map(|txid| (0, txid, txid)).collect();
        for level in 1..=3 {
            let mut above = Vec::new();
            while !below.is_empty() {
                let inputs: Vec<_> = below.drain(..(1 + random.below(4)).min(below.len())).collect();
                let merged = merged(&store, &inputs, level).unwrap();
                create(&store, merged.id, &merged.out.into());
                above.push((level, inputs[0].1, inputs.last().unwrap().2));
                for (level, min, max) in inputs {
                    delete(&store, id(level, min, max));
                }
            }
            for &(_, _, max) in &above {
                let (state, position) = restore(&store, Target::Txid(Txid(max))).unwrap();
                prop_assert_eq!(&state, &history.states[max as usize]);
                prop_assert_eq!(position, history.position(max));
            }
            below = above;
        }
        let whole: Vec<_> = [(9, 1, 1)].into_iter().chain(below).collect();
        let merged = merged(&store, &whole, 9).unwrap();
        prop_assert_eq!(Bytes::from(merged.out), history.segment(1, 12, codec, true));
    }
}

/// Whatever bit of an input flips: it is named, or the pages that come out are right.
#[test]
fn no_flipped_bit_gets_through() {
    let history = History::small();
    for codec in Codec::ALL {
        let store = replica(&history, codec, true);
        let expected = pages(&history.segment(2, 4, codec, true));
        let mut refused = 0;
        for txid in [2, 3] {
            let intact = read(&store, id(0, txid, txid));
            for bit in 0..intact.len() * 8 {
                let mut bytes = intact.to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                store.tamper(id(0, txid, txid), bytes.into());
                match merged(&store, &[(0, 2, 2), (0, 3, 3), (0, 4, 4)], 1) {
                    Ok(merged) => assert_eq!(pages(&merged.out), expected, "bit {bit} of {txid}"),
                    Err(error) => {
                        refused += 1;
                        assert!(error.damaged().is_some(), "bit {bit} of {txid}: {error}");
                    }
                }
            }
            store.tamper(id(0, txid, txid), intact);
        }
        assert!(refused > 1000, "{codec}: {refused}");
    }
}

#[test]
fn what_is_cut_off_missing_or_more_than_was_listed_is_refused() {
    let history = History::small();
    let store = replica(&history, Codec::Lz4, true);
    let inputs = [(0, 2, 2), (0, 3, 3)];
    let intact = read(&store, id(0, 3, 3));
    for len in [0, 50, 100, 300, intact.len() - 1] {
        store.tamper(id(0, 3, 3), intact.slice(..len));
        let error = merged(&store, &inputs, 1).unwrap_err();
        assert_eq!(error.damaged(), Some(id(0, 3, 3)), "{len}: {error}");
    }
    store.tamper(id(0, 3, 3), [&intact[..], b"more"].concat().into());
    assert_eq!(
        merged(&store, &inputs, 1).unwrap_err().damaged(),
        Some(id(0, 3, 3))
    );
    // Listed with a length that it does not have.
    let mut listed = infos(&store, &inputs);
    store.tamper(id(0, 3, 3), intact.clone());
    listed[1].size = intact.len() as u64 + 10;
    let error = now(merge(&store, &listed, Level::new(1).unwrap(), Vec::new())).unwrap_err();
    assert_eq!(error.damaged(), Some(id(0, 3, 3)));
    listed[1].size = intact.len() as u64;
    delete(&store, id(0, 3, 3));
    let error = now(merge(&store, &listed, Level::new(1).unwrap(), Vec::new())).unwrap_err();
    assert!(error.to_string().contains("is gone"), "{error}");
    assert_eq!(error.damaged(), Some(id(0, 3, 3)));
}

#[test]
fn what_does_not_follow_is_refused() {
    let history = History::small();
    let other = History::random(512, 4, &mut Random(77));
    let store = replica(&history, Codec::Lz4, true);
    let error = merged(&store, &[(0, 2, 2), (0, 4, 4)], 1).unwrap_err();
    assert!(error.to_string().contains("gap"), "{error}");
    let error = merged(&store, &[(0, 3, 3), (0, 2, 2)], 1).unwrap_err();
    assert!(error.to_string().contains("gap"), "{error}");
    assert!(
        merged(&store, &[], 1)
            .unwrap_err()
            .to_string()
            .contains("0 segments")
    );

    store.tamper(id(0, 3, 3), other.segment(3, 3, Codec::Lz4, true));
    let error = merged(&store, &[(0, 2, 2), (0, 3, 3)], 1).unwrap_err();
    assert!(error.to_string().contains("different histories"), "{error}");
    store.tamper(id(0, 3, 3), history.segment(2, 2, Codec::Lz4, true));
    let error = merged(&store, &[(0, 2, 2), (0, 3, 3)], 1).unwrap_err();
    assert!(
        error.to_string().contains("not the segment that its name says"),
        "{error}"
    );
    let larger = History::random(4096, 4, &mut Random(5));
    store.tamper(id(0, 3, 3), larger.segment(3, 3, Codec::Lz4, false));
    let error = merged(&store, &[(0, 2, 2), (0, 3, 3)], 1).unwrap_err();
    assert!(error.to_string().contains("another page size"), "{error}");
}

/// A promise holds for the whole only if every step of it was promised.
#[test]
fn an_unpromised_step_leaves_the_result_without_promise() {
    let history = History::small();
    let store = replica(&history, Codec::Lz4, true);
    store.tamper(id(0, 3, 3), history.segment(3, 3, Codec::Lz4, false));
    let merged = merged(&store, &[(0, 2, 2), (0, 3, 3), (0, 4, 4)], 1).unwrap();
    assert_eq!(merged.header.sums, None);
    assert_eq!(Bytes::from(merged.out), history.segment(2, 4, Codec::Lz4, false));
}

/// The database shrank to 3 pages and grew to 6: one that wrote only page 6 then would bring older pages back.
#[test]
fn a_database_that_grew_again_must_have_written_its_new_pages() {
    let page_size = PageSize::new(512).unwrap();
    let page = Fill::Rows(1).page(512);
    let segment = |txid: u64, commit: u32, pages: &[u32]| {
        let header = Header::new(page_size, commit, (Txid(txid), Txid(txid)), Timestamp(1), None);
        let pages: Vec<_> = pages.iter().map(|&pgno| (Pgno(pgno), &page[..])).collect();
        Bytes::from(encode(&header, Codec::Lz4, pages).unwrap())
    };
    let store = MemoryStore::default();
    create(&store, id(0, 2, 2), &segment(2, 6, &[4, 5, 6]));
    create(&store, id(0, 3, 3), &segment(3, 3, &[1]));
    create(&store, id(0, 4, 4), &segment(4, 6, &[6]));
    let inputs = [(0, 2, 2), (0, 3, 3), (0, 4, 4)];
    let error = merged(&store, &inputs, 1).unwrap_err();
    assert!(error.to_string().contains("do not hold all pages"), "{error}");
    store.tamper(id(0, 4, 4), segment(4, 6, &[4, 5, 6]));
    assert_eq!(pages(&merged(&store, &inputs, 1).unwrap().out).len(), 4);
}

#[test]
fn pages_around_the_lock_page_are_merged() {
    let page_size = PageSize::new(65_536).unwrap();
    let lock = page_size.lock_page().0;
    let page = |seed| Fill::Rows(seed).page(65_536);
    let segment = |txid: u64, commit: u32, numbers: &[u32]| {
        let header = Header::new(page_size, commit, (Txid(txid), Txid(txid)), Timestamp(1), None);
        let content: Vec<_> = numbers
            .iter()
            .map(|&pgno| page(u64::from(pgno) * 10 + txid))
            .collect();
        let pages: Vec<_> = numbers
            .iter()
            .zip(&content)
            .map(|(&pgno, page)| (Pgno(pgno), &page[..]))
            .collect();
        Bytes::from(encode(&header, Codec::Lz4, pages).unwrap())
    };
    let store = MemoryStore::default();
    create(&store, id(0, 2, 2), &segment(2, lock - 1, &[7, lock - 1]));
    create(&store, id(0, 3, 3), &segment(3, lock + 2, &[lock + 1, lock + 2]));
    create(&store, id(0, 4, 4), &segment(4, lock + 1, &[lock + 1]));
    let merged = merged(&store, &[(0, 2, 2), (0, 3, 3), (0, 4, 4)], 1).unwrap();
    let expected = [
        (7, page(72)),
        (lock - 1, page(u64::from(lock - 1) * 10 + 2)),
        (lock + 1, page(u64::from(lock + 1) * 10 + 4)),
    ];
    assert_eq!(pages(&merged.out), expected);
}

/// Inputs of many pieces.
#[test]
fn large_segments_are_merged_in_pieces() {
    let page_size = PageSize::new(4096).unwrap();
    let store = MemoryStore::default();
    let commit = 1000u32;
    let page = |pgno: u32, txid: u64| Fill::Noise(u64::from(pgno) << 8 | txid).page(4096);
    for txid in 2..=4u64 {
        let header = Header::new(page_size, commit, (Txid(txid), Txid(txid)), Timestamp(1), None);
        let numbers: Vec<u32> = (1..=commit)
            .filter(|pgno| txid == 2 || pgno % txid as u32 == 0)
            .collect();
        let content: Vec<_> = numbers.iter().map(|&pgno| page(pgno, txid)).collect();
        let pages: Vec<_> = numbers
            .iter()
            .zip(&content)
            .map(|(&pgno, page)| (Pgno(pgno), &page[..]))
            .collect();
        create(
            &store,
            id(0, txid, txid),
            &encode(&header, Codec::Lz4, pages).unwrap().into(),
        );
    }
    let merged = merged(&store, &[(0, 2, 2), (0, 3, 3), (0, 4, 4)], 1).unwrap();
    let newest = |pgno: u32| {
        [4, 3]
            .into_iter()
            .find(|&txid| pgno.is_multiple_of(txid))
            .unwrap_or(2)
    };
    let expected: Vec<_> = (1..=commit)
        .map(|pgno| (pgno, page(pgno, u64::from(newest(pgno)))))
        .collect();
    assert!(pages(&merged.out) == expected);
}

fn merged(store: &MemoryStore, inputs: &[(u8, u64, u64)], level: u8) -> Result<Merged<Vec<u8>>, Error> {
    let inputs = infos(store, inputs);
    let merged = now(merge(store, &inputs, Level::new(level).unwrap(), Vec::new()))?;
    assert_eq!(merged.size, merged.out.len() as u64);
    assert_eq!(decode(&merged.out).unwrap().trailer, merged.trailer);
    Ok(merged)
}

fn infos(store: &MemoryStore, inputs: &[(u8, u64, u64)]) -> Vec<SegmentInfo> {
    let info = |&(level, min, max)| now(store.stat(id(level, min, max))).unwrap().unwrap();
    inputs.iter().map(info).collect()
}

fn pages(bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let segment = decode(bytes).unwrap();
    segment
        .pages
        .into_iter()
        .map(|page| (page.pgno.0, page.data))
        .collect()
}
