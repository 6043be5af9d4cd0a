//! A damaged or missing object is replaced by an intact copy at another level where there is one, and named.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod segments;

use std::cell::RefCell;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use segments::content::Random;
use segments::history::{History, create, delete, id, objects, read};
use walferry::ltx::{Codec, Txid};
use walferry::native::restore::{Error, Options, Summary, run};
use walferry::native::store::Patient;
use walferry::replica::{Level, SegmentId, SegmentInfo, Target, plan};
use walferry::store::{self, Body, MemoryStore, Source, Store};

/// Six states of 100 pages; what is read of them is more than one request brings.
fn history() -> History {
    let mut random = Random(3);
    let mut history = History::random(4096, 1, &mut random);
    history.states[1] = (0..100).map(|_| random.bytes(4096)).collect();
    history.states[1][40] = vec![0; 4096];
    history.written[1] = (1..=100).collect();
    for txid in 2..=6usize {
        let mut state = history.states[txid - 1].clone();
        let written: Vec<u32> = (1..=100).filter(|pgno| pgno % 3 == txid as u32 % 3).collect();
        for pgno in &written {
            state[*pgno as usize - 1] = random.bytes(4096);
        }
        // A page that becomes zeros: what was written of it before must not stay.
        state[txid + 1] = vec![0; 4096];
        history.states.push(state);
        history
            .written
            .push(written.into_iter().chain([txid as u32 + 2]).collect());
    }
    history
}

/// Compacted, and nothing expired yet: most states can be had in two ways.
fn compacted(history: &History, codec: Codec, promised: bool) -> MemoryStore {
    let store = MemoryStore::default();
    let ids = [(9, 1, 1), (9, 1, 4), (1, 2, 3), (1, 4, 5), (2, 2, 5)];
    let raw = (3..=6).map(|txid| (0, txid, txid));
    for (level, min, max) in ids.into_iter().chain(raw) {
        create(
            &store,
            id(level, min, max),
            &history.segment(min, max, codec, promised),
        );
    }
    store
}

fn restore(store: Rc<dyn Store>, target: Target, out: &Path) -> Result<Summary, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let options = Options::new(target, out.to_owned());
    runtime.block_on(run(&Patient::new(store), &options, |_, _| {}))
}

fn same(history: &History, txid: u64, out: &Path) {
    assert!(
        fs::read(out).unwrap() == history.states[txid as usize].concat(),
        "a wrong database"
    );
    fs::remove_file(out).unwrap();
}

/// Each object of a compacted replica in turn: deleted, cut, and one bit flipped at many places.
#[test]
fn every_object_may_be_damaged_or_gone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.db");
    let history = history();
    let (mut replaced, mut lost) = (0, 0);
    for (codec, promised) in [(Codec::Lz4, true), (Codec::Deflate, true), (Codec::Lz4, false)] {
        for object in objects(&compacted(&history, codec, promised)) {
            let whole = read(&compacted(&history, codec, promised), object).len();
            // The header, frames, the index, the trailer.
            let places = [85, 200, whole / 2, whole - 400, whole - 3];
            for fault in 0..places.len() + 2 {
                let store = compacted(&history, codec, promised);
                let good = read(&store, object);
                match fault {
                    0 => delete(&store, object),
                    1 => store.tamper(object, good.slice(..good.len() / 2)),
                    n => {
                        let mut bytes = good.to_vec();
                        bytes[places[n - 2]] ^= 0x10;
                        store.tamper(object, bytes.into());
                    }
                }
                let left: Vec<SegmentInfo> = objects(&store)
                    .into_iter()
                    .filter(|other| *other != object)
                    .map(|id| SegmentInfo {
                        id,
                        size: read(&store, id).len() as u64,
                        timestamp: None,
                    })
                    .collect();
                let healthy = plan(&left, Target::Txid(Txid(6)), Txid::ZERO).is_ok();
                let what = format!("{object}, fault {fault}, {codec}, promised {promised}");
                match restore(Rc::new(store), Target::Txid(Txid(6)), &out) {
                    Ok(summary) => {
                        same(&history, 6, &out);
                        assert_eq!(summary.txid, Txid(6));
                        for other in &summary.replaced {
                            assert_eq!(other.segment, object, "{what}");
                            assert!(!other.why.is_empty());
                        }
                        replaced += summary.replaced.len();
                    }
                    Err(error) => {
                        assert!(!healthy, "{what}: {error}");
                        assert!(!out.exists());
                        lost += 1;
                        if fault > 0 {
                            assert!(error.to_string().contains(&object.to_string()), "{what}: {error}");
                            assert!(
                                error.to_string().contains("--txid 0000000000000005"),
                                "{what}: {error}"
                            );
                        }
                    }
                }
            }
        }
    }
    // Some faults are in what no restore reads; of the last transaction there is one copy only.
    assert!(replaced > 20, "{replaced} were replaced");
    assert!((3..=3 * 7).contains(&lost), "{lost} were lost");
}

/// The newest state is not quietly another one because its segment is damaged.
#[test]
fn latest_is_not_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.db");
    let store = compacted(&history(), Codec::Lz4, true);
    let newest = id(0, 6, 6);
    let mut bytes = read(&store, newest).to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    store.tamper(newest, bytes.into());
    let error = restore(Rc::new(store), Target::Latest, &out).unwrap_err();
    assert!(error.to_string().contains("--txid 0000000000000005"), "{error}");
    assert!(!out.exists());
}

/// Retention deletes what is being restored: another way to the same state, or to a newer one.
#[test]
fn deleted_while_it_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.db");
    let history = history();
    for promised in [true, false] {
        let store = compacted(&history, Codec::Lz4, promised);
        let retention = Retention::new(store, vec![], vec![id(9, 1, 4)]);
        let summary = restore(Rc::new(retention), Target::Latest, &out).unwrap();
        assert_eq!(summary.txid, Txid(6));
        assert_eq!(summary.replaced[0].segment, id(9, 1, 4));
        same(&history, 6, &out);

        // All that leads to transaction 5 is gone, replaced by a snapshot of 6.
        let store = compacted(&history, Codec::Lz4, promised);
        delete(&store, id(0, 6, 6));
        let newer = (id(9, 1, 6), history.segment(1, 6, Codec::Lz4, promised));
        let old = objects(&store);
        let retention = Retention::new(store, vec![newer], old);
        let summary = restore(Rc::new(retention), Target::Latest, &out).unwrap();
        assert_eq!(summary.txid, Txid(6));
        same(&history, 6, &out);
    }
}

/// What a retention creates, and what it deletes.
type Change = (Vec<(SegmentId, Bytes)>, Vec<SegmentId>);

/// Creates and deletes objects when pages are first read of a large one.
struct Retention {
    store: MemoryStore,
    change: RefCell<Option<Change>>,
}

impl Retention {
    fn new(store: MemoryStore, created: Vec<(SegmentId, Bytes)>, deleted: Vec<SegmentId>) -> Self {
        let change = RefCell::new(Some((created, deleted)));
        Self { store, change }
    }
}

#[async_trait::async_trait(?Send)]
impl Source for Retention {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> store::Result<Bytes> {
        if range.end - range.start > 100 * 1024
            && let Some((created, deleted)) = self.change.take()
        {
            for (id, bytes) in created {
                create(&self.store, id, &bytes);
            }
            for id in deleted {
                delete(&self.store, id);
            }
        }
        self.store.read(id, range).await
    }
}

#[async_trait::async_trait(?Send)]
impl Store for Retention {
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
