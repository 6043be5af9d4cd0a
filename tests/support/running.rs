//! One database that is replicated to an S3 server, and what the walferry that does it tells.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests use it"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::s3::S3;
use super::{Destination, replicate, run_app, walferry};

pub const LONG: Duration = Duration::from_secs(20);

/// A database, and an S3 server for its replica.
pub struct Scene {
    pub s3: S3,
    pub folder: tempfile::TempDir,
    pub db: PathBuf,
}

impl Scene {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let s3 = S3::start(&folder.path().join("s3"));
        let db = folder.path().join("app.db");
        run_app(&["create", db.to_str().unwrap(), "4096", "none"]);
        Self { s3, folder, db }
    }

    pub fn commit(&self, text: &str) {
        run_app(&["commit", self.db.to_str().unwrap(), text]);
    }

    pub fn replica(&self) -> Destination {
        self.s3.replica("app")
    }

    /// Runs `walferry status --json`; the exit code and what it printed.
    pub fn status(&self, destination: &Destination, extra: &[&str]) -> (Option<i32>, Value) {
        let mut command = walferry();
        command
            .args(["status", "--json"])
            .args(extra)
            .arg(destination.url());
        destination.authorize(&mut command);
        let output = command.output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let json = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));
        (output.status.code(), json)
    }

    pub fn once(&self) {
        let mut process = replicate(&self.db, &self.replica(), &["--once"]);
        assert_eq!(process.wait_for(LONG), Some(0));
    }
}

/// The status and the body of a page on this machine.
pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(LONG)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// The sum of a metric over its series.
pub fn metric(port: u16, name: &str) -> f64 {
    let Some((200, page)) = get(port, "/metrics") else {
        return f64::NAN;
    };
    let lines = page.lines().filter_map(|line| line.strip_prefix(name));
    let values = lines.filter(|rest| rest.starts_with(['{', ' ']));
    values
        .map(|rest| rest.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}
