//! The promise: whatever an application does to its database, and however often walferry is killed meanwhile, the
//! restored database is the source, byte for byte.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test"
)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::s3::S3;
use support::{
    Destination, Process, Worker, app, assert_same_file, project, replicate, restore_ok, run_app, wait_until,
};

#[test]
fn folder_page_size_512() {
    let folder = tempfile::tempdir().unwrap();
    survives(
        folder.path(),
        512,
        "none",
        &Destination::Folder(folder.path().join("replica")),
    );
}

#[test]
fn folder_page_size_4096_auto_vacuum() {
    let folder = tempfile::tempdir().unwrap();
    survives(
        folder.path(),
        4096,
        "full",
        &Destination::Folder(folder.path().join("replica")),
    );
}

#[test]
fn folder_page_size_65536_incremental_vacuum() {
    let folder = tempfile::tempdir().unwrap();
    survives(
        folder.path(),
        65_536,
        "incremental",
        &Destination::Folder(folder.path().join("replica")),
    );
}

#[test]
fn worker_page_size_512_auto_vacuum() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(&folder.path().join("r2"));
    survives(folder.path(), 512, "full", &worker.database("small-pages"));
}

#[test]
fn worker_page_size_4096() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(&folder.path().join("r2"));
    survives(folder.path(), 4096, "none", &worker.database("usual-pages"));
}

#[test]
fn worker_page_size_65536() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(&folder.path().join("r2"));
    survives(
        folder.path(),
        65_536,
        "incremental",
        &worker.database("large-pages"),
    );
}

#[test]
fn s3_page_size_4096() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start(&folder.path().join("s3"));
    survives(folder.path(), 4096, "none", &server.replica("backups of/app.db"));
}

/// Two writers for some seconds; walferry is killed or ended, and started again, several times; an application dies
/// inside its commit; then all is compared.
fn survives(folder: &Path, page_size: usize, auto_vacuum: &str, destination: &Destination) {
    let database = folder.join("app.db");
    let db = database.to_str().unwrap();
    run_app(&["create", db, &page_size.to_string(), auto_vacuum]);
    let mut ferry = replicate(&database, destination, &["--sync-interval", "50ms"]);
    let mut writers = ["1", "2"].map(|seed| Process::start(&mut app(&["write", db, seed, "9"])));
    for round in 0..5 {
        std::thread::sleep(Duration::from_millis(700 + 311 * round));
        match round % 3 {
            0 => ferry.kill(),
            1 => assert_eq!(
                ferry.terminate(),
                Some(0),
                "SIGTERM ships what is committed and exits with 0"
            ),
            _ => {
                ferry.kill();
                // Writes and checkpoints go on for a while with no one watching.
                std::thread::sleep(Duration::from_millis(400));
            }
        }
        dies_inside_its_commit(folder, db);
        ferry = replicate(&database, destination, &["--sync-interval", "50ms"]);
    }
    for writer in &mut writers {
        assert_eq!(
            writer.wait_for(Duration::from_secs(60)),
            Some(0),
            "the application met no error"
        );
    }
    dies_inside_its_commit(folder, db);
    run_app(&["commit", db, "the last row"]);
    assert_eq!(ferry.terminate(), Some(0));

    run_app(&["finish", db]);
    let restored = folder.join("restored.db");
    restore_ok(destination, &restored);
    assert_same_file(&database, &restored, page_size);
    leaves_no_trace(db);
}

/// Kills an application after its commit frame reached the WAL and before SQLite counts it as committed.
fn dies_inside_its_commit(folder: &Path, db: &str) {
    let library = folder.join("die_in_fsync.so");
    if !library.exists() {
        let source = project().join("tests/support/die_in_fsync.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-w", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl");
        assert!(
            cc.status()
                .expect("a C compiler is needed for the tests")
                .success()
        );
    }
    let mut dying = app(&["commit", db, "never committed"]);
    dying
        .env("LD_PRELOAD", &library)
        .env("DIE_IN_SYNC", "1")
        .env("APP_SYNCHRONOUS", "full");
    let status = dying.status().expect("python3");
    assert_eq!(status.code(), None, "it must have been killed inside its commit");
}

/// No table, no trigger, no pragma of ours.
fn leaves_no_trace(db: &str) {
    let script = "import sqlite3, sys
d = sqlite3.connect(sys.argv[1])
print(sorted(r[0] for r in d.execute('select name from sqlite_schema')),
      d.execute('pragma journal_mode').fetchone()[0], d.execute('pragma user_version').fetchone()[0],
      d.execute('pragma application_id').fetchone()[0])";
    let output = Command::new("python3")
        .args(["-c", script, db])
        .output()
        .expect("python3");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "['item', 'item_name', 'note'] wal 0 0"
    );
}

/// More than 1 GiB, so that the lock page lies inside; written before and after.
#[test]
fn folder_across_the_lock_page() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("large.db");
    let db = database.to_str().unwrap();
    let script = "import sqlite3, sys
d = sqlite3.connect(sys.argv[1], isolation_level=None)
d.execute('pragma page_size = 65536'); d.execute('pragma journal_mode = off'); d.execute('pragma synchronous = off')
d.execute('create table item (id integer primary key, name text, body blob)')
d.execute('create index item_name on item (name)')
d.execute('create table note (id integer primary key, text text)')
d.execute('insert into item (body) values (zeroblob(540000000)), (zeroblob(540000000))')
d.execute('pragma journal_mode = wal')";
    assert!(
        Command::new("python3")
            .args(["-c", script, db])
            .status()
            .unwrap()
            .success()
    );
    let destination = Destination::Folder(folder.path().join("replica"));
    let ferry = replicate(&database, &destination, &[]);
    let replica = folder.path().join("replica/ltx/9");
    wait_until("the first copy", Duration::from_secs(120), || {
        std::fs::read_dir(&replica).is_ok_and(|entries| entries.count() > 0)
    });
    for row in 0..20 {
        run_app(&["commit", db, &format!("row {row}")]);
    }
    assert_eq!(ferry.terminate(), Some(0));
    run_app(&["finish", db]);
    let restored = folder.path().join("restored.db");
    restore_ok(&destination, &restored);
    assert!(std::fs::metadata(&restored).unwrap().len() > 1 << 30);
    assert_same_file(&database, &restored, 65_536);
}
