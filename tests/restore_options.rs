//! Each option of `walferry restore` does what it says, asked of the program itself: which state comes out, what is printed, and
//! with which exit code it ends.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

#[path = "support/replica.rs"]
mod replica;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use replica::Replica;
use rusqlite::Connection;
use support::{Destination, ended, json, restore, run_app, said, walferry};
use walferry::ltx::{Codec, Txid};
use walferry::replica::Layout;

/// A database that was shipped after each of some commits.
struct Shipped {
    folder: tempfile::TempDir,
    /// The database file after each transaction, and a time when it was the newest state.
    states: Vec<(Vec<u8>, String)>,
}

impl Shipped {
    fn new(states: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut shipped = Self {
            folder,
            states: Vec::new(),
        };
        run_app(&["create", shipped.db(), "4096", "none"]);
        for _ in 0..states {
            shipped.commit_and_ship("replica");
        }
        shipped
    }

    fn commit_and_ship(&mut self, replica: &str) {
        run_app(&["commit", self.db(), "a row"]);
        run_app(&["finish", self.db()]);
        self.ship(replica);
        let time = jiff::Timestamp::now().to_string();
        // Times are in milliseconds.
        std::thread::sleep(Duration::from_millis(5));
        self.states.push((fs::read(self.path("app.db")).unwrap(), time));
    }

    fn ship(&self, replica: &str) {
        let url = format!("file://{}", self.path(replica).display());
        let output = walferry()
            .args(["replicate", "-once", self.db(), &url])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn db(&self) -> &'static str {
        self.path("app.db").to_str().unwrap().to_owned().leak()
    }

    fn replica(&self) -> Destination {
        Destination::Folder(self.path("replica"))
    }

    fn newest(&self) -> &[u8] {
        &self.states.last().unwrap().0
    }

    /// Everything that is there, but the replica.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_dry_run_names_what_it_would_read_and_writes_nothing() {
    let shipped = Shipped::new(3);
    let before = shipped.names();
    let listed = walferry()
        .args(["ltx", "-json", &shipped.replica().url()])
        .output()
        .unwrap();
    let listed = json(&listed);
    let listed = listed
        .as_array()
        .or(listed["segments"].as_array())
        .unwrap()
        .clone();
    assert_eq!(listed.len(), 3);

    let dry = |extra: &[&str]| {
        let output = walferry()
            .args(["restore", "-dry-run"])
            .args(extra)
            .arg(shipped.replica().url())
            .output()
            .unwrap();
        ended(&output, 0);
        output
    };
    let told = said(&dry(&[]));
    let plan = json(&dry(&["-json"]));
    assert_eq!(plan["txid"], "0000000000000003");
    assert_eq!(plan["page_size"], 4096);
    assert_eq!(plan["bytes"], shipped.newest().len());
    assert_eq!(plan["pages"], shipped.newest().len() / 4096);
    let segments = plan["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 3);
    assert!(told.contains("transaction 0000000000000003"), "{told}");
    assert!(told.contains("from 3 segments"), "{told}");
    for segment in segments {
        assert!(
            listed.iter().any(|known| known["size"] == segment["size"]
                && known["min_txid"] == segment["min_txid"]
                && known["level"] == segment["level"]),
            "{segment} is none of {listed:?}"
        );
        let size = segment["size"].as_u64().unwrap();
        let max = segment["max_txid"].as_str().unwrap();
        assert!(
            told.lines()
                .any(|line| line.contains(max) && line.trim_end().ends_with(&format!(" {size}"))),
            "{told}"
        );
    }
    let (requests, seconds) = (
        plan["requests"].as_u64().unwrap(),
        plan["seconds"].as_f64().unwrap(),
    );
    assert!(requests > 3 && (0.0..10.0).contains(&seconds), "{plan}");

    // An earlier state needs less.
    let earlier = json(&dry(&["-json", "-txid", "0000000000000001"]));
    assert_eq!(earlier["segments"].as_array().unwrap().len(), 1);
    // An output that is there is no obstacle, and stays.
    let there = shipped.path("app.db");
    dry(&["-o", there.to_str().unwrap()]);
    assert!(fs::read(&there).unwrap() == shipped.newest());
    let absent = shipped.path("absent.db");
    dry(&["-o", absent.to_str().unwrap()]);
    assert_eq!(shipped.names(), before);

    // What it says is what a restore does.
    let output = restore(&shipped.replica(), &absent, &["-json"]);
    let done = json(&output);
    assert_eq!(done["txid"], plan["txid"]);
    assert_eq!(done["bytes"], plan["bytes"]);
    assert_eq!(done["segments"], 3);
    assert!(done["requests"].as_u64().unwrap() <= requests, "{plan} {done}");
}

/// A dry run tells what is to be fetched: of a replica that is not small, that is what a restore then fetches.
#[test]
fn a_dry_run_tells_the_bytes_to_fetch() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode = wal; CREATE TABLE t (x);
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1500)
         INSERT INTO t SELECT randomblob(3000) FROM n",
    )
    .unwrap();
    let replica = Destination::Folder(folder.path().join("replica"));
    let mut ship = walferry();
    ship.args(["replicate", "-once"]).arg(&path).arg(replica.url());
    assert!(ship.status().unwrap().success());
    let dry = walferry()
        .args(["restore", "-dry-run", "-json", &replica.url()])
        .output()
        .unwrap();
    let fetch = json(&dry)["fetch"].as_u64().unwrap();
    let done = json(&restore(&replica, &folder.path().join("out.db"), &["-json"]));
    let fetched = done["fetched"].as_u64().unwrap();
    assert!(fetch > 4_000_000, "{fetch}");
    // Beside the pages there are header, index and trailer.
    assert!((fetch..fetch + 300_000).contains(&fetched), "{fetch} {fetched}");
}

#[test]
fn nothing_to_do_is_a_success_if_that_was_said() {
    let shipped = Shipped::new(1);
    let (there, out) = (shipped.path("there.db"), shipped.path("out.db"));
    fs::write(&there, "precious").unwrap();
    let (good, missing) = (shipped.replica(), Destination::Folder(shipped.path("missing")));
    let empty = Destination::Folder(shipped.path("empty"));
    fs::create_dir(shipped.path("empty")).unwrap();

    let output = restore(&good, &there, &[]);
    ended(&output, 8);
    let output = restore(&good, &there, &["-if-db-not-exists"]);
    ended(&output, 0);
    assert!(
        said(&output).contains("there.db exists already: nothing to do"),
        "{}",
        said(&output)
    );
    // Where there is nothing to do, nobody is asked.
    ended(&restore(&missing, &there, &["-if-db-not-exists"]), 0);
    let skipped = restore(&good, &there, &["-if-db-not-exists", "-json"]);
    ended(&skipped, 0);
    assert!(
        json(&skipped)["skipped"]
            .as_str()
            .unwrap()
            .contains("exists already")
    );
    assert_eq!(fs::read(&there).unwrap(), b"precious");

    for nothing in [&missing, &empty] {
        let output = restore(nothing, &out, &[]);
        ended(&output, 7);
        let output = restore(nothing, &out, &["-json"]);
        ended(&output, 7);
        assert_eq!(json(&output)["error"]["code"], "damaged");
        let output = restore(nothing, &out, &["-if-replica-exists"]);
        ended(&output, 0);
        assert!(
            said(&output).contains("holds nothing yet: nothing to do"),
            "{}",
            said(&output)
        );
        let skipped = restore(nothing, &out, &["-if-replica-exists", "-json"]);
        ended(&skipped, 0);
        assert!(
            json(&skipped)["skipped"]
                .as_str()
                .unwrap()
                .contains("holds nothing yet")
        );
        assert!(!out.exists());
    }
    // That is not meant for a replica that holds something and cannot be restored.
    let segment = fs::read_dir(shipped.path("replica/ltx/9"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let whole = fs::read(&segment).unwrap();
    fs::write(&segment, &whole[..whole.len() / 2]).unwrap();
    ended(&restore(&good, &out, &["-if-replica-exists"]), 7);
    fs::write(&segment, whole).unwrap();

    let both = ["-if-db-not-exists", "-if-replica-exists"];
    let output = restore(&good, &out, &both);
    ended(&output, 0);
    assert!(fs::read(&out).unwrap() == shipped.newest());
    let output = restore(&good, &out, &both);
    ended(&output, 0);
    assert!(said(&output).contains("exists already"), "{}", said(&output));
}

/// By the database's path: of its replicas the one that reaches furthest, to the place where the database was.
#[test]
fn a_configuration_finds_the_replica() {
    let mut shipped = Shipped::new(1);
    let config = |name: &str, replicas: &[&str]| {
        let replicas = replicas.iter().map(|name| match *name {
            "unreachable" => format!(
                "      - url: s3://b/app?endpoint=http://127.0.0.1:{}\n        access-key-id: a\n        secret-access-key: b\n",
                support::s3::free_port()
            ),
            name => format!("      - path: {}\n", shipped.path(name).display()),
        });
        let replicas: String = replicas.collect();
        let text = format!("dbs:\n  - path: {}\n    replicas:\n{replicas}", shipped.db());
        fs::write(shipped.path(name), text).unwrap();
        shipped.path(name)
    };
    let one_dead = config("dead.yml", &["old", "unreachable", "replica"]);
    let config = config("walferry.yml", &["empty", "old", "replica"]);
    shipped.ship("old");
    shipped.commit_and_ship("replica");
    let with = |config: &Path, arguments: &[&str]| {
        let mut command = walferry();
        command.args(["restore", "-config", config.to_str().unwrap()]);
        let output = command.args(arguments).arg(shipped.db()).output();
        output.unwrap()
    };
    let out = shipped.path("out.db");
    let output = with(&one_dead, &["-o", out.to_str().unwrap()]);
    ended(&output, 0);
    assert!(fs::read(&out).unwrap() == shipped.newest());
    assert!(said(&output).contains("passed over"), "{}", said(&output));

    ended(&with(&config, &[]), 8);
    ended(&with(&config, &["-if-db-not-exists"]), 0);
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", shipped.db()));
    }
    let output = with(&config, &["-if-db-not-exists", "-if-replica-exists", "-json"]);
    ended(&output, 0);
    assert_eq!(json(&output)["txid"], "0000000000000002");
    assert!(fs::read(shipped.db()).unwrap() == shipped.newest());

    // A database that it does not know.
    let output = walferry()
        .args(["restore", "-config", config.to_str().unwrap(), "/unknown.db"])
        .output()
        .unwrap();
    ended(&output, 2);
    assert!(
        said(&output).contains("has no database /unknown.db"),
        "{}",
        said(&output)
    );
}

#[test]
fn every_transaction_and_every_time_gives_its_state() {
    let shipped = Shipped::new(4);
    for (number, (state, time)) in shipped.states.iter().enumerate() {
        let txid = format!("{:016x}", number + 1);
        for (option, value) in [("-txid", &txid), ("-timestamp", time)] {
            let out = shipped.path(&format!("{option}{number}.db"));
            let output = restore(&shipped.replica(), &out, &[option, value, "-json"]);
            ended(&output, 0);
            assert_eq!(json(&output)["txid"], txid.as_str(), "{option} {value}");
            assert!(fs::read(&out).unwrap() == *state, "{option} {value}");
        }
    }
    let out = shipped.path("none.db");
    let output = restore(&shipped.replica(), &out, &["-txid", "0000000000000005"]);
    ended(&output, 3);
    assert!(said(&output).contains("0000000000000004"), "{}", said(&output));
    ended(
        &restore(&shipped.replica(), &out, &["-timestamp", "1 day ago"]),
        3,
    );
    assert!(!out.exists());
}

/// Shipped 45, 31 and 29 minutes ago.
#[test]
fn thirty_minutes_ago() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.db");
    let db = Connection::open(&source).unwrap();
    let mut replica = Replica::new(4096, Codec::Lz4);
    let mut states = Vec::new();
    let now = jiff::Timestamp::now().as_millisecond();
    for minutes in [45, 31, 29] {
        db.execute_batch("CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (randomblob(9000))")
            .unwrap();
        states.push(fs::read(&source).unwrap());
        replica.clock = now - minutes * 60_000;
        let id = replica.ship(states.last().unwrap());
        let path = folder.path().join("replica").join(id.key(Layout::Folder));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, replica.object(id)).unwrap();
        // As walferry and Litestream leave it.
        let time = UNIX_EPOCH + Duration::from_millis((replica.clock + id.max.0 as i64) as u64);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
    assert_eq!(replica.txid, Txid(3));
    let destination = Destination::Folder(folder.path().join("replica"));
    for (ago, state) in [
        ("30m ago", 1),
        ("30 minutes 50s ago", 1),
        ("32m ago", 0),
        ("28m ago", 2),
        ("0s ago", 2),
    ] {
        let out = folder.path().join(format!("{ago}.db"));
        let output = restore(&destination, &out, &["-timestamp", ago]);
        ended(&output, 0);
        assert!(fs::read(&out).unwrap() == states[state], "{ago}");
    }
    let out = folder.path().join("out.db");
    let output = restore(&destination, &out, &["-timestamp", "1h ago"]);
    ended(&output, 3);
    // With an offset from Greenwich.
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(-5));
    let then = jiff::Timestamp::from_millisecond(now - 30 * 60_000)
        .unwrap()
        .to_zoned(zone);
    let then = then.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    assert!(then.ends_with("-05:00"), "{then}");
    ended(&restore(&destination, &out, &["-timestamp", &then]), 0);
    assert!(fs::read(&out).unwrap() == states[1]);
}

#[test]
fn parallelism_changes_nothing_of_the_result() {
    let shipped = Shipped::new(3);
    for number in ["1", "3", "256"] {
        let out = shipped.path(number);
        ended(&restore(&shipped.replica(), &out, &["-parallelism", number]), 0);
        assert!(fs::read(&out).unwrap() == shipped.newest(), "{number}");
    }
    for number in ["0", "257", "many"] {
        let output = restore(
            &shipped.replica(),
            &shipped.path("out"),
            &["-parallelism", number],
        );
        ended(&output, 2);
        assert!(said(&output).contains("from 1 to 256"), "{}", said(&output));
    }
}

/// A database that SQLite finds fault with is shipped as it is; who restores it can have it looked at.
#[test]
fn an_integrity_check_refuses_what_was_wrong_before_it_was_shipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    broken_index(&path);
    let replica = Destination::Folder(folder.path().join("replica"));
    let mut ship = walferry();
    ship.args(["replicate", "-once"]).arg(&path).arg(replica.url());
    assert!(ship.status().unwrap().success());

    let out = folder.path().join("out.db");
    let output = restore(&replica, &out, &["-integrity-check", "full"]);
    ended(&output, 7);
    assert!(said(&output).contains("SQLite finds fault"), "{}", said(&output));
    let left = fs::read_dir(folder.path()).unwrap();
    let mut left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!left.any(|name| name.contains("out.db")));
    // The quick one does not compare indexes with their tables.
    for check in ["none", "quick"] {
        let out = folder.path().join(check);
        ended(&restore(&replica, &out, &["-integrity-check", check]), 0);
        assert!(fs::read(&out).unwrap() == fs::read(&path).unwrap());
    }
    ended(&restore(&replica, &out, &["-integrity-check", "some"]), 2);
    let verified = walferry().args(["verify", &replica.url()]).output().unwrap();
    ended(&verified, 7);

    let sound = Shipped::new(2);
    for check in ["quick", "full"] {
        let out = sound.path(check);
        ended(&restore(&sound.replica(), &out, &["-integrity-check", check]), 0);
        assert!(fs::read(&out).unwrap() == sound.newest());
    }
}

/// Two indexes that have changed places.
fn broken_index(path: &Path) {
    let program = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
        db.executescript('''PRAGMA journal_mode = wal; CREATE TABLE t (x); CREATE INDEX i ON t (x);\n\
        CREATE TABLE u (x); CREATE INDEX j ON u (x);\n\
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 500) INSERT INTO t SELECT n FROM n;\n\
        INSERT INTO u SELECT x + 1000 FROM t; PRAGMA writable_schema = on;\n\
        UPDATE sqlite_schema SET rootpage = (SELECT sum(rootpage) FROM sqlite_schema WHERE type = 'index') - rootpage\n\
        WHERE type = 'index'; PRAGMA wal_checkpoint(truncate)''')";
    let status = Command::new("python3").args(["-c", program]).arg(path).status();
    assert!(status.unwrap().success());
}
