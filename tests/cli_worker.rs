//! The Worker as a destination when things are not as they should be: tokens, absence, strangers.
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
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::s3::free_port;
use support::{
    Destination, Process, Worker, assert_same_file, replicate, restore, restore_ok, run_app, wait_until,
    walferry,
};

const UNREACHABLE: Option<i32> = Some(4);
const DENIED: Option<i32> = Some(5);
const DAMAGED: Option<i32> = Some(7);

fn free_address() -> SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}

fn says(output: &Output, code: Option<i32>, hint: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), code, "{stderr}");
    let message = stderr
        .lines()
        .find_map(|line| line.strip_prefix("walferry: "))
        .expect("a sentence");
    assert!(message.contains(hint), "{message:?} does not say {hint:?}");
}

fn database(folder: &Path) -> (std::path::PathBuf, String) {
    let path = folder.join("app.db");
    let text = path.to_str().unwrap().to_owned();
    run_app(&["create", &text, "4096", "none"]);
    (path, text)
}

#[test]
fn tokens() {
    let folder = tempfile::tempdir().unwrap();
    let (_, db) = database(folder.path());
    let worker = Worker::start(&folder.path().join("r2"));
    let url = format!("{}/v1/tokens", worker.url);
    let ship = |token: Option<&str>| {
        let mut command = walferry();
        command
            .args(["replicate", "--once", &db, &url])
            .env_remove("WALFERRY_TOKEN");
        command
            .envs(token.map(|token| ("WALFERRY_TOKEN", token)))
            .output()
            .unwrap()
    };
    says(&ship(None), DENIED, "set WALFERRY_TOKEN");
    says(&ship(Some("wrong")), DENIED, "WALFERRY_TOKEN");
    says(&ship(Some(Worker::READ_TOKEN)), DENIED, "may only read");

    let out = folder.path().join("out.db");
    let with = |token: &str| Destination::Worker {
        url: url.clone(),
        token: token.to_owned(),
    };
    says(&restore(&with(Worker::READ_TOKEN), &out, &[]), DAMAGED, "empty");
    assert!(ship(Some(Worker::WRITE_TOKEN)).status.success());
    says(&restore(&with("wrong"), &out, &[]), DENIED, "WALFERRY_TOKEN");
    says(&restore(&with("line\nbreak"), &out, &[]), DENIED, "line break");
    assert!(!out.exists());
    restore_ok(&with(Worker::READ_TOKEN), &out);
}

/// Nobody listens: writers go on at once, and all is shipped when the Worker comes.
#[test]
fn a_worker_that_comes_late() {
    let folder = tempfile::tempdir().unwrap();
    let (path, db) = database(folder.path());
    let address = free_address();
    let url = format!("http://{address}/v1/late");
    let destination = Destination::Worker {
        url,
        token: Worker::WRITE_TOKEN.to_owned(),
    };
    let mut shipping = replicate(&path, &destination, &[]);
    for n in 0..10 {
        let start = Instant::now();
        run_app(&["commit", &db, &format!("row {n}")]);
        // It would wait for a lock for twenty.
        assert!(
            start.elapsed() < Duration::from_secs(15),
            "the application waited"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(shipping.0.try_wait().unwrap().is_none(), "it keeps trying");

    let _worker = Worker::start_at(&folder.path().join("r2"), address.port());
    let listed = || {
        walferry()
            .args(["ltx", &destination.url()])
            .env("WALFERRY_TOKEN", Worker::READ_TOKEN)
            .output()
    };
    wait_until("the first segment", Duration::from_secs(60), || {
        String::from_utf8(listed().unwrap().stdout)
            .unwrap()
            .lines()
            .count()
            > 1
    });
    assert_eq!(shipping.terminate(), Some(0));
    run_app(&["finish", &db]);
    let out = folder.path().join("out.db");
    restore_ok(&destination, &out);
    assert_same_file(&path, &out, 4096);
}

#[test]
fn a_worker_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.db");
    let url = format!("http://{}/v1/app", free_address());
    let nowhere = Destination::Worker {
        url: url.clone(),
        token: "t".to_owned(),
    };
    says(&restore(&nowhere, &out, &[]), UNREACHABLE, "cannot be reached");
    says(
        &walferry().args(["ltx", &url]).output().unwrap(),
        UNREACHABLE,
        "cannot be reached",
    );
    let unknown = Destination::Worker {
        url: "https://no-such-host.invalid/v1/app".to_owned(),
        token: "t".to_owned(),
    };
    says(&restore(&unknown, &out, &[]), UNREACHABLE, "cannot be reached");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// From cron nobody waits forever; what is not shipped stays in the database.
#[test]
fn once_gives_up() {
    let folder = tempfile::tempdir().unwrap();
    let (path, db) = database(folder.path());
    let url = format!("http://{}/v1/app", free_address());
    let output = walferry()
        .args(["replicate", "--once", &db, &url])
        .output()
        .unwrap();
    says(&output, UNREACHABLE, "given up");
    let replica = Destination::Folder(folder.path().join("replica"));
    assert!(
        walferry()
            .args(["replicate", "--once", &db, &replica.url()])
            .status()
            .unwrap()
            .success()
    );
    let out = folder.path().join("out.db");
    restore_ok(&replica, &out);
    assert_same_file(&path, &out, 4096);
}

/// Another server answers at the URL.
#[test]
fn a_stranger() {
    let folder = tempfile::tempdir().unwrap();
    let (path, db) = database(folder.path());
    let address = free_address();
    let mut server = Command::new("python3");
    server
        .args([
            "-m",
            "http.server",
            "--bind",
            "127.0.0.1",
            &address.port().to_string(),
        ])
        .current_dir(folder.path())
        .stderr(Stdio::null())
        .stdout(Stdio::null());
    let _server = Process::start(&mut server);
    wait_until("the server", Duration::from_secs(20), || {
        std::net::TcpStream::connect(address).is_ok()
    });
    let url = format!("http://{address}/v1/app");
    let stranger = Destination::Worker {
        url: url.clone(),
        token: "t".to_owned(),
    };
    let out = folder.path().join("out.db");
    says(&restore(&stranger, &out, &[]), UNREACHABLE, "no walferry Worker");
    let output = walferry()
        .args(["replicate", "--once", &db, &url])
        .output()
        .unwrap();
    says(&output, UNREACHABLE, "no walferry Worker");
    assert!(path.exists() && !out.exists());
}
