//! `walferry token`: the tokens that it makes, and that the Worker takes them for what they say.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod support;

use std::process::Output;
use std::time::{SystemTime, UNIX_EPOCH};

use support::{Destination, Worker, assert_same_file, restore, restore_ok, run_app, walferry};
use walferry::token::{Claims, Key, Scope};

fn token(arguments: &[&str], key: Option<&str>) -> Output {
    let mut command = walferry();
    command
        .arg("token")
        .args(arguments)
        .env_remove("WALFERRY_TOKEN_KEY");
    command
        .envs(key.map(|key| ("WALFERRY_TOKEN_KEY", key)))
        .output()
        .unwrap()
}

fn made(arguments: &[&str]) -> String {
    let output = token(arguments, Some(Worker::TOKEN_KEY));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.strip_suffix('\n').expect("one line").to_owned()
}

#[test]
fn says_what_was_asked_for() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let key = [Key::new(Worker::TOKEN_KEY.as_bytes()).unwrap()];
    for (arguments, database, scope, seconds) in [
        (&["app"][..], "app", Scope::Read, 365 * 86_400),
        (
            &["app", "--scope", "write", "--expires", "1h"],
            "app",
            Scope::Write,
            3600,
        ),
        (
            &["*", "-scope", "admin", "-expires", "5m"],
            "*",
            Scope::Admin,
            300,
        ),
    ] {
        let claims = Claims::verify(&made(arguments), &key, now).unwrap();
        assert_eq!((claims.database.as_str(), claims.scope), (database, scope));
        assert!(
            (now + seconds..now + seconds + 60).contains(&claims.expires),
            "{claims:?}"
        );
    }
}

#[test]
fn refuses_what_no_worker_would_take() {
    for (arguments, key, hint) in [
        (&["app"][..], None, "set WALFERRY_TOKEN_KEY"),
        (&["app"], Some("short"), "openssl rand"),
        (&["App"], Some(Worker::TOKEN_KEY), "a-z"),
        (&["app", "--scope", "owner"], Some(Worker::TOKEN_KEY), "owner"),
        (&["app", "--expires", "0s"], Some(Worker::TOKEN_KEY), "longer"),
    ] {
        let output = token(arguments, key);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(hint), "{stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn ships_and_restores_that_database_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let db = path.to_str().unwrap();
    run_app(&["create", db, "4096", "none"]);
    let worker = Worker::start(&folder.path().join("r2"));
    let (write, read) = (made(&["mine", "--scope", "write"]), made(&["mine"]));
    let ship = |name: &str, token: &str| {
        let url = format!("{}/v1/{name}", worker.url);
        let mut command = walferry();
        command
            .args(["replicate", "--once", db, &url])
            .env("WALFERRY_TOKEN", token);
        command.output().unwrap()
    };
    for (name, token) in [("other", &write), ("mine", &read)] {
        assert_eq!(ship(name, token).status.code(), Some(5), "{name} is denied");
    }
    assert!(ship("mine", &write).status.success());
    let with = |token: &str| Destination::Worker {
        url: format!("{}/v1/mine", worker.url),
        token: token.to_owned(),
    };
    let out = folder.path().join("out.db");
    assert_eq!(
        restore(&with(&made(&["other"])), &out, &[]).status.code(),
        Some(5)
    );
    restore_ok(&with(&read), &out);
    run_app(&["finish", db]);
    assert_same_file(&path, &out, 4096);
}
