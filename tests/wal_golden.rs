//! WAL files written by SQLite itself (tests/fixtures/wal/generate.py), read in every way.
#![cfg(feature = "native")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "this is a test, its helpers too"
)]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;
use walferry::ltx::Pgno;
use walferry::wal::{
    ByteOrder, Changes, Cursor, Error, FrameHeader, Reader, Transaction, WalHeader, frame_offset,
};

const NO_LIMIT: usize = usize::MAX;

/// A WAL, and what SQLite made of it after each commit.
struct Golden {
    name: String,
    wal: Vec<u8>,
    /// The database file under the WAL.
    base: Vec<u8>,
    page_size: usize,
    big: bool,
    commits: Vec<Commit>,
}

#[derive(Debug, PartialEq, Eq)]
struct Commit {
    frame: u32,
    commit: u32,
    crc32: u32,
}

fn goldens() -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wal");
    let mut goldens = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let about: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let number = |value: &Value| value.as_u64().unwrap();
        let commit = |value: &Value| Commit {
            frame: number(&value["frame"]) as u32,
            commit: number(&value["commit"]) as u32,
            crc32: number(&value["crc32"]) as u32,
        };
        goldens.push(Golden {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            wal: fs::read(path.with_extension("wal")).unwrap(),
            base: fs::read(path.with_extension("base")).unwrap_or_default(),
            page_size: number(&about["page_size"]) as usize,
            big: about["order"] == "big",
            commits: about["commits"].as_array().unwrap().iter().map(commit).collect(),
        });
    }
    assert!(goldens.len() >= 12);
    goldens
}

fn golden(name: &str) -> Golden {
    goldens().into_iter().find(|golden| golden.name == name).unwrap()
}

/// All transactions of a WAL that comes in pieces of these sizes, over and over.
fn read(wal: &[u8], pieces: &[usize], bound: Option<u32>) -> Result<Vec<Transaction>, Error> {
    let mut reader = Reader::new(bound, NO_LIMIT);
    let (mut rest, mut transactions) = (wal, Vec::new());
    for piece in pieces.iter().cycle() {
        let (chunk, after) = rest.split_at((*piece).min(rest.len()));
        reader.push(chunk);
        while let Some(transaction) = reader.next()? {
            transactions.push(transaction);
        }
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    Ok(transactions)
}

fn read_whole(wal: &[u8]) -> Result<Vec<Transaction>, Error> {
    read(wal, &[wal.len().max(1)], None)
}

impl Golden {
    /// The database after each transaction, by what SQLite wrote down of it.
    fn replay(&self, transactions: &[Transaction]) -> Vec<Commit> {
        let mut image = self.base.clone();
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
        let mut commits = Vec::new();
        for transaction in transactions {
            image.resize(transaction.commit as usize * self.page_size, 0);
            for (pgno, page) in transaction.pages.range(..=Pgno(transaction.commit)) {
                let at = (pgno.0 as usize - 1) * self.page_size;
                image[at..at + self.page_size].copy_from_slice(page);
            }
            let Transaction { commit, end, .. } = transaction;
            commits.push(Commit {
                frame: end.frame,
                commit: *commit,
                crc32: crc.checksum(&image),
            });
        }
        commits
    }

    fn frames(&self) -> u32 {
        self.commits.last().unwrap().frame
    }
}

#[test]
fn transactions_are_as_sqlite_has_them() {
    for golden in goldens() {
        let transactions = read_whole(&golden.wal).unwrap();
        assert_eq!(golden.replay(&transactions), golden.commits, "{}", golden.name);
        let header = WalHeader::parse(golden.wal.first_chunk().unwrap()).unwrap();
        assert_eq!(header.page_size.len(), golden.page_size);
        assert_eq!(header.order == ByteOrder::Big, golden.big);
    }
}

/// The files that are there to have frames behind their end have them, and the reader says that it stopped at one.
#[test]
fn what_lies_behind_the_end_is_not_read() {
    for (name, same_generation) in [("restarted", false), ("rolled-back", true), ("killed", true)] {
        for name in [name.to_owned(), format!("{name}-big")] {
            let golden = golden(&name);
            let frame = golden.frames() + 1;
            let at = frame_offset(golden_header(&golden).page_size, frame) as usize;
            let next = FrameHeader::parse(golden.wal[at..].first_chunk().unwrap());
            assert_eq!(
                next.salts == golden_header(&golden).salts,
                same_generation,
                "{name}"
            );
            let mut reader = Reader::new(None, NO_LIMIT);
            reader.push(&golden.wal);
            while reader.next().unwrap().is_some() {}
            // A transaction cut off goes on as far as there are bytes; the others end at once.
            assert_eq!(reader.ended(), !name.starts_with("killed"), "{name}");
        }
    }
}

fn golden_header(golden: &Golden) -> WalHeader {
    WalHeader::parse(golden.wal.first_chunk().unwrap()).unwrap()
}

/// Of a WAL bounded by the wal-index, what comes after the bound is not there: a bound inside a transaction, which
/// SQLite never has, drops it whole.
#[test]
fn the_bound_is_kept() {
    for golden in goldens() {
        for bound in 0..=golden.frames() + 2 {
            let transactions = read(&golden.wal, &[1000], Some(bound)).unwrap();
            let within = golden
                .commits
                .iter()
                .filter(|commit| commit.frame <= bound)
                .count();
            assert_eq!(golden.replay(&transactions), golden.commits[..within]);
        }
    }
}

#[test]
fn a_wal_cut_off_anywhere_keeps_the_transactions_before() {
    let golden = golden("plain-512");
    let size = golden_header(&golden).page_size;
    for len in 0..golden.wal.len() {
        let transactions = read_whole(&golden.wal[..len]).unwrap();
        let whole = golden
            .commits
            .iter()
            .filter(|commit| frame_offset(size, commit.frame + 1) <= len as u64);
        assert_eq!(transactions.len(), whole.count(), "after {len} bytes");
    }
}

/// A flipped bit in the header is an error; in a frame it ends the WAL before the transaction that it is in.
#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    for name in ["plain-512", "plain-512-big"] {
        let mut golden = golden(name);
        let all = read_whole(&golden.wal).unwrap();
        let size = golden_header(&golden).page_size;
        for at in 0..frame_offset(size, golden.frames() + 1) as usize {
            let bit = 1 << (at % 8);
            golden.wal[at] ^= bit;
            let found = read_whole(&golden.wal);
            golden.wal[at] ^= bit;
            if at < WalHeader::LEN {
                assert!(found.is_err(), "byte {at}");
                continue;
            }
            let before = golden
                .commits
                .iter()
                .filter(|commit| frame_offset(size, commit.frame + 1) <= at as u64);
            assert_eq!(found.unwrap(), all[..before.count()], "byte {at}");
        }
    }
}

/// Each field of a frame's head by itself.
#[test]
fn a_frame_continues_only_as_it_was_written() {
    let golden = golden("plain-4096");
    let header = golden_header(&golden);
    let frame = &golden.wal[32..32 + 24 + 4096];
    let (head, page) = frame.split_first_chunk::<24>().unwrap();
    let start = Cursor::new(&header);
    assert!(start.clone().next(head, page).is_some());
    for (field, at) in [
        ("page number", 3),
        ("commit", 7),
        ("salt 1", 11),
        ("salt 2", 15),
        ("sum 1", 19),
        ("sum 2", 23),
    ] {
        let mut bad = *head;
        bad[at] ^= 1;
        let mut cursor = start;
        assert!(cursor.next(&bad, page).is_none(), "{field}");
        // It stays where it was.
        assert_eq!(cursor, start);
    }
    assert!(start.clone().next(head, &page[..4095]).is_none());
    let mut after_another = start;
    after_another.checksum.s1 ^= 1;
    assert!(after_another.next(head, page).is_none());
}

#[test]
fn reading_goes_on_where_an_earlier_reader_came_to() {
    for golden in goldens() {
        let all = read_whole(&golden.wal).unwrap();
        for (at, transaction) in all.iter().enumerate() {
            let cursor = transaction.end;
            let offset = frame_offset(cursor.page_size, cursor.frame + 1) as usize;
            let mut reader = Reader::resume(cursor, None, NO_LIMIT);
            reader.push(&golden.wal[offset..]);
            let mut rest = Vec::new();
            while let Some(transaction) = reader.next().unwrap() {
                rest.push(transaction);
            }
            assert_eq!(rest, all[at + 1..]);
        }
    }
}

#[test]
fn a_transaction_larger_than_the_limit_is_refused() {
    let golden = golden("plain-4096");
    let largest = read_whole(&golden.wal)
        .unwrap()
        .iter()
        .map(|transaction| transaction.pages.len())
        .max()
        .unwrap();
    for (limit, fits) in [(largest * 4096, true), (largest * 4096 - 1, false)] {
        let mut reader = Reader::new(None, limit);
        reader.push(&golden.wal);
        let outcome = loop {
            match reader.next() {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        assert_eq!(
            outcome,
            if fits {
                Ok(())
            } else {
                Err(Error::TransactionTooLarge(limit))
            }
        );
        assert!(reader.ended() != fits);
    }
}

/// The two ways to read a WAL agree: by its frames' heads alone, and by its transactions.
#[test]
fn changes_are_those_of_the_transactions() {
    for golden in goldens() {
        let size = golden_header(&golden).page_size;
        let previous = (golden.base.len() / golden.page_size) as u32;
        let mut changes = Changes::new(previous);
        for frame in 1..=golden.frames() {
            let at = frame_offset(size, frame) as usize;
            let head = FrameHeader::parse(golden.wal[at..].first_chunk().unwrap());
            changes.push(frame, head.pgno, head.commit);
        }
        let changed = changes.finish();
        let transactions = read_whole(&golden.wal).unwrap();
        let last = transactions.last().unwrap();
        assert_eq!(changed.commit, last.commit);
        let lowest = transactions
            .iter()
            .map(|transaction| transaction.commit)
            .min()
            .unwrap();
        assert_eq!(changed.lowest_commit, lowest.min(previous));
        for (pgno, frame) in changed.newest {
            let at = frame_offset(size, frame) as usize + FrameHeader::LEN;
            let newest = transactions
                .iter()
                .rev()
                .find_map(|transaction| transaction.pages.get(&pgno))
                .unwrap();
            assert_eq!(&golden.wal[at..at + golden.page_size], newest);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the bytes arrive.
    #[test]
    fn pieces_do_not_matter(pieces in prop::collection::vec(1usize..3000, 1..20), which in 0usize..12) {
        let golden = goldens().swap_remove(which);
        let transactions = read(&golden.wal, &pieces, None).unwrap();
        prop_assert_eq!(golden.replay(&transactions), golden.commits);
    }

    /// Noise of any length behind the last commit changes nothing.
    #[test]
    fn noise_behind_the_end_does_not_matter(noise in prop::collection::vec(any::<u8>(), 0..3000)) {
        let golden = golden("plain-512");
        let end = frame_offset(golden_header(&golden).page_size, golden.frames() + 1) as usize;
        let mut wal = golden.wal[..end].to_vec();
        wal.extend(noise);
        let transactions = read_whole(&wal).unwrap();
        prop_assert_eq!(golden.replay(&transactions), golden.commits);
    }
}
