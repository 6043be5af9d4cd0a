//! The way in and the way out over S3: walferry and the real Litestream restore each other's buckets, byte for byte.
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
use std::path::Path;
use std::time::Duration;

use support::litestream::{litestream, litestream_restore};
use support::s3::S3;
use support::{Process, app, assert_same_file, replicate, restore, restore_ok, run_app, wait_until};

const FRAMES_ONLY: &str = "0.5.15";
const BLOCKS: &str = "0.5.17";

#[test]
fn litestream_0_5_17_restores_lz4() {
    litestream_restores("lz4", BLOCKS);
}

#[test]
fn litestream_0_5_15_restores_lz4_frame() {
    litestream_restores("lz4-frame", FRAMES_ONLY);
}

#[test]
fn walferry_restores_what_litestream_0_5_17_filled() {
    restores_litestreams_bucket(BLOCKS, "backups of/app.db");
}

#[test]
fn walferry_restores_what_litestream_0_5_15_filled() {
    restores_litestreams_bucket(FRAMES_ONLY, "app.db");
}

fn litestream_restores(codec: &str, version: &str) {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start(&folder.path().join("s3"));
    let database = folder.path().join("app.db");
    let db = database.to_str().unwrap();
    run_app(&["create", db, "4096", "none"]);
    let destination = server.replica("app.db");
    let ferry = replicate(
        &database,
        &destination,
        &["-codec", codec, "-sync-interval", "50ms"],
    );
    let mut writer = Process::start(&mut app(&["write", db, "1", "3"]));
    assert_eq!(writer.wait_for(Duration::from_secs(60)), Some(0));
    run_app(&["commit", db, "the last row"]);
    assert_eq!(ferry.terminate(), Some(0));
    run_app(&["finish", db]);
    assert!(
        server.objects("app.db").len() > 3,
        "several segments to put together"
    );
    let out = folder.path().join("out.db");
    let output = litestream_restore(version, &destination, &out, &["-integrity-check", "full"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_same_file(&database, &out, 4096);
}

/// An application writes while Litestream ships, compacts, takes snapshots and deletes; then walferry restores the newest
/// state and an older one.
fn restores_litestreams_bucket(version: &str, path: &str) {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start(&folder.path().join("s3"));
    let database = folder.path().join("app.db");
    let db = database.to_str().unwrap();
    run_app(&["create", db, "4096", "none"]);
    let config = folder.path().join("litestream.yml");
    fs::write(&config, configuration(&database, &server, path)).unwrap();
    let mut command = litestream(version);
    let mut shipping = Process::start(command.arg("replicate").arg("-config").arg(&config));
    let mut writer = Process::start(&mut app(&["write", db, "1", "5"]));
    assert_eq!(writer.wait_for(Duration::from_secs(60)), Some(0));
    let first = format!("0000/{0:016x}-{0:016x}.ltx", 1);
    wait_until(
        "Litestream to compact and to delete",
        Duration::from_secs(30),
        || {
            assert!(shipping.0.try_wait().unwrap().is_none(), "Litestream ended");
            let objects = server.objects(path);
            objects.iter().any(|key| key.starts_with("0002/")) && !objects.contains(&first)
        },
    );
    run_app(&["commit", db, "the last row"]);
    shipping.terminate();
    run_app(&["finish", db]);

    let destination = server.replica(&path.replace(' ', "%20"));
    let ours = folder.path().join("ours.db");
    restore_ok(&destination, &ours);
    assert_same_file(&database, &ours, 4096);

    // The end of a compacted segment is a state that both can restore.
    let objects = server.objects(path);
    let ends: Vec<&str> = objects
        .iter()
        .filter(|key| key.starts_with("0001/"))
        .map(|key| &key[22..38])
        .collect();
    let txid = ends[ends.len() / 2];
    let (ours, theirs) = (
        folder.path().join("ours-then.db"),
        folder.path().join("theirs-then.db"),
    );
    let output = litestream_restore(version, &destination, &theirs, &["-txid", txid]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let output = restore(&destination, &ours, &["-txid", txid]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_same_file(&theirs, &ours, 4096);
}

/// Everything that makes files move between levels, many times faster than usual.
fn configuration(database: &Path, server: &S3, path: &str) -> String {
    format!(
        "logging:\n  level: warn\n\
         l0-retention: 1s\n\
         l0-retention-check-interval: 500ms\n\
         levels:\n  - interval: 1s\n  - interval: 3s\n\
         snapshot:\n  interval: 4s\n  retention: 1h\n\
         dbs:\n  - path: {}\n    monitor-interval: 100ms\n    replica:\n      type: s3\n      bucket: {}\n      \
         path: {path}\n      endpoint: {}\n      region: us-east-1\n      sync-interval: 100ms\n",
        database.display(),
        S3::BUCKET,
        server.endpoint()
    )
}
