//! A restore over a network that breaks: what is there already is not fetched again, and so many reads run at once as was said.
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
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use support::proxy::{Fate, Head, Proxy};
use support::s3::{S3, replica_at};
use support::{restore, walferry};

/// A database of 16 MB that does not get smaller, in a bucket.
struct Shipped {
    folder: tempfile::TempDir,
    server: S3,
}

impl Shipped {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("app.db");
        let db = Connection::open(&database).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = wal; CREATE TABLE t (x);
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 4000)
             INSERT INTO t SELECT randomblob(4000) FROM n; PRAGMA wal_checkpoint(truncate)",
        )
        .unwrap();
        let server = S3::start(&folder.path().join("s3"));
        let mut ship = walferry();
        server.replica("app").authorize(&mut ship);
        ship.args(["replicate", "-once"])
            .arg(&database)
            .arg(server.replica("app").url());
        assert!(ship.status().unwrap().success());
        Self { folder, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn proxy(&self, decide: impl Fn(&Head) -> Fate + Send + Sync + 'static) -> Proxy {
        Proxy::start(self.server.port, decide)
    }

    /// Bytes of the one segment there is.
    fn size(&self) -> u64 {
        let objects = self.server.objects("app/0009");
        assert_eq!(objects.len(), 1, "{objects:?}");
        fs::metadata(self.server.folder().join("app/0009").join(&objects[0]))
            .unwrap()
            .len()
    }

    fn restore_through(&self, proxy: &Proxy, out: &Path, extra: &[&str]) {
        let output = restore(&replica_at(proxy.port, "app"), out, extra);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(fs::read(out).unwrap() == fs::read(self.path("app.db")).unwrap());
    }
}

/// The length of a ranged GET.
fn asked(head: &Head) -> Option<u64> {
    let range = head
        .headers
        .lines()
        .find_map(|line| line.strip_prefix("range: bytes="))?;
    let (first, last) = range.trim().split_once('-')?;
    Some(last.parse::<u64>().ok()? + 1 - first.parse::<u64>().ok()?)
}

fn is_large(head: &Head) -> bool {
    head.line.starts_with("GET") && asked(head).is_some_and(|len| len > 500_000)
}

/// Every third large answer breaks off in its middle.
#[test]
fn a_download_that_breaks_goes_on_where_it_was() {
    const CUT_AFTER: usize = 300_000;
    let shipped = Shipped::new();
    let (large, cut) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let cuts = Arc::clone(&cut);
    let proxy = shipped.proxy(move |head| {
        if is_large(head) && large.fetch_add(1, Ordering::Relaxed) % 3 == 1 {
            cuts.fetch_add(1, Ordering::Relaxed);
            return Fate::Short(CUT_AFTER);
        }
        Fate::Pass
    });
    shipped.restore_through(&proxy, &shipped.path("out.db"), &[]);
    let (cuts, size, passed) = (cut.load(Ordering::Relaxed), shipped.size(), proxy.passed());
    println!("{cuts} cuts, {size} bytes, {passed} fetched");
    assert!(cuts >= 4, "{cuts}");
    // What was cut came for nothing; of the rest each byte came once, header, tail and listings beside.
    let least = size + (cuts * CUT_AFTER) as u64;
    assert!(
        (size..=least + 300_000).contains(&passed),
        "{passed} bytes for {size}, {cuts} cuts"
    );
    assert!(passed < size * 5 / 4);
    assert!(
        proxy
            .seen()
            .iter()
            .all(|head| !is_large(head) || asked(head) < Some(3 << 20))
    );
}

/// Nothing answers for a while in the middle.
#[test]
fn an_outage_is_waited_for() {
    let shipped = Shipped::new();
    let large = AtomicUsize::new(0);
    let proxy = shipped.proxy(move |head| match is_large(head) {
        true if (6..40).contains(&large.fetch_add(1, Ordering::Relaxed)) => Fate::Cut,
        _ => Fate::Pass,
    });
    shipped.restore_through(&proxy, &shipped.path("out.db"), &[]);
    let (size, passed) = (shipped.size(), proxy.passed());
    assert!(
        (size..size + size / 20).contains(&passed),
        "{passed} bytes for {size}"
    );
    assert!(proxy.seen().iter().filter(|head| is_large(head)).count() > 40);
}

/// Where it stays broken, that is said, and nothing is left.
#[test]
fn what_stays_broken_ends_it() {
    let shipped = Shipped::new();
    let proxy = shipped.proxy(|head| {
        if is_large(head) {
            Fate::Short(1000)
        } else {
            Fate::Pass
        }
    });
    let target = shipped.path("target");
    fs::create_dir(&target).unwrap();
    let output = restore(&replica_at(proxy.port, "app"), &target.join("out.db"), &[]);
    assert_eq!(
        output.status.code(),
        Some(4),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
}

#[test]
fn so_many_reads_run_at_once_as_was_said() {
    let shipped = Shipped::new();
    for (option, at_least, at_most) in [("1", 1, 1), ("3", 2, 3), ("8", 5, 8)] {
        let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let mark = Arc::clone(&most);
        let proxy = shipped.proxy(move |head| {
            if is_large(head) {
                mark.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(60));
                now.fetch_sub(1, Ordering::SeqCst);
            }
            Fate::Pass
        });
        shipped.restore_through(&proxy, &shipped.path(option), &["-parallelism", option]);
        let most = most.load(Ordering::SeqCst);
        assert!(
            (at_least..=at_most).contains(&most),
            "{most} at once with {option}"
        );
    }
}
