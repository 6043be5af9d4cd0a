//! Fifty databases at one Worker for a while: half of those who ship are killed and started again at random, the Worker
//! itself goes away and comes back. In the end every database is restored as it is, byte for byte.
//!
//! `WALFERRY_SOAK_SECONDS` says for how long they write.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod segments;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use segments::content::Random;
use support::s3::free_port;
use support::{Destination, Process, Worker, replicate, restore_ok};

const DATABASES: usize = 50;
/// What takes minutes elsewhere takes seconds here, so that upkeep is under way all the time.
const SETTINGS: [(&str, &str); 5] = [
    ("WALFERRY_LEVELS", "2s, 8s, 1h"),
    ("WALFERRY_HISTORY_WINDOW", "4s"),
    ("WALFERRY_RAW_RETENTION", "1s"),
    ("WALFERRY_GRACE", "5s"),
    ("WALFERRY_SNAPSHOT_INTERVAL", "10s"),
];

/// One database, and who ships it.
struct Shipped {
    path: PathBuf,
    destination: Destination,
    shipper: Option<Process>,
}

impl Shipped {
    fn start(&mut self) {
        self.shipper = Some(replicate(
            &self.path,
            &self.destination,
            &["--sync-interval", "200ms"],
        ));
    }

    /// Ends it as a crash would; it must have been alive.
    fn kill(&mut self) {
        let mut shipper = self.shipper.take().unwrap();
        let ended = shipper.0.try_wait().unwrap();
        assert_eq!(
            ended,
            None,
            "who ships {} has ended by itself",
            self.path.display()
        );
        shipper.kill();
    }
}

/// Nobody writes when it is dropped, whatever has failed meanwhile.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn fifty_databases_survive_whatever_dies() {
    let seconds = std::env::var("WALFERRY_SOAK_SECONDS").map_or(20, |seconds| seconds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (state, port) = (folder.path().join("r2"), free_port());
    let start = || Worker::launch(&state, port, &SETTINGS);
    let mut worker = Some(start());
    let mut shipped: Vec<Shipped> = (0..DATABASES)
        .map(|number| {
            let path = folder.path().join(format!("{number}.db"));
            create(&path);
            let destination = worker.as_ref().unwrap().database(&format!("soak{number}"));
            Shipped {
                path,
                destination,
                shipper: None,
            }
        })
        .collect();
    shipped.iter_mut().for_each(Shipped::start);

    let (stop, commits) = (AtomicBool::new(false), AtomicU32::new(0));
    let paths: Vec<PathBuf> = shipped.iter().map(|one| one.path.clone()).collect();
    let (mut kills, mut restarts) = (0, 0);
    scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| write(&paths, &stop, &commits));
        let (begin, length) = (Instant::now(), Duration::from_secs(seconds));
        let mut random = Random(seconds);
        while begin.elapsed() < length {
            sleep(Duration::from_millis(50 + random.below(200) as u64));
            let victim = &mut shipped[random.below(DATABASES / 2)];
            victim.kill();
            victim.start();
            kills += 1;
            // Twice in all, wherever everything is at that moment.
            if begin.elapsed() > length * (restarts + 1) / 3 && restarts < 2 {
                drop(worker.take());
                sleep(Duration::from_millis(random.below(1500) as u64));
                worker = Some(start());
                restarts += 1;
            }
        }
    });
    eprintln!(
        "{} commits, {kills} shippers killed, the Worker restarted {restarts} times",
        commits.load(Relaxed)
    );
    assert!(kills > 10 && restarts == 2 && commits.load(Relaxed) > 100);

    for one in &mut shipped {
        // It ships what is left before it ends.
        assert_eq!(
            one.shipper.take().unwrap().terminate(),
            Some(0),
            "{}",
            one.path.display()
        );
    }
    for one in &shipped {
        finish(&one.path);
        let out = one.path.with_extension("restored");
        restore_ok(&one.destination, &out);
        assert!(
            fs::read(&out).unwrap() == fs::read(&one.path).unwrap(),
            "{} differs",
            one.path.display()
        );
        fs::remove_file(&out).unwrap();
    }
    drop(worker);
}

fn create(path: &Path) {
    let db = Connection::open(path).unwrap();
    db.query_row("PRAGMA journal_mode = wal", [], |_| Ok(())).unwrap();
    db.execute_batch("CREATE TABLE item (id INTEGER PRIMARY KEY, body)")
        .unwrap();
}

/// Copies the WAL back, so that the file is the database.
fn finish(path: &Path) {
    let db = Connection::open(path).unwrap();
    let busy: i64 = db
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .unwrap();
    assert_eq!(busy, 0);
}

/// Random transactions, on one database after the other.
fn write(paths: &[PathBuf], stop: &AtomicBool, commits: &AtomicU32) {
    let open = |path: &PathBuf| {
        let db = Connection::open(path).unwrap();
        db.busy_timeout(Duration::from_secs(30)).unwrap();
        db
    };
    let databases: Vec<Connection> = paths.iter().map(open).collect();
    let mut random = Random(1);
    while !stop.load(Relaxed) {
        let db = &databases[random.below(databases.len())];
        let sql = match random.below(20) {
            0..=11 => "INSERT INTO item (body) VALUES (randomblob(abs(random()) % 3000))",
            12..=15 => "UPDATE item SET body = randomblob(500) WHERE id % 7 = abs(random()) % 7",
            16..=18 => "DELETE FROM item WHERE id % 11 = abs(random()) % 11",
            _ => "VACUUM",
        };
        db.execute_batch(sql).unwrap();
        commits.fetch_add(1, Relaxed);
        sleep(Duration::from_millis(2));
    }
}
