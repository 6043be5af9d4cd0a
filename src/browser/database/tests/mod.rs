//! Restore, refresh and crashes, on segments of the crate's own encoder.

mod disk;
mod part;

use std::rc::Rc;

use bytes::Bytes;
use futures_util::FutureExt;
use proptest::prelude::*;

use self::disk::{Disk, Power, coin, files};
use super::*;
use crate::browser::Error;
use crate::browser::test_replica::Replica;
use crate::ltx::Codec;
use crate::replica::{Position, Target};
use crate::restore::Restore;

type Files = super::Files<Rc<Disk>>;

/// Opens the copy and brings it to the newest state, as a session does.
fn catch_up(files: Files, replica: &Replica) -> Result<State, Error> {
    let database = Database::open(files)?;
    let from = database.state().map_or(Position::EMPTY, |state| state.position());
    let prepared = Restore::prepare(&replica.store, Target::Latest, from)
        .now_or_never()
        .unwrap()?;
    match prepared {
        Some(restore) if from == Position::EMPTY => {
            database.restore(&restore, |_| {}).now_or_never().unwrap()
        }
        Some(restore) => {
            database.fetch(&restore, &mut |_| {}).now_or_never().unwrap()?;
            Ok(database.apply()?.unwrap())
        }
        None => Ok(database.state().unwrap()),
    }
}

fn again(files: &Files) -> Files {
    Files {
        db: files.db.clone(),
        position: files.position.clone(),
        redo: files.redo.clone(),
        present: files.present.clone(),
    }
}

fn content(files: &Files) -> Vec<u8> {
    let mut bytes = vec![0; files.db.size().unwrap() as usize];
    files.db.read(0, &mut bytes).unwrap();
    bytes
}

/// `pages` pages of 512 bytes, each of one byte.
fn image(pages: &[u8]) -> Vec<u8> {
    pages.iter().flat_map(|&byte| [byte; 512]).collect()
}

#[test]
fn follows_growth_and_shrinking() {
    for (codec, promised) in [
        (Codec::Lz4, true),
        (Codec::Deflate, true),
        (Codec::Lz4Frame, false),
    ] {
        let files = files(&Rc::default());
        let mut replica = Replica::new(512, codec);
        replica.promised = promised;
        for pages in [&[1, 2, 3][..], &[1, 9, 3], &[1, 9, 3, 4, 5, 6], &[7], &[7, 8]] {
            replica.ship(&image(pages));
            let state = catch_up(again(&files), &replica).unwrap();
            assert_eq!((state.txid, state.commit), (replica.txid, pages.len() as u32));
            assert_eq!(content(&files), image(pages));
            assert_eq!(files.redo.size(), Ok(0));
        }
    }
}

#[test]
fn a_statement_keeps_its_state_until_it_ends() {
    let files = files(&Rc::default());
    let mut replica = Replica::new(512, Codec::Lz4);
    replica.ship(&image(&[1, 2]));
    let old = catch_up(again(&files), &replica).unwrap();
    replica.ship(&image(&[1, 3]));

    let database = Database::open(again(&files)).unwrap();
    let restore = Restore::prepare(&replica.store, Target::Latest, old.position());
    let restore = restore.now_or_never().unwrap().unwrap().unwrap();
    let reading = database.begin_reading();
    database
        .fetch(&restore, &mut |_| {})
        .now_or_never()
        .unwrap()
        .unwrap();
    assert!(matches!(database.apply(), Err(Error::Reading)));
    assert_eq!(database.state(), Some(old));
    assert_eq!(content(&files), image(&[1, 2]));
    let mut idle = Box::pin(database.idle());
    assert!(idle.as_mut().now_or_never().is_none());
    database.end_reading(reading);
    assert!(idle.now_or_never().is_some());
    assert_eq!(database.apply().unwrap().unwrap().txid, replica.txid);
    assert_eq!(content(&files), image(&[1, 3]));
}

#[test]
fn tampered_short_and_swapped_pages_are_refused() {
    for codec in Codec::ALL {
        let mut replica = Replica::new(512, codec);
        replica.ship(&image(&[1, 2, 3]));
        let id = replica.ship(&image(&[1, 8, 9]));
        let intact = replica.object(id);
        let first = files(&Rc::default());
        let mut at_first = Replica::new(512, codec);
        at_first.ship(&image(&[1, 2, 3]));
        let before = catch_up(again(&first), &at_first).unwrap();

        // Every byte, but those of the header's fields that mean nothing to a restore.
        for at in (0..intact.len()).filter(|at| !(32..80).contains(at)) {
            let mut bytes = intact.to_vec();
            bytes[at] ^= 0x20;
            replica.store.tamper(id, Bytes::from(bytes));
            let refreshed = catch_up(again(&first), &replica);
            if let Ok(state) = refreshed {
                // What a ranged read does not look at may be flipped: the result is proven all the same.
                assert_eq!(
                    (content(&first), state.txid),
                    (image(&[1, 8, 9]), id.max),
                    "{codec}, byte {at}"
                );
                first.position.write(0, &before.encode()).unwrap();
                first.db.write(0, &image(&[1, 2, 3])).unwrap();
            } else {
                assert_eq!(Database::open(again(&first)).unwrap().state(), Some(before));
                assert_eq!(content(&first), image(&[1, 2, 3]), "{codec}, byte {at}");
            }
            let new = files(&Rc::default());
            if catch_up(again(&new), &replica).is_err() {
                assert_eq!(Database::open(new).unwrap().state(), None);
            } else {
                assert_eq!(content(&new), image(&[1, 8, 9]), "{codec}, byte {at}");
            }
        }
        for len in 0..intact.len() {
            replica.store.tamper(id, intact.slice(..len));
            assert!(
                catch_up(again(&first), &replica).is_err(),
                "{codec}, cut to {len} bytes"
            );
        }
    }

    // Two pages swapped and one delta on two pages, with every page check and file checksum right: only the
    // database sum can tell.
    let mut honest = Replica::new(512, Codec::Deflate);
    honest.ship(&image(&[1, 2, 3]));
    for forged in [&[1, 3, 2][..], &[1, 2 ^ 0x40, 3 ^ 0x40]] {
        let mut forger = Replica::new(512, Codec::Deflate);
        let id = forger.ship(&image(forged));
        let mut bytes = forger.object(id).to_vec();
        // The honest promise over the forged pages.
        bytes[84..100].copy_from_slice(&honest.object(id)[84..100]);
        forger.store.tamper(id, Bytes::from(bytes));
        let new = files(&Rc::default());
        let refused = catch_up(again(&new), &forger).unwrap_err();
        assert_eq!(refused.code(), "DAMAGED", "{refused}");
        assert_eq!(Database::open(new).unwrap().state(), None);
    }
}

#[test]
fn another_history_is_refused_and_the_copy_stands() {
    let files = files(&Rc::default());
    let mut replica = Replica::new(512, Codec::Lz4);
    replica.ship(&image(&[1, 2]));
    let state = catch_up(again(&files), &replica).unwrap();
    let mut other = Replica::new(512, Codec::Lz4);
    other.ship(&image(&[1, 5]));
    other.ship(&image(&[1, 6]));
    let refused = catch_up(again(&files), &other).unwrap_err();
    assert_eq!(refused.code(), "DIVERGED", "{refused}");
    assert_eq!(Database::open(again(&files)).unwrap().state(), Some(state));
    assert_eq!(content(&files), image(&[1, 2]));
}

proptest! {
    /// At every step of restore and refresh, whatever survives of the unflushed writes.
    #[test]
    fn a_crash_leaves_the_old_state_or_the_new_one(
        images in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..12), 2..5),
        seed: u64,
    ) {
        let mut coin = coin(seed);
        let mut replica = Replica::new(512, Codec::Lz4);
        let power = Rc::new(Power::default());
        let files = files(&power);
        let mut known: Vec<Vec<u8>> = Vec::new();
        for pages in &images {
            replica.ship(&image(pages));
            known.push(image(pages));
            let mut crash_after = 0;
            // Each attempt gets one step further, until one gets through.
            loop {
                power.left.set(Some(crash_after));
                let done = catch_up(again(&files), &replica);
                power.left.set(None);
                for disk in [&files.db, &files.position, &files.redo, &files.present] {
                    disk.crash(&mut coin);
                }
                let state = Database::open(again(&files)).unwrap().state();
                match (&done, state) {
                    (Ok(done), state) => prop_assert_eq!(Some(*done), state),
                    (Err(_), Some(state)) => prop_assert!(state.txid <= replica.txid),
                    (Err(_), None) => prop_assert_eq!(known.len(), 1, "only the first restore may leave nothing"),
                }
                if let Some(state) = state {
                    prop_assert!(state.txid.0 + 1 >= known.len() as u64);
                    prop_assert_eq!(&content(&files), &known[state.txid.0 as usize - 1]);
                }
                if done.is_ok() {
                    break;
                }
                crash_after += 1;
            }
        }
    }
}
