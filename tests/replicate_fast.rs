//! An application that writes as fast as it can: its own checkpoints never let the WAL start again, so ours must.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod support;

use std::process::Command;

use support::{Destination, assert_same_file, replicate, restore_ok, run_app};

/// Small transactions one after the other; prints how many, the frames that they made, the longest of them in ms, and the
/// longest WAL in bytes.
const WRITE: &str = "import sqlite3, sys, os, time
db = sys.argv[1]
d = sqlite3.connect(db, isolation_level=None, timeout=10)
d.execute('pragma synchronous = normal')
d.execute('insert into item (name, body) select name, randomblob(3000) from item')
end = time.monotonic() + 6
done = longest = wal = 0
while time.monotonic() < end:
    since = time.monotonic()
    d.execute('update item set body = randomblob(3000) where id in (?, ?, ?)', (done % 790 + 1, done % 790 + 4, done % 790 + 9))
    longest = max(longest, time.monotonic() - since)
    wal = max(wal, os.path.getsize(db + '-wal'))
    done += 1
print(done, longest * 1000, wal)";

#[test]
fn the_wal_stays_under_its_limit_however_fast_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (database, replica) = (folder.path().join("app.db"), folder.path().join("replica"));
    run_app(&["create", database.to_str().unwrap(), "4096", "none"]);
    let destination = Destination::Folder(replica);
    let ferry = replicate(&database, &destination, &[]);
    let output = Command::new("python3")
        .args(["-c", WRITE])
        .arg(&database)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told = String::from_utf8_lossy(&output.stdout);
    println!("transactions, the longest in ms, the longest WAL: {told}");
    let numbers: Vec<f64> = told
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    // Each of them wrote four frames or more: without a restart they would be several times the limit.
    assert!(numbers[0] > 10_000.0, "not fast enough to show anything: {told}");
    assert!(numbers[2] < 64.0 * 1024.0 * 1024.0, "the limit: {told}");
    assert_eq!(ferry.terminate(), Some(0));
    run_app(&["finish", database.to_str().unwrap()]);
    let restored = folder.path().join("restored.db");
    restore_ok(&destination, &restored);
    assert_same_file(&database, &restored, 4096);
}
