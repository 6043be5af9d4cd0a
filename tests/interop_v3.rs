//! What Litestream 0.3 left is restored: the real 0.3.13 ships, walferry restores, byte for byte.
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
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::litestream::litestream;
use support::proxy::{Fate, Proxy};
use support::s3::{S3, replica_at};
use support::{
    Destination, Process, app, assert_same_file, restore, restore_ok, run_app, said, wait_until, walferry,
};

const PAGE_SIZE: usize = 4096;

/// An application, and the Litestream of then beside it.
struct Past {
    folder: tempfile::TempDir,
    database: PathBuf,
    config: PathBuf,
}

impl Past {
    /// `replica`: what the configuration says of it.
    fn new(replica: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (database, config) = (folder.path().join("app.db"), folder.path().join("litestream.yml"));
        run_app(&["create", database.to_str().unwrap(), "4096", "none"]);
        let text = format!(
            "dbs:\n  - path: {}\n    monitor-interval: 50ms\n    min-checkpoint-page-count: 50\n    replicas:\n      \
             - sync-interval: 50ms\n        snapshot-interval: 2s\n{}",
            database.display(),
            replica(folder.path()),
        );
        fs::write(&config, text).unwrap();
        Self {
            folder,
            database,
            config,
        }
    }

    fn folder() -> Self {
        Self::new(|folder| format!("        path: {}\n", folder.join("replica").display()))
    }

    fn replica(&self) -> PathBuf {
        self.folder.path().join("replica")
    }

    fn db(&self) -> &str {
        self.database.to_str().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ship(&self) -> Process {
        let shipping = Process::start(
            litestream("0.3.13")
                .arg("replicate")
                .arg("-config")
                .arg(&self.config),
        );
        std::thread::sleep(Duration::from_millis(300));
        shipping
    }

    fn write(&self, seed: &str, seconds: &str) {
        let mut writer = Process::start(&mut app(&["write", self.db(), seed, seconds]));
        assert_eq!(writer.wait_for(Duration::from_secs(60)), Some(0));
    }

    /// One row, and long enough for it to be shipped.
    fn commit(&self, text: &str) {
        run_app(&["commit", self.db(), text]);
        std::thread::sleep(Duration::from_millis(800));
    }

    /// What the old Litestream restores.
    fn theirs(&self, name: &str, time: &str) -> PathBuf {
        let out = self.path(name);
        let output = litestream("0.3.13")
            .args(["restore", "-timestamp", time, "-o"])
            .arg(&out)
            .arg("-config")
            .arg(&self.config)
            .arg(&self.database)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
        out
    }

    /// The pieces of WAL, in their order in each generation.
    fn wal(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for generation in fs::read_dir(self.replica().join("generations")).unwrap() {
            let wal = fs::read_dir(generation.unwrap().path().join("wal")).unwrap();
            found.extend(wal.map(|entry| entry.unwrap().path()));
        }
        found.sort();
        found
    }
}

#[test]
fn generations_in_a_folder_are_restored_as_their_own_litestream_does() {
    let past = Past::folder();
    let shipping = past.ship();
    past.write("1", "3");
    past.commit("first generation");
    let first = now();
    past.write("2", "1");
    past.commit("first generation, later");
    shipping.terminate();
    // Nobody watches: a new generation has to be begun.
    past.write("3", "0.5");
    run_app(&["finish", past.db()]);
    let shipping = past.ship();
    past.write("4", "3");
    past.commit("second generation");
    let second = now();
    past.write("5", "1");
    past.commit("the last row");
    shipping.terminate();
    run_app(&["finish", past.db()]);

    let generations = fs::read_dir(past.replica().join("generations")).unwrap().count();
    assert!(generations >= 2, "{generations}");
    let last = past.wal().pop().unwrap();
    assert!(
        !last.ends_with("00000000_00000000.wal.lz4"),
        "several WALs: {last:?}"
    );

    let destination = Destination::Folder(past.replica());
    let ours = past.path("ours.db");
    let output = restore(&destination, &ours, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("in the layout of Litestream 0.3"),
        "{}",
        said(&output)
    );
    assert_same_file(&past.database, &ours, PAGE_SIZE);

    for (name, time, there, not_yet) in [
        ("first", &first, "first generation", "first generation, later"),
        ("second", &second, "second generation", "the last row"),
    ] {
        let ours = past.path(&format!("ours-{name}.db"));
        let output = restore(&destination, &ours, &["-timestamp", time]);
        assert!(output.status.success(), "{}", said(&output));
        assert_same_file(&past.theirs(&format!("theirs-{name}.db"), time), &ours, PAGE_SIZE);
        assert_eq!((notes(&ours, there), notes(&ours, not_yet)), (1, 0), "{name}");
    }
}

#[test]
fn what_the_old_layout_cannot_give_is_refused() {
    let past = Past::folder();
    let shipping = past.ship();
    past.write("1", "2");
    past.commit("the last row");
    shipping.terminate();
    let destination = Destination::Folder(past.replica());
    let out = past.path("out.db");
    let refuses = |extra: &[&str], why: &str| {
        let output = restore(&destination, &out, extra);
        assert!(!output.status.success());
        assert!(said(&output).contains(why), "{}", said(&output));
        let left = fs::read_dir(past.folder.path()).unwrap();
        let mut left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(!left.any(|name| name.contains("out.db")));
    };
    refuses(&["-txid", "0000000000000001"], "no transaction numbers");
    refuses(&["-f"], "not followed");
    refuses(
        &["-timestamp", "2001-01-01T00:00:00Z"],
        "has a snapshot at or before",
    );

    // Nothing but the WAL leads there from the first snapshot.
    let generation = past.wal()[0].ancestors().nth(2).unwrap().to_owned();
    for snapshot in fs::read_dir(generation.join("snapshots")).unwrap() {
        let snapshot = snapshot.unwrap().path();
        if !snapshot.ends_with("00000000.snapshot.lz4") {
            fs::remove_file(snapshot).unwrap();
        }
    }
    restore_ok(&destination, &out);
    fs::remove_file(&out).unwrap();
    let wal = past.wal();
    // One that another of the same WAL follows: that the last one of a WAL is missing, nothing could tell.
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap()[..8].to_owned();
    let pair = wal.windows(2).rev().find(|pair| name(&pair[0]) == name(&pair[1]));
    let piece = &pair.unwrap()[0];
    let whole = fs::read(piece).unwrap();
    fs::write(piece, &whole[..whole.len() / 2]).unwrap();
    refuses(&[], "is damaged");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    fs::write(piece, &flipped).unwrap();
    refuses(&[], "is damaged");
    fs::remove_file(piece).unwrap();
    refuses(&[], "has a gap");
}

/// Whoever has changed over restores what is newer.
#[test]
fn the_newer_of_both_layouts_is_restored() {
    let past = Past::folder();
    let shipping = past.ship();
    past.write("1", "1");
    past.commit("of old");
    let then = now();
    shipping.terminate();
    let destination = Destination::Folder(past.replica());
    let once = walferry()
        .args(["replicate", "-once"])
        .arg(&past.database)
        .arg(destination.url())
        .output()
        .unwrap();
    assert!(once.status.success(), "{}", said(&once));
    let new = past.path("new.db");
    let output = restore(&destination, &new, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("is transaction"), "{}", said(&output));

    // A time before the new layout was begun.
    let before = past.path("before.db");
    let output = restore(&destination, &before, &["-timestamp", &then]);
    assert!(
        said(&output).contains("in the layout of Litestream 0.3"),
        "{}",
        said(&output)
    );
    assert_eq!(notes(&before, "of old"), 1);

    // And back again.
    let shipping = past.ship();
    past.commit("of old again");
    shipping.terminate();
    run_app(&["finish", past.db()]);
    let old = past.path("old.db");
    let output = restore(&destination, &old, &[]);
    assert!(
        said(&output).contains("in the layout of Litestream 0.3"),
        "{}",
        said(&output)
    );
    assert_same_file(&past.database, &old, PAGE_SIZE);
}

#[test]
fn a_bucket_of_the_old_layout_is_restored() {
    let servers = tempfile::tempdir().unwrap();
    let server = S3::start(servers.path());
    let past = Past::new(|_| {
        format!(
            "        type: s3\n        bucket: {}\n        path: old/app.db\n        endpoint: http://127.0.0.1:{}\n        \
             region: us-east-1\n        force-path-style: true\n        access-key-id: {}\n        secret-access-key: {}\n",
            S3::BUCKET,
            server.port,
            S3::KEY,
            S3::SECRET,
        )
    });
    let shipping = past.ship();
    past.write("1", "3");
    past.commit("the last row");
    let listed = || server.objects("old/app.db");
    wait_until("several WALs", Duration::from_secs(20), || {
        listed().iter().any(|key| key.contains("/wal/00000002"))
    });
    shipping.terminate();
    run_app(&["finish", past.db()]);
    let ours = past.path("ours.db");
    let output = restore(&server.replica("old/app.db"), &ours, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("in the layout of Litestream 0.3"),
        "{}",
        said(&output)
    );
    assert_same_file(&past.database, &ours, PAGE_SIZE);

    // Every second answer breaks off.
    let proxy = Proxy::start(server.port, |head| {
        let is_cut = head.number % 2 == 1 && head.line.contains("/generations/");
        if is_cut { Fate::Short(50) } else { Fate::Pass }
    });
    let broken = past.path("broken.db");
    let output = restore(&replica_at(proxy.port, "old/app.db"), &broken, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(proxy.seen().len() > 6);
    assert_same_file(&past.database, &broken, PAGE_SIZE);

    // The drill, as for any other replica.
    let verify = |arguments: &[&str]| {
        let mut command = walferry();
        server.replica("old/app.db").authorize(&mut command);
        let output = command
            .arg("verify")
            .args(arguments)
            .arg(server.replica("old/app.db").url());
        output.output().unwrap()
    };
    let output = verify(&[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("in the layout of Litestream 0.3"),
        "{}",
        said(&output)
    );
    let output = verify(&["-json", "-random"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["layout"], "litestream-0.3", "{report}");
    assert!(report["integrity_seconds"].as_f64().unwrap() > 0.0, "{report}");
}

/// It is known to hold something: by its configuration, beside a replica that is empty, and beside one that is older.
#[test]
fn the_old_layout_is_drilled_and_chosen() {
    let past = Past::folder();
    let destination = Destination::Folder(past.replica());
    let older = format!("file://{}", past.path("older").display());
    let once = walferry()
        .args(["replicate", "-once", past.db(), &older])
        .output()
        .unwrap();
    assert!(once.status.success(), "{}", said(&once));
    let shipping = past.ship();
    past.write("1", "2");
    past.commit("the last row");
    shipping.terminate();
    run_app(&["finish", past.db()]);
    fs::create_dir(past.path("empty")).unwrap();

    let config = past.path("walferry.yml");
    let replicas =
        ["empty", "older", "replica"].map(|name| format!("      - path: {}\n", past.path(name).display()));
    let configured = |replicas: &[String]| {
        let text = format!(
            "dbs:\n  - path: {}\n    replicas:\n{}",
            past.db(),
            replicas.concat()
        );
        fs::write(&config, text).unwrap();
    };
    let with = |arguments: &[&str]| {
        let mut command = walferry();
        command.args(arguments).arg("-config").arg(&config).arg(past.db());
        command.output().unwrap()
    };
    for (number, replicas) in [
        &replicas[..],
        &replicas[1..],
        &[&replicas[..1], &replicas[2..]].concat(),
    ]
    .into_iter()
    .enumerate()
    {
        configured(replicas);
        let out = past.path(&format!("{number}.db"));
        let output = with(&["restore", "-o", out.to_str().unwrap()]);
        assert!(output.status.success(), "{}", said(&output));
        assert_same_file(&past.database, &out, PAGE_SIZE);
    }
    let output = with(&["verify"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains(&format!("{} can be restored", destination.url())),
        "{}",
        said(&output)
    );
    assert!(
        said(&output).contains("in the layout of Litestream 0.3"),
        "{}",
        said(&output)
    );

    // Only empty ones.
    configured(&[
        replicas[0].clone(),
        format!("      - path: {}\n", past.path("missing").display()),
    ]);
    let out = past.path("out.db");
    let output = with(&["restore", "-o", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    let output = with(&["restore", "-if-replica-exists", "-o", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!out.exists());

    // Following it makes no sense, and that is said.
    let output = restore(&destination, &out, &["-f"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        said(&output).contains("it can be restored, but not followed"),
        "{}",
        said(&output)
    );

    // The database is restored at the start, too, from the one that is newest.
    let state = fs::read(&past.database).unwrap();
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", past.db()));
    }
    configured(&[replicas[0].clone(), replicas[1].clone(), replicas[2].clone()]);
    let mut command = walferry();
    command
        .args(["replicate", "-once", "-restore-if-db-not-exists", "-config"])
        .arg(&config);
    let _may_refuse_to_go_on = command.output().unwrap();
    assert!(fs::read(&past.database).unwrap() == state);

    // Damage has its exit code.
    let piece = past.wal().remove(0);
    let whole = fs::read(&piece).unwrap();
    fs::write(&piece, &whole[..whole.len() / 2]).unwrap();
    for snapshot in fs::read_dir(piece.ancestors().nth(2).unwrap().join("snapshots")).unwrap() {
        let snapshot = snapshot.unwrap().path();
        if !snapshot.ends_with("00000000.snapshot.lz4") {
            fs::remove_file(snapshot).unwrap();
        }
    }
    let output = walferry().args(["verify", &destination.url()]).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
}

fn now() -> String {
    let now = jiff::Timestamp::now().to_string();
    std::thread::sleep(Duration::from_millis(100));
    now
}

fn notes(database: &Path, text: &str) -> u32 {
    let db = rusqlite::Connection::open(database).unwrap();
    db.query_row("select count(*) from note where text = ?", [text], |row| {
        row.get(0)
    })
    .unwrap()
}
