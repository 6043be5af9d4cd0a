//! A copy that follows a bucket, or a Worker, over a network: killed again and again, while its source goes away and comes back; in the
//! end it is the database, byte for byte.
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
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::s3::{S3, free_port};
use support::{
    Destination, Process, Worker, app, content, project, replicate, run_app, wait_until, walferry,
};

const LIMIT: Duration = Duration::from_secs(60);

/// An application that writes, walferry beside it, and a copy far away with its readers.
struct Distance {
    folder: tempfile::TempDir,
    destination: Destination,
}

impl Distance {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn db(&self) -> &'static str {
        self.path("app.db").to_str().unwrap().to_owned().leak()
    }

    fn follow(&self) -> Process {
        self.follow_every("20ms")
    }

    fn follow_every(&self, interval: &str) -> Process {
        let mut command = walferry();
        command.args(["restore", "-f", "-follow-interval", interval, "-o"]);
        command
            .arg(self.path("copy.db"))
            .arg(self.destination.url())
            .stdout(Stdio::null());
        self.destination.authorize(&mut command);
        Process::start(&mut command)
    }

    /// Once there is something to follow: too early, it finds nothing and ends.
    fn follow_from_the_start(&self, interval: &str) -> Process {
        loop {
            let mut following = self.follow_every(interval);
            let mut ended = false;
            wait_until("the first copy, or nothing there", LIMIT, || {
                ended = following.0.try_wait().unwrap().is_some();
                ended || self.path("copy.db").exists()
            });
            if !ended {
                return following;
            }
        }
    }

    fn wait_for_copy(&self, what: &str) {
        wait_until(what, LIMIT, || {
            content(&self.path("copy.db")) == content(&self.path("app.db"))
        });
    }

    /// Six seconds of writes; `outage` takes the source away for a while in their middle.
    fn lives_through(&self, outage: impl FnOnce()) {
        run_app(&["create", self.db(), "1024", "full"]);
        let shipping = replicate(
            &self.path("app.db"),
            &self.destination,
            &["--sync-interval", "40ms"],
        );
        let mut writing = Process::start(&mut app(&["write", self.db(), "11", "6"]));
        let mut following = loop {
            let following = self.follow();
            sleep(Duration::from_millis(400));
            if self.path("copy.db").exists() {
                break following;
            }
        };
        let stop = self.path("stop");
        let mut command = Command::new("python3");
        command.arg(project().join("tests/support/reader.py"));
        command
            .arg(self.path("copy.db"))
            .arg(&stop)
            .stdout(Stdio::piped());
        let mut reading = Process::start(&mut command);
        for round in 0..5u64 {
            sleep(Duration::from_millis(150 + round * 83 % 200));
            following.kill();
            following = self.follow();
        }
        outage();
        assert_eq!(writing.wait_for(LIMIT), Some(0));
        assert_eq!(shipping.terminate(), Some(0));
        run_app(&["finish", self.db()]);
        self.wait_for_copy("the copy to be the database");
        fs::write(&stop, "").unwrap();
        assert_eq!(
            reading.wait_for(LIMIT),
            Some(0),
            "a reader saw what it must not see"
        );
        let mut seen = String::new();
        reading
            .0
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut seen)
            .unwrap();
        assert!(
            seen.trim().parse::<u32>().unwrap() >= 4,
            "the readers saw {seen} states only"
        );
        assert_eq!(following.terminate(), Some(143));
        assert!(!self.path("copy.db-journal").exists());

        // Stopped, left behind, started again.
        run_app(&["commit", self.db(), "while nobody followed"]);
        let mut once = walferry();
        self.destination.authorize(&mut once);
        once.args(["replicate", "-once", self.db(), &self.destination.url()]);
        assert!(once.status().unwrap().success());
        run_app(&["finish", self.db()]);
        let behind = content(&self.path("copy.db"));
        assert!(behind != content(&self.path("app.db")));
        let following = self.follow();
        self.wait_for_copy("the copy to catch up");
        assert_eq!(following.terminate(), Some(143));
    }
}

/// Polling alone would take half a minute each time. Short segments come with the news, long ones are fetched.
#[test]
fn a_worker_tells_what_lands_as_it_lands() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start_at(&folder.path().join("r2"), free_port());
    let distance = Distance {
        destination: worker.database("live"),
        folder,
    };
    run_app(&["create", distance.db(), "4096", "none"]);
    let shipping = replicate(
        &distance.path("app.db"),
        &distance.destination,
        &["--sync-interval", "20ms"],
    );
    let following = distance.follow_from_the_start("30s");
    let app = rusqlite::Connection::open(distance.path("app.db")).unwrap();
    app.execute_batch("CREATE TABLE told (content)").unwrap();
    let mut lags = Vec::new();
    for length in [100, 100, 100, 300_000, 100, 100, 300_000, 100, 100, 100] {
        // More than an interval: what is measured is the way, not the wait for it.
        sleep(Duration::from_millis(50));
        app.execute("INSERT INTO told VALUES (randomblob(?))", [length])
            .unwrap();
        let start = Instant::now();
        let mut copied = 0;
        while copied != rows(&app) {
            assert!(
                start.elapsed() < Duration::from_secs(15),
                "the copy waits for a poll"
            );
            sleep(Duration::from_millis(2));
            let copy = rusqlite::Connection::open(distance.path("copy.db")).unwrap();
            copied = copy
                .query_row("SELECT count(*) FROM told", [], |row| row.get(0))
                .unwrap_or(0);
        }
        lags.push(start.elapsed());
    }
    lags.sort_unstable();
    eprintln!(
        "from commit to copy: p50 {:?}, longest {:?}",
        lags[lags.len() / 2],
        lags[lags.len() - 1]
    );
    assert_eq!(shipping.terminate(), Some(0));
    assert_eq!(following.terminate(), Some(143));
    drop(app);
    run_app(&["finish", distance.db()]);
    assert!(content(&distance.path("copy.db")) == content(&distance.path("app.db")));
}

/// Between them is something that lets no WebSocket through: then it is polling, as ever.
#[test]
fn where_no_socket_is_to_be_had_it_polls() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start_at(&folder.path().join("r2"), free_port());
    let url = format!(
        "http://{}/v1/narrow",
        narrow(worker.url.strip_prefix("http://").unwrap())
    );
    let token = Worker::WRITE_TOKEN.to_owned();
    let distance = Distance {
        destination: Destination::Worker { url, token },
        folder,
    };
    run_app(&["create", distance.db(), "4096", "none"]);
    let shipping = replicate(
        &distance.path("app.db"),
        &distance.destination,
        &["--sync-interval", "20ms"],
    );
    let following = distance.follow_from_the_start("200ms");
    for row in ["one", "two", "three"] {
        run_app(&["commit", distance.db(), row]);
        sleep(Duration::from_millis(100));
    }
    assert_eq!(shipping.terminate(), Some(0));
    run_app(&["finish", distance.db()]);
    distance.wait_for_copy("the copy to be the database");
    assert_eq!(following.terminate(), Some(143));
}

/// Passes connections on, and spoils what asks for a WebSocket. Ends with the test.
fn narrow(to: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let to = to.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(&to).unwrap());
            let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
            std::thread::spawn(move || {
                let mut chunk = vec![0; 65_536];
                while let Ok(len @ 1..) = client.read(&mut chunk) {
                    let (asks, spoilt) = (b"upgrade: websocket", b"upgrade: webs0cket");
                    let places = chunk[..len].windows(asks.len()).position(|found| found == asks);
                    if let Some(at) = places {
                        chunk[at..at + spoilt.len()].copy_from_slice(spoilt);
                    }
                    if server.write_all(&chunk[..len]).is_err() {
                        break;
                    }
                }
                let _ = server.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    address
}

fn rows(db: &rusqlite::Connection) -> i64 {
    db.query_row("SELECT count(*) FROM told", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn from_a_bucket() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = S3::start(&folder.path().join("s3"));
    let destination = server.replica("far/app.db");
    Distance { folder, destination }.lives_through(|| {
        server.stop();
        sleep(Duration::from_millis(700));
        server.go_on();
    });
}

#[test]
fn from_a_worker() {
    let folder = tempfile::tempdir().unwrap();
    let (state, port) = (folder.path().join("r2"), free_port());
    let mut worker = Some(Worker::start_at(&state, port));
    let destination = worker.as_ref().unwrap().database("far");
    let distance = Distance { folder, destination };
    distance.lives_through(|| {
        drop(worker.take());
        worker = Some(Worker::start_at(&state, port));
    });
}
