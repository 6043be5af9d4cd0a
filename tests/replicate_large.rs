//! A database and a transaction that are large: the WAL stays short while the first copy is made, and memory small.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::{Destination, assert_same_file, replicate, restore_ok, run_app, wait_until};

const LONG: Duration = Duration::from_secs(180);

/// Of 520 MiB.
const CREATE: &str = "import sqlite3, sys, os
d = sqlite3.connect(sys.argv[1], isolation_level=None)
d.execute('pragma journal_mode = off'); d.execute('pragma synchronous = off')
d.execute('create table large (id integer primary key, body blob)')
d.execute('begin')
block = os.urandom(1 << 19)
for n in range(1040):
    d.execute('insert into large values (?, ?)', (n, block[n:] + block[:n]))
d.execute('commit')
d.execute('pragma journal_mode = wal')";

/// Writes all over the database, and checkpoints, until the first copy is there; prints how often it checkpointed, how
/// often that was refused, the longest time that took, and the longest WAL.
const WRITE: &str = "import sqlite3, sys, os, time, random
db, copy = sys.argv[1], sys.argv[2]
d = sqlite3.connect(db, isolation_level=None, timeout=10)
d.execute('pragma synchronous = normal')
done = busy = longest = wal = 0
while not (os.path.isdir(copy) and any(name.endswith('.ltx') and not name.startswith('.') for name in os.listdir(copy))):
    for _ in range(20):
        d.execute('update large set body = randomblob(500000) where id = ?', (random.randrange(1040),))
        wal = max(wal, os.path.getsize(db + '-wal'))
    since = time.monotonic()
    busy += d.execute('pragma wal_checkpoint(truncate)').fetchone()[0]
    longest = max(longest, time.monotonic() - since)
    done += 1
    time.sleep(0.05)
print(done, busy, longest, wal)";

fn python(script: &str, arguments: &[&Path]) -> String {
    let output = Command::new("python3")
        .args(["-c", script])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The most memory that a process has had so far, in MiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn a_first_copy_and_a_large_transaction_keep_the_wal_short_and_memory_small() {
    let folder = tempfile::tempdir().unwrap();
    let (database, replica) = (folder.path().join("app.db"), folder.path().join("replica"));
    python(CREATE, &[&database]);
    assert!(fs::metadata(&database).unwrap().len() > 500 << 20);
    let destination = Destination::Folder(replica.clone());
    let ferry = replicate(&database, &destination, &[]);
    let told = python(WRITE, &[&database, &replica.join("ltx/9")]);
    println!("checkpoints, refused, longest in s, longest WAL: {told}");
    let numbers: Vec<f64> = told.split(' ').map(|number| number.parse().unwrap()).collect();
    assert!(numbers[0] >= 1.0, "no checkpoint while the copy was made: {told}");
    assert!(numbers[2] < 5.0, "none had to wait for the copy: {told}");
    // A copy that held the pin would have it grow without end.
    assert!(
        numbers[3] < 64.0 * 1024.0 * 1024.0,
        "the WAL stayed short: {told}"
    );

    let before = peak(ferry.0.id());
    python(
        "import sqlite3, sys
d = sqlite3.connect(sys.argv[1], isolation_level=None)
d.execute('update large set body = randomblob(524288) where id < 600')",
        &[&database],
    );
    let segments = replica.join("ltx/0");
    wait_until("the transaction", LONG, || {
        let Ok(entries) = fs::read_dir(&segments) else {
            return false;
        };
        entries
            .filter_map(|entry| entry.unwrap().metadata().ok())
            .any(|metadata| metadata.len() > 250 << 20)
    });
    let after = peak(ferry.0.id());
    println!("memory: {before} MiB after the first copy, {after} MiB after the transaction");
    assert!(after < before + 30, "{before} MiB became {after} MiB");
    assert!(after < 64, "{after} MiB");
    assert_eq!(ferry.terminate(), Some(0));
    run_app(&["finish", database.to_str().unwrap()]);
    let restored = folder.path().join("restored.db");
    restore_ok(&destination, &restored);
    assert_same_file(&database, &restored, 4096);
}
