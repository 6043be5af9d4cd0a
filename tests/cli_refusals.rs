//! What a person gets wrong is said in a sentence, with an exit code by class, and changes nothing.
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
use std::process::Command;

use support::{Destination, assert_same_file, restore_ok, run_app, walferry};

const USAGE: i32 = 2;
const INPUT: i32 = 3;
const UNREACHABLE: i32 = 4;
const DAMAGED: i32 = 7;
const EXISTS: i32 = 8;

/// Runs walferry; it must end with this code and a sentence that holds `hint`, on stderr alone.
fn refuses(arguments: &[&str], code: i32, hint: &str) {
    let output = walferry().args(arguments).output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    let message = stderr.lines().find_map(|line| line.strip_prefix("walferry: "));
    assert!(message.is_some(), "{arguments:?}: {stderr}");
    assert!(
        stderr.contains(hint),
        "{arguments:?} says {stderr:?} and not {hint:?}"
    );
    assert!(stdout.is_empty(), "{arguments:?}: {stdout}");
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn url(&self, name: &str) -> String {
        format!("file://{}", self.text(name))
    }

    /// A database and its replica, one transaction after the first copy.
    fn replica(&self) -> String {
        let db = self.text("app.db");
        run_app(&["create", &db, "4096", "none"]);
        let url = self.url("replica");
        for _ in 0..2 {
            run_app(&["commit", &db, "a row"]);
            let status = walferry()
                .args(["replicate", "--once", &db, &url])
                .status()
                .unwrap();
            assert!(status.success());
        }
        url
    }
}

#[test]
fn wrong_command_lines() {
    refuses(&[], USAGE, "Usage: walferry");
    refuses(&["restor"], USAGE, "restore");
    refuses(&["restore", "-o", "x"], USAGE, "<URL|DB>");
    refuses(&["restore", "file:///x"], USAGE, "-o OUT");
    refuses(
        &["restore", "-nonsense", "-o", "x", "file:///x"],
        USAGE,
        "--nonsense",
    );
    refuses(
        &["restore", "-o", "x", "-txid", "12", "file:///x"],
        USAGE,
        "16 lowercase hexadecimal digits",
    );
    refuses(
        &["restore", "-o", "x", "-timestamp", "yesterday", "file:///x"],
        USAGE,
        "30m ago",
    );
    let both = [
        "restore",
        "-o",
        "x",
        "-txid",
        "0000000000000001",
        "-timestamp",
        "1m ago",
        "file:///x",
    ];
    refuses(&both, USAGE, "cannot be used with");
    refuses(
        &["replicate", "a.db", "file:///x", "-codec", "zstd"],
        USAGE,
        "lz4, lz4-frame, deflate or stored",
    );
    refuses(
        &["replicate", "a.db", "file:///x", "-sync-interval", "0s"],
        USAGE,
        "1s",
    );
    refuses(
        &["replicate", "a.db", "file:///x", "-wal-limit", "lots"],
        USAGE,
        "64MiB",
    );
}

#[test]
fn wrong_urls() {
    let place = Place::new();
    let out = place.text("out.db");
    for (url, hint) in [
        ("/srv/replica", "file:///srv/replica"),
        ("replica", "file:///"),
        ("file://replica", "absolute"),
        ("file:replica", "three slashes"),
        ("sftp://host/replica", "no sftp:// destinations"),
        ("ftp://host/replica", "no kind of destination"),
        ("http://192.0.2.1/v1/app", "--insecure"),
        ("https://host.example/app", "/v1/name"),
        ("https://host.example/v1/Not-A-Name", "a-z"),
        ("https://user:word@host.example/v1/app", "WALFERRY_TOKEN"),
    ] {
        refuses(&["restore", "-o", &out, url], USAGE, hint);
        refuses(&["replicate", &out, url], USAGE, hint);
        refuses(&["ltx", url], USAGE, hint);
    }
}

#[test]
fn databases_that_cannot_be_followed() {
    let place = Place::new();
    let url = place.url("replica");
    let replicates = |name: &str, hint: &str| refuses(&["replicate", &place.text(name), &url], INPUT, hint);
    replicates("missing.db", "no database at");
    fs::create_dir(place.path("folder.db")).unwrap();
    replicates("folder.db", "not a regular file");
    fs::write(
        place.path("text.db"),
        "This is a text and no database.".repeat(100),
    )
    .unwrap();
    replicates("text.db", "not an SQLite database");
    assert!(!place.path("replica").exists(), "nothing was written");
    assert!(!place.path("missing.db").exists(), "no database was made");
}

#[test]
fn a_database_that_is_not_in_wal_mode() {
    let place = Place::new();
    let database = place.path("app.db");
    let sql = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('create table t (x)'); \
               db.execute('insert into t values (1)'); db.commit()";
    assert!(
        Command::new("python3")
            .args(["-c", sql])
            .arg(&database)
            .status()
            .unwrap()
            .success()
    );
    let before = fs::read(&database).unwrap();
    let (db, url) = (place.text("app.db"), place.url("replica"));
    refuses(&["replicate", "--once", &db, &url], INPUT, "--set-wal");
    assert_eq!(fs::read(&database).unwrap(), before, "it was left as it is");

    let status = walferry()
        .args(["replicate", "--once", "--set-wal", &db, &url])
        .status()
        .unwrap();
    assert!(status.success());
    run_app(&["finish", &db]);
    let out = place.path("out.db");
    restore_ok(&Destination::Folder(place.path("replica")), &out);
    assert_same_file(&database, &out, 4096);
}

/// No use in waiting for that: the path goes through a file.
#[test]
fn a_folder_that_cannot_be() {
    let place = Place::new();
    let db = place.text("app.db");
    run_app(&["create", &db, "4096", "none"]);
    refuses(
        &["replicate", &db, &place.url("app.db/replica")],
        UNREACHABLE,
        "check the URL",
    );
}

#[test]
fn replicas_that_hold_nothing_to_restore() {
    let place = Place::new();
    let out = place.text("out.db");
    refuses(
        &["restore", "-o", &out, &place.url("nowhere")],
        DAMAGED,
        "does not exist",
    );
    refuses(&["ltx", &place.url("nowhere")], DAMAGED, "does not exist");
    fs::create_dir(place.path("empty")).unwrap();
    refuses(
        &["restore", "-o", &out, &place.url("empty")],
        DAMAGED,
        "the replica is empty",
    );
    assert!(!place.path("out.db").exists());
}

#[test]
fn states_that_the_replica_does_not_have() {
    let place = Place::new();
    let (url, out) = (place.replica(), place.text("out.db"));
    let restores = |option: &str, value: &str, hint: &str| {
        refuses(&["restore", "-o", &out, option, value, &url], INPUT, hint);
    };
    restores(
        "-txid",
        "00000000000000ff",
        "cannot be restored: the nearest before it is 0000000000000002",
    );
    restores("-timestamp", "2001-01-01T00:00:00Z", "it starts later");
    assert!(!place.path("out.db").exists());
    let now = walferry()
        .args(["restore", "-o", &out, "-timestamp", "0s ago", &url])
        .status();
    assert!(now.unwrap().success());
}

#[test]
fn outputs_that_are_taken() {
    let place = Place::new();
    let url = place.replica();
    let restores = |out: &Path, code, hint: &str| {
        refuses(&["restore", "-o", out.to_str().unwrap(), &url], code, hint);
    };
    let taken = place.path("taken.db");
    fs::write(&taken, "precious").unwrap();
    restores(&taken, EXISTS, "exists already");
    assert_eq!(fs::read(&taken).unwrap(), b"precious");

    let dangling = place.path("dangling.db");
    std::os::unix::fs::symlink(place.path("nothing"), &dangling).unwrap();
    restores(&dangling, EXISTS, "exists already");
    restores(place.folder.path(), EXISTS, "exists already");

    for end in ["-wal", "-shm", "-journal"] {
        let left = place.path(&format!("out.db{end}"));
        fs::write(&left, "left").unwrap();
        restores(&place.path("out.db"), EXISTS, end);
        fs::remove_file(&left).unwrap();
    }
    restores(&place.path("no/such/folder/out.db"), INPUT, "no folder");
    restore_ok(&Destination::Folder(place.path("replica")), &place.path("out.db"));
}

/// Programs read the same from stdout.
#[test]
fn failures_as_json() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    let (out, url) = (place.text("out.db"), place.url("empty"));
    for (arguments, code) in [
        (vec!["restore", "-json", "-o", &out, &url], "damaged"),
        (vec!["restore", "--json", "-o", &out, "nonsense"], "usage"),
        (vec!["restore", "-json", "-o", &out, "-txid", "1", &url], "usage"),
        (vec!["ltx", "-json", "file:///nowhere/at/all"], "damaged"),
    ] {
        let output = walferry().args(&arguments).output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["error"]["code"], code, "{arguments:?}");
        let message = json["error"]["message"].as_str().unwrap();
        assert_eq!(
            String::from_utf8(output.stderr).unwrap().trim_end(),
            format!("walferry: {message}")
        );
    }
}

#[test]
fn what_is_right_is_told_as_json() {
    let place = Place::new();
    let (url, out) = (place.replica(), place.text("out.db"));
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = walferry().args(arguments).output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let summary = json(&["restore", "-json", "-o", &out, &url]);
    assert_eq!(summary["txid"], "0000000000000002");
    assert_eq!(
        summary["bytes"],
        fs::metadata(place.path("out.db")).unwrap().len()
    );
    assert_eq!(summary["sum"].as_str().unwrap().len(), 16);
    let segments = json(&["ltx", "-json", &url]);
    assert_eq!(segments.as_array().unwrap().len(), 2);
    assert_eq!(segments[0]["max_txid"], "0000000000000002");
}
