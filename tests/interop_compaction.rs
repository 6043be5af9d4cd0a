//! A replica that was compacted, bundled and thinned out is still Litestream's to restore, and the other way round.
//!
//! Both versions of the real Litestream restore it from a folder and from a bucket, at the end and in between; walferry
//! restores every sync that ever was.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test"
)]

mod segments;
mod support;
mod upkeep;

use std::fs;
use std::path::Path;
use std::process::Output;
use std::rc::Rc;
use std::time::Duration;

use support::litestream::{litestream, litestream_restore};
use support::s3::S3;
use support::{
    Destination, Process, app, assert_same_file, replicate, restore, restore_ok, run_app, wait_until,
};
use upkeep::restored;
use walferry::ltx::{Header, Timestamp, Txid};
use walferry::merge::merge;
use walferry::native::clock::Clock;
use walferry::native::status::ReplicaStatus;
use walferry::native::store::FolderStore;
use walferry::native::upkeep::{Policy, spawn};
use walferry::replica::{Level, SegmentId, SegmentInfo, Target};
use walferry::store::{Body, Source, Store};

const FRAMES_ONLY: &str = "0.5.15";
const BLOCKS: &str = "0.5.17";

#[test]
fn litestream_0_5_17_restores_what_was_kept() {
    litestream_restores("lz4", BLOCKS, 4096);
}

#[test]
fn litestream_0_5_15_restores_what_was_kept() {
    litestream_restores("lz4-frame", FRAMES_ONLY, 512);
}

#[test]
fn what_litestream_filled_is_kept_and_restored_by_both() {
    let folder = tempfile::tempdir().unwrap();
    let (database, replica) = (folder.path().join("app.db"), folder.path().join("replica"));
    let db = database.to_str().unwrap();
    run_app(&["create", db, "4096", "none"]);
    let config = folder.path().join("litestream.yml");
    let text = format!(
        "logging:\n  level: warn\nlevels:\n  - interval: 1s\n  - interval: 3s\ndbs:\n  - path: {db}\n    \
         monitor-interval: 50ms\n    replica:\n      type: file\n      path: {}\n      sync-interval: 50ms\n",
        replica.display()
    );
    fs::write(&config, text).unwrap();
    let mut shipping = Process::start(litestream(BLOCKS).arg("replicate").arg("-config").arg(&config));
    let mut writer = Process::start(&mut app(&["write", db, "1", "5"]));
    assert_eq!(writer.wait_for(Duration::from_secs(60)), Some(0));
    wait_until("Litestream to compact", Duration::from_secs(20), || {
        assert!(shipping.0.try_wait().unwrap().is_none(), "Litestream ended");
        objects(&replica, 2) > 0
    });
    run_app(&["commit", db, "the last row"]);
    std::thread::sleep(Duration::from_millis(500));
    shipping.terminate();
    run_app(&["finish", db]);
    let raw = objects(&replica, 0);
    assert!(raw > 20, "{raw}");

    let before = ends(&replica, 0);
    keep(&replica, &[]);
    let counts: Vec<usize> = (0..=10).map(|level| objects(&replica, level)).collect();
    assert!(
        counts[0] < raw / 2 && counts[3] > 0 && counts[10] > 0,
        "{counts:?}, {raw} raw before"
    );
    // Litestream's segments promise no state: each proves itself, and that they lead there is what is asked.
    let store = FolderStore::new(&replica);
    run(async {
        for txid in before.into_iter().step_by(7) {
            let position = restored(&store, Target::Txid(txid)).await;
            assert_eq!(
                position.unwrap_or_else(|error| panic!("{txid}: {error}")).txid,
                txid
            );
        }
    });
    restored_by_both(
        BLOCKS,
        &folder.path().join("out"),
        &database,
        4096,
        &Destination::Folder(replica),
    );
}

fn litestream_restores(codec: &str, version: &str, page_size: usize) {
    let folder = tempfile::tempdir().unwrap();
    let (database, replica) = (folder.path().join("app.db"), folder.path().join("raw"));
    let db = database.to_str().unwrap();
    run_app(&["create", db, &page_size.to_string(), "full"]);
    let options = ["-codec", codec, "-sync-interval", "50ms"];
    let shipping = replicate(&database, &Destination::Folder(replica.clone()), &options);
    let mut writer = Process::start(&mut app(&["write", db, "1", "4"]));
    assert_eq!(writer.wait_for(Duration::from_secs(60)), Some(0));
    run_app(&["commit", db, "the last row"]);
    assert_eq!(shipping.terminate(), Some(0));
    run_app(&["finish", db]);

    // Shipped once more, and kept meanwhile.
    let kept = folder.path().join("kept");
    let shipped = ship_again(&replica, &kept);
    let raw = objects(&kept, 0);
    assert!(
        raw < shipped.len() / 2,
        "{raw} raw segments of {} are left",
        shipped.len()
    );
    for level in [2, 3, 9, 10] {
        assert!(objects(&kept, level) > 0, "nothing at {level}");
    }
    let store = FolderStore::new(&kept);
    run(async {
        for header in &shipped {
            let position = restored(&store, Target::Txid(header.max_txid)).await;
            let position = position.unwrap_or_else(|error| panic!("{}: {error}", header.max_txid));
            assert_eq!(
                position.sum,
                header.sums.map(|sums| sums.after),
                "{}",
                header.max_txid
            );
        }
    });

    let out = folder.path().join("out");
    restored_by_both(
        version,
        &out,
        &database,
        page_size,
        &Destination::Folder(kept.clone()),
    );
    let server = S3::start(&folder.path().join("buckets"));
    to_bucket(&kept, &server.folder().join("app"));
    restored_by_both(version, &out, &database, page_size, &server.replica("app"));
}

/// The end, and the ends of merged segments, by transaction and by time: the same file by both.
fn restored_by_both(version: &str, out: &Path, database: &Path, page_size: usize, destination: &Destination) {
    fs::create_dir_all(out).unwrap();
    let (ours, theirs) = (out.join("ours.db"), out.join("theirs.db"));
    let again = |extra: &[&str]| {
        let _ = (fs::remove_file(&ours), fs::remove_file(&theirs));
        let output = litestream_restore(version, destination, &theirs, extra);
        assert!(output.status.success(), "{extra:?}: {}", text(&output));
        let output = restore(destination, &ours, extra);
        assert!(output.status.success(), "{extra:?}: {}", text(&output));
        assert_same_file(&theirs, &ours, page_size);
    };
    again(&[]);
    assert_same_file(database, &ours, page_size);
    let _ = fs::remove_file(&ours);
    restore_ok(destination, &ours);
    let (txid, time) = boundary(destination);
    again(&["-txid", &txid.to_string()]);
    let time = jiff::Timestamp::from_millisecond(time.0).unwrap();
    again(&["-timestamp", &format!("{time:.3}")]);
}

/// Ships every segment of a folder again, in order, into another that is kept meanwhile.
fn ship_again(from: &Path, to: &Path) -> Vec<Header> {
    let from = FolderStore::new(from);
    let segments = run(async {
        let mut all = from.list_all(Txid::ZERO).await.unwrap();
        all.retain(|info| matches!(u8::from(info.id.level), 0 | 9));
        all.sort_by_key(|info| info.id.max);
        all
    });
    assert!(segments.len() > 30, "{}", segments.len());
    keep(
        to,
        &segments.iter().map(|info| (&from, *info)).collect::<Vec<_>>(),
    )
}

/// Runs the upkeep of a folder at some hundred times the usual pace, while these segments are shipped.
fn keep(folder: &Path, segments: &[(&FolderStore, SegmentInfo)]) -> Vec<Header> {
    let policy = Policy {
        levels: [250, 750, 2250].map(Duration::from_millis).to_vec(),
        history_window: Duration::from_millis(750),
        snapshot_interval: Duration::from_millis(1500),
        raw_retention: Duration::from_millis(200),
        grace: Duration::from_millis(400),
        ..Policy::default()
    };
    let state = tempfile::tempdir().unwrap();
    run(async {
        let store = Rc::new(FolderStore::new(folder));
        let status = ReplicaStatus::new("folder".to_owned(), "file");
        let listing = store.list_all(Txid::ZERO).await.unwrap();
        let handle = spawn(
            store.clone(),
            policy,
            state.path(),
            Clock::system(),
            listing,
            status.clone(),
            Rc::default(),
        );
        let mut headers = Vec::new();
        for (number, (from, info)) in segments.iter().enumerate() {
            let bytes = from.read(info.id, 0..info.size).await.unwrap();
            let header = Header::parse(bytes.first_chunk().unwrap()).unwrap();
            // The first copy of a database is a snapshot.
            let level = if number == 0 { Level::SNAPSHOT } else { Level::RAW };
            let info = SegmentInfo {
                id: SegmentId { level, ..info.id },
                timestamp: Some(header.timestamp),
                ..*info
            };
            let body: Rc<dyn Body> = Rc::new(bytes);
            store.create(info.id, &*body).await.unwrap();
            handle.shipped(info, &body);
            headers.push(header);
            tokio::time::sleep(Duration::from_millis(40)).await;
            if number == segments.len() / 2 {
                let whole: Vec<_> = segments[..=number].iter().map(|(_, info)| *info).collect();
                let merged = merge(*from, &whole, Level::SNAPSHOT, Vec::new()).await.unwrap();
                let info = SegmentInfo {
                    id: merged.id,
                    size: merged.size,
                    timestamp: Some(merged.header.timestamp),
                };
                store
                    .create(merged.id, &bytes::Bytes::from(merged.out))
                    .await
                    .unwrap();
                handle.snapshot_done(info);
            }
        }
        tokio::time::sleep(Duration::from_millis(4000)).await;
        assert_eq!(*status.upkeep_failure.borrow(), None);
        headers
    })
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

/// The same objects as a bucket has them, with their times.
fn to_bucket(folder: &Path, bucket: &Path) {
    for level in fs::read_dir(folder.join("ltx")).unwrap() {
        let level = level.unwrap();
        let number: u8 = level.file_name().to_str().unwrap().parse().unwrap();
        let to = bucket.join(format!("{number:04x}"));
        fs::create_dir_all(&to).unwrap();
        for file in fs::read_dir(level.path()).unwrap() {
            let file = file.unwrap();
            let copy = to.join(file.file_name());
            fs::copy(file.path(), &copy).unwrap();
            let time = file.metadata().unwrap().modified().unwrap();
            fs::File::options()
                .write(true)
                .open(&copy)
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
    }
}

/// The end of a merged segment in the middle, and a time at which it was the newest.
fn boundary(destination: &Destination) -> (Txid, Timestamp) {
    let folder = match destination {
        Destination::Folder(path) => path.clone(),
        // The bucket has what the folder has.
        _ => return BOUNDARY.with(|boundary| boundary.get().unwrap()),
    };
    let store = FolderStore::new(folder);
    let ends = run(async {
        let mut ends = Vec::new();
        for level in [2, 3] {
            let merged = store.list(Level::new(level).unwrap(), Txid::ZERO).await.unwrap();
            ends.extend(merged.iter().map(|info| (info.id.max, info.timestamp.unwrap())));
        }
        ends.sort();
        // Litestream restores no time before the first whole database that it finds.
        let wholes = store.list(Level::SNAPSHOT, Txid::ZERO).await.unwrap();
        let wholes = wholes.iter().map(|info| (info.id.max, info.timestamp.unwrap()));
        let Some(first) = wholes.min() else {
            return ends.split_off(ends.len() - 1);
        };
        ends.retain(|end| end.0 > first.0 && end.1 > first.1);
        ends.insert(0, first);
        ends
    });
    let (txid, time) = ends[(ends.len() - 1) / 2];
    let found = (txid, Timestamp(time.0 + 1));
    BOUNDARY.with(|boundary| boundary.set(Some(found)));
    found
}

thread_local! {
    static BOUNDARY: std::cell::Cell<Option<(Txid, Timestamp)>> = const { std::cell::Cell::new(None) };
}

fn ends(replica: &Path, level: u8) -> Vec<Txid> {
    let store = FolderStore::new(replica);
    let level = Level::new(level).unwrap();
    run(async {
        store
            .list(level, Txid::ZERO)
            .await
            .unwrap()
            .iter()
            .map(|info| info.id.max)
            .collect()
    })
}

fn objects(replica: &Path, level: u8) -> usize {
    fs::read_dir(replica.join(format!("ltx/{level}"))).map_or(0, Iterator::count)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
