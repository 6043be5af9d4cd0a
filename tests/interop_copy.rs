//! The way out of a replica that Litestream cannot read: a copy with another codec.
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
use std::process::Output;
use std::time::Duration;

use support::litestream::litestream;
use support::s3::{S3, authorize};
use support::{
    Destination, Process, Worker, app, assert_same_file, replicate, restore_ok, run_app, walferry,
};

#[test]
fn a_deflate_worker_becomes_a_folder_that_litestream_restores() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(&folder.path().join("r2"));
    let target = Destination::Folder(folder.path().join("replica"));
    way_out(folder.path(), &worker.database("app"), &target);
}

#[test]
fn a_deflate_bucket_becomes_a_bucket_that_litestream_restores() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start(&folder.path().join("s3"));
    way_out(
        folder.path(),
        &server.replica("deflated"),
        &server.replica("readable"),
    );
}

/// A bucket of Litestream's own, in the codec that only old versions read, goes to a Worker with all but its promise: a
/// Worker takes only what carries database sums, and says so.
#[test]
fn a_worker_refuses_what_makes_no_promise() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("app.db");
    run_app(&["create", database.to_str().unwrap(), "4096", "none"]);
    let replica = folder.path().join("theirs");
    let output = litestream("0.5.17")
        .arg("replicate")
        .arg("-once")
        .arg(&database)
        .arg(format!("file://{}", replica.display()))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let worker = Worker::start(&folder.path().join("r2"));
    let output = copy(&Destination::Folder(replica), &worker.database("app"), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
}

fn way_out(folder: &Path, source: &Destination, target: &Destination) {
    let database = folder.join("app.db");
    let db = database.to_str().unwrap();
    run_app(&["create", db, "4096", "none"]);
    let ferry = replicate(
        &database,
        source,
        &["-codec", "deflate", "-sync-interval", "50ms"],
    );
    let mut writer = Process::start(&mut app(&["write", db, "1", "2"]));
    assert_eq!(writer.wait_for(Duration::from_secs(60)), Some(0));
    assert_eq!(ferry.terminate(), Some(0));
    run_app(&["finish", db]);

    let output = copy(source, target, &["-codec", "lz4", "-json"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let first: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(first["copied"].as_u64().unwrap() > 3, "{first}");
    // Litestream proves each segment that was packed anew.
    let out = folder.join("theirs.db");
    let output = litestream("0.5.17")
        .args(["restore", "-integrity-check", "full", "-o"])
        .arg(&out)
        .arg(target.url())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_same_file(&database, &out, 4096);
    let ours = folder.join("ours.db");
    restore_ok(target, &ours);
    assert_same_file(&database, &ours, 4096);

    // Again: nothing to do.
    let output = copy(source, target, &["-codec", "lz4", "-json"]);
    let again: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(again["copied"], 0);
    assert_eq!(again["present"], first["copied"]);
    fs::remove_file(out).unwrap();
}

fn copy(source: &Destination, target: &Destination, extra: &[&str]) -> Output {
    let mut command = walferry();
    authorize(&mut command);
    source.authorize(&mut command);
    target.authorize(&mut command);
    command
        .arg("copy")
        .args(extra)
        .args([source.url(), target.url()])
        .output()
        .unwrap()
}
