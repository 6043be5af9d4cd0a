//! Segments that are sound in themselves and do not belong together, or not to the state at hand: refused, whatever
//! their own checksums say.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod segments;

use bytes::Bytes;
use segments::content::Fill;
use segments::history::{History, State, create, delete, id, read, replica};
use segments::restoring::{refresh, restore};
use segments::{decode, encode};
use walferry::ltx::{self, Codec, Header, PageCrc, Pgno, Txid};
use walferry::replica::{PlanError, Position, SegmentId, Target};
use walferry::restore::Error;
use walferry::store::MemoryStore;

/// A segment of another history: refused where it meets, or by the sum of the whole.
#[test]
fn a_broken_chain_is_refused() {
    for codec in Codec::ALL {
        let history = History::small();
        let store = replica(&history, codec, true);
        let mut other = history.clone();
        other.states[2][4] = Fill::Noise(99).page(512);
        store.tamper(id(0, 2, 2), other.segment(2, 2, codec, true));
        let error = restore(&store, Target::Latest).unwrap_err();
        assert!(
            matches!(error, Error::BrokenChain { segment, .. } if segment == id(0, 3, 3)),
            "{error}"
        );
        assert!(
            restore(&store, Target::Txid(Txid(2))).is_ok(),
            "up to there all is of one piece"
        );

        // Where it overlaps, nothing meets: 1 and 2 of one history, 2 to 4 of another.
        create(&store, id(1, 1, 2), &history.segment(1, 2, codec, true));
        for object in [id(0, 2, 2), id(0, 3, 3), id(0, 4, 4), id(9, 1, 1)] {
            delete(&store, object);
        }
        other.states[1][1] = Fill::Noise(98).page(512);
        for state in 2..=4 {
            other.states[state][1] = Fill::Noise(98).page(512);
        }
        create(&store, id(1, 2, 4), &other.segment(2, 4, codec, true));
        let error = restore(&store, Target::Latest).unwrap_err();
        assert!(is_sum(&error, id(1, 2, 4)), "{error}");
    }
}

/// The faults that LTX's own rolling checksum cannot see, in files whose every checksum is right.
#[test]
fn swapped_pages_and_one_delta_on_two_pages_are_refused() {
    let swap: fn(&mut State) = |state| state.swap(1, 4);
    let delta: fn(&mut State) = |state| {
        for pgno in [2, 5] {
            for (at, bits) in [(100, 0x40), (101, 0x11), (300, 0xff)] {
                state[pgno - 1][at] ^= bits;
            }
        }
    };
    for change in [swap, delta] {
        for codec in Codec::ALL {
            let history = History::small();
            // In the snapshot, in a segment on top of it, and in the latter from a state at hand.
            for (level, min, max) in [(9, 1, 4), (1, 2, 4)] {
                let mut forged = history.clone();
                for state in &mut forged.states[1..] {
                    change(state);
                }
                forged.written[3].extend([2, 5]);
                let rolling = |history: &History| {
                    (1..)
                        .map(Pgno)
                        .zip(&history.states[4])
                        .fold(0, |xor, (pgno, page)| xor ^ PageCrc::of(pgno, page).0)
                };
                assert_eq!(rolling(&forged), rolling(&history), "LTX's checksum sees nothing");
                let header = history.header(min, max, true);
                let bytes: Bytes = encode(&header, codec, forged.pages(min, max)).unwrap().into();
                assert_eq!(
                    decode(&bytes).unwrap().header.sums,
                    header.sums,
                    "the file is sound, its promise kept"
                );

                let store = replica(&history, codec, true);
                for txid in 2..=4 {
                    delete(&store, id(0, txid, txid));
                }
                create(&store, id(level, min, max), &bytes);
                let error = restore(&store, Target::Latest).unwrap_err();
                assert!(is_sum(&error, id(level, min, max)), "{error}");
                let base = (&history.states[1], history.position(1));
                let error = refresh(&store, Target::Latest, base).unwrap_err();
                assert!(is_sum(&error, id(level, min, max)), "{error}");
            }
        }
    }
}

/// A state at hand that the replica does not continue.
#[test]
fn another_state_at_hand_is_refused() {
    let history = History::small();
    let store = replica(&history, Codec::Lz4, true);
    let mut other = history.clone();
    other.states[2][6] = Fill::Noise(77).page(512);
    let base = (&other.states[2], other.position(2));
    let error = refresh(&store, Target::Latest, base).unwrap_err();
    assert!(matches!(error, Error::BrokenChain { .. }), "{error}");

    // The same where its sum is not known.
    let unknown = Position {
        sum: None,
        ..other.position(2)
    };
    let error = refresh(&store, Target::Latest, (&other.states[2], unknown)).unwrap_err();
    assert!(is_sum(&error, id(0, 4, 4)), "{error}");

    let larger = vec![vec![0; 1024]; 9];
    let error = refresh(
        &store,
        Target::Latest,
        (
            &larger,
            Position {
                sum: None,
                ..history.position(2)
            },
        ),
    )
    .unwrap_err();
    assert!(
        matches!(
            error,
            Error::OtherDatabase {
                have: 1024,
                want: 512
            }
        ),
        "{error}"
    );

    for object in [id(0, 3, 3), id(0, 4, 4)] {
        delete(&store, object);
    }
    let base = (&history.states[3], history.position(3));
    let behind = refresh(&store, Target::Latest, base).unwrap_err();
    assert!(
        matches!(behind, Error::Plan(PlanError::Behind { from: Txid(3) })),
        "{behind}"
    );
    let base = (&history.states[2], history.position(2));
    assert!(
        refresh(&store, Target::Latest, base).unwrap().is_none(),
        "it is there already"
    );
    let back = refresh(&store, Target::Txid(Txid(1)), base).unwrap_err();
    assert!(matches!(back, Error::Plan(PlanError::Backwards { .. })), "{back}");
}

/// A database size that the pages do not bear out, in a header that no other check covers.
#[test]
fn a_database_does_not_grow_by_pages_that_nobody_wrote() {
    let history = History::small();
    for commit in [12, 1000, u32::MAX] {
        let store = replica(&history, Codec::Lz4, true);
        let mut bytes = read(&store, id(0, 4, 4)).to_vec();
        bytes[12..16].copy_from_slice(&u32::to_be_bytes(commit));
        store.tamper(id(0, 4, 4), bytes.into());
        let base = (&history.states[3], history.position(3));
        let error = refresh(&store, Target::Latest, base).unwrap_err();
        assert!(matches!(error, Error::Incomplete(_)), "{error}");
        let error = restore(&store, Target::Latest).unwrap_err();
        assert!(matches!(error, Error::Incomplete(_)), "{error}");
    }
}

/// A writer that forgets pages by which the database grew again: those of before are other pages.
#[test]
fn pages_of_before_a_shrinking_do_not_come_back() {
    for codec in Codec::ALL {
        let store = MemoryStore::default();
        let history = History::small();
        create(&store, id(9, 1, 1), &history.segment(1, 1, codec, false));
        let header = |txid, commit| Header {
            commit,
            ..history.header(txid, txid, false)
        };
        let page = Fill::Rows(1).page(512);
        let pages = |pgnos: &[u32]| {
            pgnos
                .iter()
                .map(|&pgno| (Pgno(pgno), &page[..]))
                .collect::<Vec<_>>()
        };
        create(
            &store,
            id(0, 2, 2),
            &encode(&header(2, 3), codec, pages(&[1])).unwrap().into(),
        );
        create(
            &store,
            id(0, 3, 3),
            &encode(&header(3, 6), codec, pages(&[1, 4, 6])).unwrap().into(),
        );
        let error = restore(&store, Target::Latest).unwrap_err();
        assert!(matches!(error, Error::Incomplete(_)), "{error}");
        let base = (&history.states[1], history.position(1));
        let error = refresh(&store, Target::Latest, base).unwrap_err();
        assert!(matches!(error, Error::Incomplete(_)), "{error}");
    }
}

fn is_sum(error: &Error, of: SegmentId) -> bool {
    matches!(error, Error::Damaged { segment, error: ltx::Error::DbSum { .. } } if *segment == of)
}
