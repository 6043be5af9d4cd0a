//! `walferry doctor` names what stands in the way, with the real thing in the way each time, and changes nothing.
#![cfg(all(feature = "native", target_os = "linux"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::proxy::{Fate, Proxy};
use support::s3::S3;
use support::{Destination, Process, replicate, run_app, wait_until, walferry};

/// The user that tests are when they are not root.
const NOBODY: u32 = 65_534;

struct Place {
    folder: tempfile::TempDir,
    db: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let db = folder.path().join("app.db");
        run_app(&["create", db.to_str().unwrap(), "4096", "none"]);
        Self { folder, db }
    }

    /// A Python program that has the database open, after it has said that it is ready.
    fn application(&self, program: &str) -> Process {
        let mut command = Command::new("python3");
        command.arg("-c").arg(program).arg(&self.db);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(&mut command);
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        process
    }

    /// Every file, with all that a look could change of it.
    fn everything(&self) -> BTreeMap<PathBuf, (Vec<u8>, u32, i64)> {
        let entries = fs::read_dir(self.folder.path()).unwrap().flatten();
        let files = entries.filter(|entry| entry.path().is_file());
        files
            .map(|entry| {
                let metadata = entry.metadata().unwrap();
                let content = fs::read(entry.path()).unwrap();
                (entry.path(), (content, metadata.uid(), metadata.mtime_nsec()))
            })
            .collect()
    }
}

/// The exit code, and what was found: code and severity.
fn diagnose(mut command: Command, db: &Path) -> (Option<i32>, Vec<(String, String)>, Value) {
    let output = command.args(["doctor", "--json"]).arg(db).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let json: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));
    let findings = json["databases"][db.to_str().unwrap()]
        .as_array()
        .unwrap()
        .clone();
    let told = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let found = findings
        .iter()
        .inspect(|finding| {
            assert!(!told(finding, "finding").is_empty() && !told(finding, "remedy").is_empty())
        })
        .map(|finding| (told(finding, "code"), told(finding, "severity")))
        // Where the tests run is not what is tested.
        .filter(|(code, _)| !["overlay", "tmpfs", "network", "room"].contains(&code.as_str()))
        .collect();
    assert_eq!(json["ok"] == true, output.status.success(), "{json}");
    (output.status.code(), found, json)
}

fn found(db: &Path) -> Vec<(String, String)> {
    diagnose(walferry(), db).1
}

fn has(found: &[(String, String)], code: &str, severity: &str) -> bool {
    found.contains(&(code.to_owned(), severity.to_owned()))
}

#[test]
fn a_sound_database_has_nothing_and_stays_as_it_is() {
    let place = Place::new();
    let before = place.everything();
    assert_eq!(diagnose(walferry(), &place.db).0, Some(0));
    assert_eq!(found(&place.db), []);
    assert_eq!(place.everything(), before, "nothing was made or touched");

    // And while an application writes, of whose locks nothing must be lost.
    let mut app = place.application(
        "import sqlite3,sys\ndb=sqlite3.connect(sys.argv[1],isolation_level=None)\ndb.execute('begin immediate')\n\
         db.execute(\"insert into note (text) values ('x')\")\nprint('ready',flush=True)\nsys.stdin.readline()\n\
         db.execute('commit')",
    );
    assert_eq!(found(&place.db), []);
    app.0.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(app.wait_for(Duration::from_secs(20)), Some(0));
    let output = walferry().arg("doctor").arg(&place.db).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("nothing is in the way"));
}

#[test]
fn files_that_are_no_database_in_wal_mode_are_named() {
    let place = Place::new();
    let at = |name: &str| place.folder.path().join(name);
    let check = |path: &Path, code: &str| {
        let (exit, found, json) = diagnose(walferry(), path);
        assert!(has(&found, code, "error"), "{code}: {json}");
        assert_eq!(exit, Some(3));
    };
    check(&at("none.db"), "missing");
    check(place.folder.path(), "not-a-file");
    fs::write(
        at("text.db"),
        "this is a text, and long enough to hold a header. ".repeat(10),
    )
    .unwrap();
    check(&at("text.db"), "not-sqlite");
    fs::write(at("short.db"), b"SQLite format 3\0").unwrap();
    check(&at("short.db"), "damaged");

    let damaged = at("damaged.db");
    for (offset, bytes) in [(16, [0, 3]), (21, [9, 9]), (18, [2, 7])] {
        fs::copy(&place.db, &damaged).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&damaged).unwrap();
        file.write_all_at(&bytes, offset).unwrap();
        check(&damaged, "damaged");
    }
    fs::copy(&place.db, &damaged).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&damaged).unwrap();
    file.set_len(fs::metadata(&damaged).unwrap().len() - 100).unwrap();
    assert!(has(&found(&damaged), "cut", "warning"));

    let rollback = place.application(
        "import sqlite3,sys\ndb=sqlite3.connect(sys.argv[1])\ndb.execute('pragma journal_mode=delete')\n\
         print('ready',flush=True)",
    );
    drop(rollback);
    check(&place.db, "not-wal");
}

#[test]
fn an_exclusive_application_is_named_with_its_process() {
    for order in ["first", "later"] {
        let place = Place::new();
        let read = if order == "later" {
            "db.execute('select count(*) from note').fetchone()\n"
        } else {
            ""
        };
        let app = place.application(&format!(
            "import sqlite3,sys\ndb=sqlite3.connect(sys.argv[1],isolation_level=None)\n{read}\
             db.execute('pragma locking_mode=exclusive')\ndb.execute(\"insert into note (text) values ('x')\")\n\
             print('ready',flush=True)\nsys.stdin.readline()"
        ));
        let (exit, found, json) = diagnose(walferry(), &place.db);
        assert!(has(&found, "exclusive", "error"), "{order}: {json}");
        assert!(
            json.to_string()
                .contains(&format!("process {} (python3", app.0.id())),
            "{json}"
        );
        assert_eq!(exit, Some(3));
    }
}

#[test]
fn permissions_are_those_of_the_user_that_asks() {
    let as_root = rustix::process::geteuid().is_root();
    let place = Place::new();
    // The program where everybody may run it.
    let program = place.folder.path().join("walferry");
    fs::copy(env!("CARGO_BIN_EXE_walferry"), &program).unwrap();
    let someone = || {
        let mut command = Command::new(&program);
        if as_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    };
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let own = |path: &Path| {
        if as_root {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    };
    let errors = |what: &str| {
        let (exit, found, json) = diagnose(someone(), &place.db);
        assert!(has(&found, what, "error"), "{what}: {json}");
        assert_eq!(exit, Some(3));
    };
    own(&place.db);
    own(place.folder.path());
    assert_eq!(diagnose(someone(), &place.db).1, []);

    mode(&place.db, 0o000);
    errors("unreadable");
    mode(&place.db, 0o444);
    errors("unwritable");
    mode(&place.db, 0o644);
    mode(place.folder.path(), 0o555);
    errors("folder");
    mode(place.folder.path(), 0o755);

    let state = place.folder.path().join(".app.db-walferry");
    fs::create_dir(&state).unwrap();
    own(&state);
    fs::write(state.join("position.json"), "{}").unwrap();
    mode(&state.join("position.json"), 0o000);
    errors("state-owner");
    fs::remove_dir_all(&state).unwrap();

    // A -wal that another user made: the usual accident with sudo sqlite3.
    let wal = place.folder.path().join("app.db-wal");
    fs::write(&wal, "").unwrap();
    if as_root {
        mode(&wal, 0o644);
        errors("wal-owner");
        assert!(
            has(&found(&place.db), "wal-owner", "warning"),
            "root may do it, the application may not"
        );
        assert!(has(&found(&place.db), "root", "note"));
    } else {
        mode(&wal, 0o444);
        errors("wal-owner");
    }
    // Who did not ask is told the same.
    mode(&wal, if as_root { 0o600 } else { 0o000 });
    let replica = format!("file://{}/replica", place.folder.path().display());
    let mut replicate = someone();
    replicate.args(["replicate", "-once"]).arg(&place.db).arg(replica);
    let output = replicate.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("app.db-wal cannot be read and written"),
        "{stderr}"
    );
    assert_eq!(output.status.code(), Some(3), "{stderr}");
}

#[test]
fn a_read_only_file_system_is_named() {
    let place = Place::new();
    let script = format!(
        "mount --bind {0} {0} && mount -o remount,ro,bind {0} && {1} doctor --json {0}/app.db",
        place.folder.path().display(),
        env!("CARGO_BIN_EXE_walferry")
    );
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let output = unshare.args(["--mount", "sh", "-c", &script]).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !stdout.is_empty(),
        "this test mounts a folder read-only, which needs a mount namespace: {stderr}"
    );
    assert!(stdout.contains("\"read-only\""), "{stdout}");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn litestream_is_named_while_it_runs_and_by_what_it_leaves() {
    let place = Place::new();
    let replica = place.folder.path().join("litestream-replica");
    let mut command = support::litestream::litestream("0.5.17");
    command.arg("replicate").arg(&place.db);
    command.arg(format!("file://{}", replica.display()));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let litestream = Process::start(&mut command);
    wait_until("litestream's first copy", Duration::from_secs(20), || {
        replica.join("ltx/0").is_dir()
    });
    wait_until("litestream's name", Duration::from_secs(20), || {
        has(&found(&place.db), "litestream", "warning")
    });
    litestream.terminate();
    run_app(&["finish", place.db.to_str().unwrap()]);
    let left = found(&place.db);
    for code in ["litestream-folder", "litestream-tables"] {
        assert!(has(&left, code, "note"), "{left:?}");
    }
    assert!(!has(&left, "litestream", "warning"), "{left:?}");
}

#[test]
fn a_walferry_that_follows_is_named_and_too_few_descriptors_too() {
    let place = Place::new();
    let mut command = walferry();
    command.arg("replicate").arg(&place.db);
    command.arg(format!("file://{}/replica", place.folder.path().display()));
    let running = Process::start(&mut command);
    wait_until("the first copy", Duration::from_secs(20), || {
        has(&found(&place.db), "in-use", "note")
    });

    let script = format!(
        "ulimit -n 50 && {} doctor --json {}",
        env!("CARGO_BIN_EXE_walferry"),
        place.db.display()
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        stdout.contains("\"descriptors\"") && stdout.contains("ulimit -n 74"),
        "{stdout}"
    );
    assert_eq!(output.status.code(), Some(1));

    let reset = || walferry().arg("reset").arg(&place.db).output().unwrap();
    assert_eq!(reset().status.code(), Some(6), "not while it is followed");
    running.terminate();
    let state = place.folder.path().join(".app.db-walferry");
    let dry = walferry()
        .args(["reset", "-dry-run"])
        .arg(&place.db)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&dry.stdout).contains("would remove") && state.is_dir());
    assert!(reset().status.success() && !state.exists());
    assert!(reset().status.success(), "nothing to remove is no failure");
    // The next start compares, and ships nothing: nothing differs.
    let replica = place.folder.path().join("replica/ltx");
    let held = || -> usize {
        let levels = fs::read_dir(&replica).unwrap();
        levels
            .map(|level| fs::read_dir(level.unwrap().path()).unwrap().count())
            .sum()
    };
    let before = held();
    let url = format!("file://{}/replica", place.folder.path().display());
    let status = walferry()
        .args(["replicate", "--once"])
        .arg(&place.db)
        .arg(url)
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(held(), before);
}

#[test]
fn a_destination_that_does_not_fit_is_named() {
    let place = Place::new();
    let server = S3::start(&place.folder.path().join("s3"));
    let ask = |destination: &Destination, key: &str| {
        let mut command = walferry();
        destination.authorize(&mut command);
        command.env("AWS_SECRET_ACCESS_KEY", key);
        command
            .args(["doctor", "--json", "-replica", &destination.url()])
            .arg(&place.db);
        let output = command.output().unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let codes: Vec<String> = json["replicas"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|found| found.as_array().unwrap().clone())
            .map(|finding| finding["code"].as_str().unwrap().to_owned())
            .collect();
        (output.status.code(), codes)
    };
    let replica = server.replica("app");
    assert_eq!(
        ask(&replica, S3::SECRET),
        (Some(0), vec![]),
        "an empty one is no fault"
    );
    assert_eq!(ask(&replica, "wrong"), (Some(5), vec!["denied".to_owned()]));
    let nowhere = support::s3::replica_at(support::s3::free_port(), "app");
    assert_eq!(
        ask(&nowhere, S3::SECRET),
        (Some(4), vec!["unreachable".to_owned()])
    );

    // A database of another page size was there before.
    let other = place.folder.path().join("other.db");
    run_app(&["create", other.to_str().unwrap(), "512", "none"]);
    let mut ferry = replicate(&other, &replica, &["--once"]);
    assert_eq!(ferry.wait_for(Duration::from_secs(20)), Some(0));
    assert_eq!(
        ask(&replica, S3::SECRET),
        (Some(6), vec!["owned".to_owned(), "page-size".to_owned()])
    );

    let config = place.folder.path().join("walferry.yml");
    let text = format!(
        "dbs:\n  - path: {}\n    replica:\n      url: {}\n",
        place.db.display(),
        replica.url()
    );
    fs::write(&config, text).unwrap();
    let mut command = walferry();
    replica.authorize(&mut command);
    let output = command.args(["doctor", "-config"]).arg(&config).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        told.contains("pages of 4096 bytes") && told.contains("pages of 512"),
        "{told}"
    );
    assert_eq!(output.status.code(), Some(6));
}

/// What was found at replicas: code, and the sentences.
fn at_replicas(command: &mut Command) -> (Option<i32>, Vec<(String, String)>) {
    let output = command.output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let replicas = json["replicas"].as_object().unwrap().values();
    let findings = replicas.flat_map(|found| found.as_array().unwrap().clone());
    let told = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let found = findings.map(|finding| {
        let sentences = format!("{}. {}", told(&finding, "finding"), told(&finding, "remedy"));
        (told(&finding, "code"), sentences)
    });
    (output.status.code(), found.collect())
}

#[test]
fn a_clock_that_is_wrong_is_named() {
    let place = Place::new();
    let server = S3::start(&place.folder.path().join("s3"));
    for (minutes, severity, code) in [(0, None, 0), (5, Some("warning"), 0), (60, Some("error"), 3)] {
        // The server's answers come from a past in which it was right.
        let then = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes);
        let then = then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string().leak();
        let proxy = Proxy::start(server.port, |head| match head.line.starts_with("HEAD / ") {
            true => Fate::Dated(then),
            false => Fate::Pass,
        });
        let replica = support::s3::replica_at(proxy.port, "app");
        let mut command = walferry();
        replica.authorize(&mut command);
        command
            .args(["doctor", "--json", "-replica", &replica.url()])
            .arg(&place.db);
        let (exit, found) = at_replicas(&mut command);
        assert_eq!(exit, Some(code), "{found:?}");
        match severity {
            None => assert!(found.is_empty(), "{found:?}"),
            Some(_) => {
                assert_eq!(found.len(), 1, "{found:?}");
                assert_eq!(found[0].0, "clock");
                let seconds: i64 = minutes * 60;
                let told = (seconds - 1..seconds + 20).any(|seconds| {
                    found[0]
                        .1
                        .contains(&format!("clock is {seconds} s off that of s3://"))
                });
                assert!(told && found[0].1.contains("timedatectl"), "{found:?}");
            }
        }
    }
}

#[test]
fn databases_of_folders_are_examined_and_a_replica_of_another_is_named_with_its_owner() {
    let place = Place::new();
    let root = place.folder.path().canonicalize().unwrap();
    let folder = root.join("dbs");
    fs::create_dir(&folder).unwrap();
    for name in ["mine.db", "theirs.db"] {
        run_app(&["create", folder.join(name).to_str().unwrap(), "4096", "none"]);
    }
    fs::write(folder.join("notes.txt"), "no database").unwrap();
    let replicas = root.join("replicas");
    let url = |name: &str| Destination::Folder(replicas.join(name));
    // Another database fills what is to be the replica of one of them.
    for (db, replica) in [
        (folder.join("mine.db"), "mine.db"),
        (place.db.clone(), "theirs.db"),
    ] {
        let mut ferry = replicate(&db, &url(replica), &["--once"]);
        assert_eq!(ferry.wait_for(Duration::from_secs(20)), Some(0));
    }
    let config = root.join("walferry.yml");
    let dbs = |dir: &Path| {
        format!(
            "dbs: [{{dir: {}, pattern: '*.db', replica: {{path: {}}}}}]",
            dir.display(),
            replicas.display()
        )
    };
    fs::write(&config, dbs(&folder)).unwrap();
    let examine = || {
        let mut command = walferry();
        command.args(["doctor", "--json", "-config"]).arg(&config);
        command
    };
    let (exit, found) = at_replicas(&mut examine());
    assert_eq!(exit, Some(6), "{found:?}");
    assert_eq!(found.len(), 1, "{found:?}");
    let (code, told) = &found[0];
    assert_eq!(code, "owned");
    let owner = place.db.canonicalize().unwrap();
    assert!(
        told.contains("replicas/theirs.db is the replica of another database: ")
            && told.contains(&owner.display().to_string())
            && told.contains("--takeover"),
        "{told}"
    );
    let json: Value = serde_json::from_slice(&examine().output().unwrap().stdout).unwrap();
    let examined: Vec<&String> = json["databases"].as_object().unwrap().keys().collect();
    assert_eq!(examined.len(), 2, "{examined:?}");

    // A folder that is not there is a finding, too.
    fs::write(&config, dbs(&root.join("nowhere"))).unwrap();
    let output = examine().output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stdout).contains("nowhere"));
}
