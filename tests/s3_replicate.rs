//! Replication to a bucket, and back: while the server stays away, over a network with faults, with wrong keys.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use support::proxy::{Fate, Proxy};
use support::s3::{S3, authorize, replica_at};
use support::{
    Destination, Process, app, assert_same_file, replicate, restore, restore_ok, run_app, wait_until,
    walferry,
};

fn database(folder: &Path) -> PathBuf {
    let database = folder.join("app.db");
    run_app(&["create", database.to_str().unwrap(), "4096", "none"]);
    database
}

/// The application ends, and the replica is the database.
fn proven(database: &Path, destination: &Destination) {
    run_app(&["finish", database.to_str().unwrap()]);
    let restored = database.with_extension("restored");
    restore_ok(destination, &restored);
    assert_same_file(database, &restored, 4096);
}

#[test]
fn a_server_that_stays_away_is_awaited_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = S3::start(&folder.path().join("s3"));
    let database = database(folder.path());
    let db = database.to_str().unwrap();
    let destination = server.replica("app.db");
    let ferry = replicate(&database, &destination, &["--sync-interval", "50ms"]);
    wait_until("the first copy", Duration::from_secs(20), || {
        !server.objects("app.db").is_empty()
    });
    let mut writer = Process::start(&mut app(&["write", db, "1", "5"]));
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(700));
        server.stop();
        std::thread::sleep(Duration::from_millis(900));
        server.go_on();
    }
    assert_eq!(
        writer.wait_for(Duration::from_secs(60)),
        Some(0),
        "the application met no error"
    );
    run_app(&["commit", db, "the last row"]);
    assert_eq!(ferry.terminate(), Some(0));
    proven(&database, &destination);
}

/// A listing of a bucket tells no times: they are found in the segments, and few are looked into.
#[test]
fn a_state_of_the_past_is_found_by_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start(&folder.path().join("s3"));
    let database = database(folder.path());
    let db = database.to_str().unwrap();
    let proxy = Proxy::start(server.port, |_| Fate::Pass);
    let destination = replica_at(proxy.port, "app.db");
    let ferry = replicate(&database, &destination, &["--sync-interval", "10ms"]);
    let mut between = None;
    for row in 0..40 {
        if row == 25 {
            // Long enough for what was committed to be cut.
            std::thread::sleep(Duration::from_millis(500));
            between = Some(jiff::Timestamp::now());
            std::thread::sleep(Duration::from_millis(30));
        }
        run_app(&["commit", db, &format!("row {row}")]);
    }
    assert_eq!(ferry.terminate(), Some(0));
    let shipped = server.objects("app.db").len();
    assert!(shipped > 30, "{shipped} objects");
    let (out, before) = (folder.path().join("then.db"), proxy.seen().len());
    let time = between.unwrap().to_string();
    let output = restore(&destination, &out, &["-timestamp", &time]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let script = "import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute('select count(*) from note').fetchone()[0])";
    let count = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(&out)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&count.stdout).trim(), "25");
    // One listing of the levels, one of the bundles; a binary search; then each segment of the plan, once.
    let seen = proxy.seen();
    let lists = seen[before..]
        .iter()
        .filter(|head| head.line.contains("list-type=2"))
        .count();
    assert!(lists <= 3, "{lists} listings");
    assert!(
        seen.len() - before < shipped + 15,
        "{} requests",
        seen.len() - before
    );
}

#[test]
fn a_network_with_faults_only_costs_time() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start(&folder.path().join("s3"));
    let database = database(folder.path());
    let db = database.to_str().unwrap();
    let proxy = Proxy::start(server.port, |head| match head.number % 17 {
        3 => Fate::Cut,
        7 => Fate::Unheard,
        11 => Fate::Answer(503, "SlowDown"),
        13 => Fate::Answer(429, "TooManyRequests"),
        _ => Fate::Pass,
    });
    let through = replica_at(proxy.port, "app.db");
    let ferry = replicate(&database, &through, &["--sync-interval", "20ms"]);
    let mut writer = Process::start(&mut app(&["write", db, "1", "4"]));
    assert_eq!(writer.wait_for(Duration::from_secs(60)), Some(0));
    run_app(&["commit", db, "the last row"]);
    assert_eq!(ferry.terminate(), Some(0));
    let faults = proxy
        .seen()
        .iter()
        .filter(|head| matches!(head.number % 17, 3 | 7 | 11 | 13))
        .count();
    assert!(faults > 5, "{faults} faults");
    // Reading, too.
    proven(&database, &through);
}

#[test]
fn an_endpoint_that_ignores_conditions_is_found_out_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start_open(&folder.path().join("s3"));
    let database = database(folder.path());
    let proxy = Proxy::start(server.port, |_| Fate::Unconditional);
    let ship = || {
        let destination = replica_at(proxy.port, "app.db");
        let mut command = walferry();
        command
            .args(["replicate", "--once"])
            .arg(&database)
            .arg(destination.url());
        authorize(&mut command);
        // Without a signature, the proxy may change a request.
        command.env("AWS_SKIP_SIGNATURE", "true");
        command.output().unwrap()
    };
    let output = ship();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("looks before it writes"), "{said}");
    run_app(&["commit", database.to_str().unwrap(), "one more"]);
    assert!(ship().status.success());
    assert!(server.objects("app.db").len() > 1);
}

#[test]
fn wrong_keys_and_missing_buckets_are_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start(&folder.path().join("s3"));
    let database = database(folder.path());
    let with = |command: &str, url: &str, secret: &str| {
        let mut call = walferry();
        match command {
            "replicate" => call.arg(command).arg(&database),
            _ => call.arg(command),
        };
        call.arg(url);
        authorize(&mut call);
        if secret.is_empty() {
            call.env_remove("AWS_ACCESS_KEY_ID")
                .env_remove("AWS_SECRET_ACCESS_KEY");
            call.env("AWS_EC2_METADATA_DISABLED", "true")
                .env("HOME", folder.path());
        } else {
            call.env("AWS_SECRET_ACCESS_KEY", secret);
        }
        call.output().unwrap()
    };
    let said = |output: &Output, code: i32, hint: &str| {
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(hint), "{text}");
        assert!(!text.contains("geheim"), "{text}");
    };
    let url = server.replica("app.db").url();
    for command in ["replicate", "ltx"] {
        said(&with(command, &url, "geheim"), 5, "secret-access-key");
        said(&with(command, &url, ""), 5, "AWS_ACCESS_KEY_ID");
        let missing = url.replace(S3::BUCKET, "missing");
        said(&with(command, &missing, S3::SECRET), 4, "create it");
    }
    let output = restore(&server.replica("nothing"), &folder.path().join("out.db"), &[]);
    said(&output, 7, "empty");
}
