//! The way in and the way out: walferry and the real Litestream restore each other's folders, byte for byte.
//!
//! `node scripts/setup.mjs` installs both versions of Litestream: 0.5.15 is the last to write and read LZ4 frames
//! only, 0.5.17 writes LZ4 blocks.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::litestream::{litestream, litestream_restore};
use support::{
    Destination, Process, app, assert_same_file, replicate, restore, restore_ok, run_app, wait_until,
};

const FRAMES_ONLY: &str = "0.5.15";
const BLOCKS: &str = "0.5.17";

#[test]
fn walferry_restores_what_litestream_0_5_15_filled() {
    restores_litestreams_folder(FRAMES_ONLY, 4096, "none");
}

#[test]
fn walferry_restores_what_litestream_0_5_17_filled() {
    restores_litestreams_folder(BLOCKS, 4096, "none");
}

#[test]
fn walferry_restores_small_and_large_pages_of_litestream() {
    restores_litestreams_folder(BLOCKS, 512, "full");
    restores_litestreams_folder(FRAMES_ONLY, 65_536, "incremental");
}

#[test]
fn litestream_0_5_17_restores_lz4() {
    litestream_restores("lz4", BLOCKS, 4096);
    litestream_restores("lz4", BLOCKS, 512);
}

#[test]
fn litestream_0_5_15_restores_lz4_frame() {
    litestream_restores("lz4-frame", FRAMES_ONLY, 4096);
    litestream_restores("lz4-frame", FRAMES_ONLY, 65_536);
}

#[test]
fn litestream_0_5_17_restores_lz4_frame() {
    litestream_restores("lz4-frame", BLOCKS, 4096);
}

/// What the documentation says where the codec is chosen.
#[test]
fn litestream_refuses_deflate() {
    let folder = tempfile::tempdir().unwrap();
    let (_, replica) = fill("deflate", 4096, folder.path());
    let out = folder.path().join("out.db");
    let output = litestream_restore(BLOCKS, &Destination::Folder(replica.clone()), &out, &[]);
    assert!(!output.status.success());
    assert!(!out.exists());
    restore_ok(&Destination::Folder(replica), &out);
}

/// An application writes while Litestream ships, compacts, takes snapshots and deletes; then walferry restores the
/// newest state and an older one.
fn restores_litestreams_folder(version: &str, page_size: usize, auto_vacuum: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (database, replica) = (folder.path().join("app.db"), folder.path().join("replica"));
    let db = database.to_str().unwrap();
    run_app(&["create", db, &page_size.to_string(), auto_vacuum]);
    let config = folder.path().join("litestream.yml");
    fs::write(&config, configuration(&database, &replica)).unwrap();
    let mut shipping = Process::start(litestream(version).arg("replicate").arg("-config").arg(&config));
    let mut writers = ["1", "2"].map(|seed| Process::start(&mut app(&["write", db, seed, "7"])));
    for writer in &mut writers {
        assert_eq!(writer.wait_for(Duration::from_secs(60)), Some(0));
    }
    wait_until(
        "Litestream to compact and to delete",
        Duration::from_secs(30),
        || {
            assert!(shipping.0.try_wait().unwrap().is_none(), "Litestream ended");
            segments(&replica, 2) > 0 && !replica.join("ltx/0").join(name(1, 1)).exists()
        },
    );
    run_app(&["commit", db, "the last row"]);
    shipping.terminate();
    run_app(&["finish", db]);

    let destination = Destination::Folder(replica.clone());
    let ours = folder.path().join("ours.db");
    restore_ok(&destination, &ours);
    assert_same_file(&database, &ours, page_size);

    // The end of some compacted segment is a state that both can restore.
    let txid = boundary(&replica);
    let (ours, theirs) = (
        folder.path().join("ours-then.db"),
        folder.path().join("theirs-then.db"),
    );
    let output = litestream_restore(version, &Destination::Folder(replica), &theirs, &["-txid", &txid]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let output = restore(&destination, &ours, &["-txid", &txid]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_same_file(&theirs, &ours, page_size);
}

fn litestream_restores(codec: &str, version: &str, page_size: usize) {
    let folder = tempfile::tempdir().unwrap();
    let (database, replica) = fill(codec, page_size, folder.path());
    let out = folder.path().join("out.db");
    let output = litestream_restore(
        version,
        &Destination::Folder(replica),
        &out,
        &["-integrity-check", "full"],
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_same_file(&database, &out, page_size);
}

/// walferry follows an application for some seconds, is killed and goes on; returns the database and the replica.
fn fill(codec: &str, page_size: usize, folder: &Path) -> (PathBuf, PathBuf) {
    let (database, replica) = (folder.join("app.db"), folder.join("replica"));
    let db = database.to_str().unwrap();
    run_app(&["create", db, &page_size.to_string(), "none"]);
    let destination = Destination::Folder(replica.clone());
    let start = || {
        replicate(
            &database,
            &destination,
            &["-codec", codec, "-sync-interval", "50ms"],
        )
    };
    let shipping = start();
    let mut writer = Process::start(&mut app(&["write", db, "1", "4"]));
    std::thread::sleep(Duration::from_secs(2));
    shipping.kill();
    let shipping = start();
    assert_eq!(writer.wait_for(Duration::from_secs(60)), Some(0));
    run_app(&["commit", db, "the last row"]);
    assert_eq!(shipping.terminate(), Some(0));
    run_app(&["finish", db]);
    assert!(segments(&replica, 0) > 3, "several segments to put together");
    (database, replica)
}

/// Everything that makes files move between levels, many times faster than usual.
fn configuration(database: &Path, replica: &Path) -> String {
    format!(
        "logging:\n  level: warn\n\
         l0-retention: 1s\n\
         l0-retention-check-interval: 500ms\n\
         levels:\n  - interval: 1s\n  - interval: 3s\n\
         snapshot:\n  interval: 4s\n  retention: 1h\n\
         dbs:\n  - path: {}\n    monitor-interval: 100ms\n    replica:\n      type: file\n      path: {}\n      \
         sync-interval: 100ms\n",
        database.display(),
        replica.display()
    )
}

fn segments(replica: &Path, level: u8) -> usize {
    fs::read_dir(replica.join(format!("ltx/{level}"))).map_or(0, Iterator::count)
}

fn name(min: u64, max: u64) -> String {
    format!("{min:016x}-{max:016x}.ltx")
}

/// The end of a segment in the middle of level 1.
fn boundary(replica: &Path) -> String {
    let entries = fs::read_dir(replica.join("ltx/1")).unwrap();
    let mut ends: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_str().unwrap()[17..33].to_owned())
        .collect();
    ends.sort();
    ends[ends.len() / 2].clone()
}
