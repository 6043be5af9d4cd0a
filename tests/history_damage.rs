//! Whatever happens to a bundle of the history: a state that needs it is not restored, another copy stands in for it, or what comes
//! out is right. An older state never passes for the wanted one.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod segments;
mod support;
mod upkeep;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use support::{Destination, json, restore, said, walferry};
use upkeep::{Kept, simulate};
use walferry::ltx::{DbSum, Timestamp, Txid};
use walferry::native::upkeep::Policy;
use walferry::replica::{Layout, Level, Member, SegmentId, SegmentInfo};
use walferry::restore::members;
use walferry::store::{Source, Store};

const DAMAGED: i32 = 7;

/// Half an hour of a write every two seconds in a folder, and a bundle in its middle.
struct Past {
    folder: tempfile::TempDir,
    states: Vec<(Timestamp, DbSum)>,
    bundle: SegmentInfo,
    members: Vec<(Member, Bytes)>,
    /// In the bundle, and no level ends there.
    wanted: u64,
    /// The last one before the bundle.
    before: u64,
}

impl Past {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("replica");
        simulate(async {
            let mut kept = Kept::start(Policy::default(), 21).await;
            kept.write_every(Duration::from_secs(2), Duration::from_secs(1800))
                .await;
            let shelves = Level::all().chain(Level::shelves());
            let mut ends = Vec::new();
            for level in shelves {
                for object in kept.store.list(level, Txid::ZERO).await.unwrap() {
                    let bytes = kept.store.read(object.id, 0..object.size).await.unwrap();
                    let (time, _) = kept.states[object.id.max.0 as usize - 1];
                    put(&root, object.id, &bytes, time);
                    if level < Level::HISTORY {
                        ends.push(object.id.max.0);
                    }
                }
            }
            let bundles = kept.store.list(Level::HISTORY, Txid::ZERO).await.unwrap();
            assert!(bundles.len() >= 4, "{bundles:?}");
            let bundle = bundles[2];
            let mut found = Vec::new();
            for member in members(&*kept.store, bundle).await.unwrap() {
                let end = member.offset + member.size;
                found.push((
                    member,
                    kept.store.read(bundle.id, member.offset..end).await.unwrap(),
                ));
            }
            let middle = bundle.id.min.0.midpoint(bundle.id.max.0);
            let wanted = (middle..).find(|txid| !ends.contains(txid)).unwrap();
            assert!(wanted < bundle.id.max.0);
            Self {
                folder,
                states: kept.states.clone(),
                bundle,
                members: found,
                wanted,
                before: bundle.id.min.0 - 1,
            }
        })
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("replica")
    }

    fn path(&self) -> PathBuf {
        self.root().join(self.bundle.id.key(Layout::Folder))
    }

    fn destination(&self) -> Destination {
        Destination::Folder(self.root())
    }

    /// A moment when this was the newest state.
    fn time(&self, txid: u64) -> String {
        let time = self.states[txid as usize - 1].0.0 + 900;
        jiff::Timestamp::from_millisecond(time).unwrap().to_string()
    }

    fn restored(&self, arguments: &[&str]) -> Output {
        let out = self.folder.path().join("out.db");
        let output = restore(&self.destination(), &out, &[arguments, &["-json"]].concat());
        assert_eq!(out.exists(), output.status.success());
        let _ = fs::remove_file(out);
        output
    }

    /// By transaction and by time, and as each command sees it.
    fn ways(&self, txid: u64) -> [Output; 4] {
        let (hex, time) = (format!("{txid:016x}"), self.time(txid));
        let other = |command: &[&str]| {
            let mut walferry = walferry();
            walferry.args(command).args(["-json", &self.destination().url()]);
            walferry.output().unwrap()
        };
        [
            self.restored(&["-txid", &hex]),
            self.restored(&["-timestamp", &time]),
            other(&["verify", "-timestamp", &time]),
            other(&["restore", "-dry-run", "-timestamp", &time]),
        ]
    }

    fn restores(&self, txid: u64) {
        for (way, output) in self.ways(txid).into_iter().enumerate() {
            if way == 2 {
                // These pages are no database of SQLite's: a drill gets as far as that.
                assert!(
                    said(&output).contains("file is not a database"),
                    "{}",
                    said(&output)
                );
                continue;
            }
            assert_eq!(output.status.code(), Some(0), "{}", said(&output));
            assert_eq!(json(&output)["txid"], format!("{txid:016x}"));
            let (_, sum) = self.states[txid as usize - 1];
            // A dry run does not know it.
            let told = json(&output)["sum"].as_str().map(str::to_owned);
            assert!(
                told.is_none_or(|told| told == sum.to_string()),
                "{}",
                said(&output)
            );
        }
    }

    fn refuses(&self, txid: u64, why: &str) {
        for output in self.ways(txid) {
            assert_eq!(output.status.code(), Some(DAMAGED), "{why}: {}", said(&output));
            assert_eq!(json(&output)["error"]["code"], "damaged", "{why}");
            // What is named can be had.
            let message = json(&output)["error"]["message"].as_str().unwrap().to_owned();
            let (_, nearest) = message.split_once("--txid ").expect("the nearest state");
            let nearest = u64::from_str_radix(&nearest[..16], 16).unwrap();
            assert!((self.before..self.wanted).contains(&nearest), "{message}");
            let output = self.restored(&["-txid", &format!("{nearest:016x}")]);
            assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        }
    }
}

fn put(root: &Path, id: SegmentId, bytes: &[u8], time: Timestamp) {
    let path = root.join(id.key(Layout::Folder));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    let time = UNIX_EPOCH + Duration::from_millis(time.0 as u64);
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

#[test]
fn what_needs_a_damaged_bundle_is_not_restored() {
    let past = Past::new();
    past.restores(past.wanted);
    let whole = fs::read(past.path()).unwrap();
    let entries = past.members.len() * 40 + 24;
    for len in [0, 8, whole.len() / 2, whole.len() - 1] {
        fs::write(past.path(), &whole[..len]).unwrap();
        past.refuses(past.wanted, &format!("cut to {len} bytes"));
    }
    for at in [whole.len() - 1, whole.len() - 20, whole.len() - entries + 5] {
        let mut bytes = whole.clone();
        bytes[at] ^= 16;
        fs::write(past.path(), bytes).unwrap();
        past.refuses(past.wanted, &format!("byte {at} is another"));
    }
    fs::remove_file(past.path()).unwrap();
    past.refuses(past.wanted, "deleted");

    // What does not need it. By a time right after the last state before it, nobody knows whether there was another.
    let before = format!("{:016x}", past.before);
    let output = past.restored(&["-txid", &before]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let output = past.restored(&["-timestamp", &past.time(past.before)]);
    assert_eq!(output.status.code(), Some(DAMAGED), "{}", said(&output));
    assert!(
        said(&output).contains(&format!("--txid {before}")),
        "{}",
        said(&output)
    );
    past.restores(past.before - 7);
    past.restores(past.bundle.id.max.0 + 40);
    // Numbers that never were are not damaged.
    let last = past.states.len() as u64;
    let output = past.restored(&["-txid", &format!("{:016x}", last + 1)]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    past.restores(last);
}

/// Bytes of a member: whoever needs it finds out, for others nothing has changed.
#[test]
fn no_flipped_byte_of_a_member_gets_through() {
    let past = Past::new();
    let whole = fs::read(past.path()).unwrap();
    let (mut refused, mut right) = (0, 0);
    let (of_wanted, _) = past
        .members
        .iter()
        .find(|(member, _)| member.id.max.0 == past.wanted)
        .unwrap();
    let (start, end) = (
        of_wanted.offset as usize,
        (of_wanted.offset + of_wanted.size) as usize,
    );
    let around = (8..whole.len())
        .step_by(whole.len() / 17)
        .chain((start..end).step_by(30));
    for at in around {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(past.path(), bytes).unwrap();
        let output = past.restored(&["-timestamp", &past.time(past.wanted)]);
        match output.status.code() {
            Some(0) => {
                let (_, sum) = past.states[past.wanted as usize - 1];
                assert_eq!(json(&output)["sum"], sum.to_string(), "byte {at}");
                right += 1;
            }
            code => {
                assert_eq!(code, Some(DAMAGED), "byte {at}: {}", said(&output));
                refused += 1;
            }
        }
    }
    assert!(refused >= 5 && right >= 3, "{refused} {right}");
}

/// The raw segments are there still: they stand in for it.
#[test]
fn raw_segments_stand_in_for_a_bundle() {
    let past = Past::new();
    for (member, bytes) in &past.members {
        put(&past.root(), member.id, bytes, member.timestamp);
    }
    let whole = fs::read(past.path()).unwrap();
    fs::write(past.path(), &whole[..whole.len() / 2]).unwrap();
    past.restores(past.wanted);
    let mut bytes = whole;
    let middle = past
        .members
        .iter()
        .find(|(member, _)| member.id.max.0 == past.wanted)
        .unwrap();
    bytes[middle.0.offset as usize + 150] ^= 1;
    fs::write(past.path(), bytes).unwrap();
    past.restores(past.wanted);
    fs::remove_file(past.path()).unwrap();
    past.restores(past.wanted);
}
