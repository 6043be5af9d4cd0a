//! Frames are copied back, the WAL stays short, and nobody is in anybody's way.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use walferry::native::sqlite::{Error, Held, Pinned};

use crate::application::{Application, database};
use crate::follower::Follower;

#[test]
fn an_idle_moment_restarts_the_wal() {
    let (place, mut application) = database("");
    let mut follower = Follower::start(&place.database());
    for round in 1..=20 {
        for _ in 0..5 {
            application.sql("insert into t(b) values(randomblob(3000))");
        }
        follower.sync();
        let done = follower.checkpoint_passive(follower.held()).unwrap();
        assert_eq!(
            (done.busy, done.pinned, done.locked),
            (false, Pinned::File, Duration::ZERO)
        );
        assert_eq!(done.frames, done.backfilled);
        follower.assert_is_file(&place);
        assert!(follower.image.restarts >= round - 1);
    }
    assert!(std::fs::metadata(place.wal()).unwrap().len() < 60 * 4120);
    follower.assert_complete();
}

#[test]
fn without_everything_held_frames_are_copied_and_stay() {
    let (place, mut application) = database("");
    let mut follower = Follower::start(&place.database());
    for _ in 0..5 {
        application.sql("insert into t(b) values(randomblob(3000))");
    }
    let nothing = Held::default();
    let done = follower.checkpoint_passive(nothing).unwrap();
    assert_eq!((done.backfilled, done.pinned), (done.frames, Pinned::Stayed));
    application.sql("insert into t(b) values(1)");
    follower.assert_complete();
    assert_eq!(follower.image.restarts, 0);
}

#[test]
fn another_reader_makes_it_partial() {
    let (place, mut application) = database("");
    let mut follower = Follower::start(&place.database());
    application.sql("insert into t(b) values(1)");
    let mut reader = Application::open(&place.database());
    reader.sql("begin");
    reader.sql("select count(*) from t");
    application.sql("insert into t(b) values(randomblob(9000))");
    follower.sync();
    let done = follower.checkpoint_passive(follower.held()).unwrap();
    assert!(
        !done.busy && done.backfilled < done.frames && done.pinned != Pinned::File,
        "{done:?}"
    );
    let done = follower
        .source
        .checkpoint_locked::<Error>(Duration::ZERO, |_, _| Ok(()))
        .unwrap();
    assert!(
        done.backfilled < done.frames && done.pinned == Pinned::Frame,
        "{done:?}"
    );
    application.sql("insert into t(b) values(randomblob(9000))");
    assert_eq!(reader.sql("select count(*) from t"), [["1"]]);
    reader.sql("commit");
    follower.assert_complete();
    let done = follower.checkpoint_passive(follower.held()).unwrap();
    assert_eq!(done.pinned, Pinned::File);
    follower.assert_is_file(&place);
}

#[test]
fn the_write_lock_is_waited_for_and_given_back() {
    let (place, mut application) = database("");
    let mut follower = Follower::start(&place.database());
    application.sql("begin immediate");
    application.sql("insert into t(b) values(1)");
    let start = Instant::now();
    let refused = follower.checkpoint_locked(Duration::from_millis(100));
    assert!(matches!(refused, Err(Error::Busy { .. })));
    assert!((100..5000).contains(&start.elapsed().as_millis()));
    application.sql("commit");

    // What fails under the lock leaves all as it was.
    let failed = follower.source.checkpoint_locked(Duration::ZERO, |source, _| {
        Err::<(), _>(Error::NotWal(source.path().into()))
    });
    assert!(matches!(failed, Err(Error::NotWal(_))));
    application.sql("insert into t(b) values(2)");
    application.sql("pragma wal_checkpoint(truncate)");
    follower.assert_complete();
    assert_eq!(follower.image.restarts, 0);
}

/// Under the lock, the last frames are taken, and the next writer restarts the WAL.
#[test]
fn the_rest_is_read_under_the_lock() {
    let (place, mut application) = database("");
    let mut follower = Follower::start(&place.database());
    for _ in 0..5 {
        application.sql("insert into t(b) values(randomblob(3000))");
    }
    let Follower { source, image } = &mut follower;
    let done = source.checkpoint_locked::<Error>(Duration::ZERO, |source, committed| {
        let refused = application.try_sql("insert into t(b) values(0)");
        assert_eq!(refused, Err("database is locked".into()));
        assert!(!image.take(source, committed)?.is_empty());
        Ok(())
    });
    let done = done.unwrap();
    assert_eq!((done.pinned, done.backfilled), (Pinned::File, done.frames));
    assert!(done.locked > Duration::ZERO);
    follower.assert_is_file(&place);
    application.sql("insert into t(b) values(1)");
    follower.assert_complete();
    assert_eq!(follower.image.restarts, 1);
}

const WRITER: &str = "
import sqlite3, sys, time
path, seconds, timeout, seed = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
db = sqlite3.connect(path, isolation_level=None, timeout=timeout)
db.execute('pragma synchronous = normal')
if len(sys.argv) > 5: db.execute('pragma wal_autocheckpoint = ' + sys.argv[5])
end, done, slowest = time.time() + seconds, 0, 0
while time.time() < end:
    start = time.time()
    if done % 3: db.execute('update t set b = randomblob(400) where a = (abs(random()) % (select max(a) from t)) + 1')
    else: db.execute('insert into t(b) values(randomblob(900))')
    slowest = max(slowest, time.time() - start)
    done += 1
print(done, round(slowest * 1000))
";

struct Writer(std::process::Child);

impl Writer {
    /// Writes as fast as it can; any error ends it.
    fn start(database: &std::path::Path, seconds: f32, timeout: f32, more: &[&str]) -> Self {
        let child = Command::new("python3")
            .args(["-c", WRITER])
            .arg(database)
            .args([seconds.to_string(), timeout.to_string()])
            .args(if more.is_empty() { &["1"] } else { more })
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// How much it wrote, and the slowest write in milliseconds.
    fn end(self) -> (u32, u32) {
        let output = self.0.wait_with_output().unwrap();
        assert!(output.status.success(), "the writer met an error");
        let text = String::from_utf8(output.stdout).unwrap();
        let (done, slowest) = text.trim().split_once(' ').unwrap();
        (done.parse().unwrap(), slowest.parse().unwrap())
    }
}

/// A writer that waits for no lock at all meets none of ours.
#[test]
fn a_writer_never_meets_our_pins_and_passive_checkpoints() {
    let (place, mut application) = database("");
    application.sql("insert into t(b) values(1)");
    let mut follower = Follower::start(&place.database());
    let mut writer = Writer::start(&place.database(), 2.0, 0.0, &[]);
    let mut rounds = 0;
    while writer.is_running() {
        follower.sync();
        follower.checkpoint_passive(follower.held()).unwrap();
        follower.source.advance(follower.held()).unwrap();
        rounds += 1;
    }
    let (writes, slowest) = writer.end();
    println!(
        "{writes} writes, the slowest took {slowest} ms, {rounds} checkpoints, {} restarts",
        follower.image.restarts
    );
    assert!(writes > 20 && rounds > 20);
    follower.assert_complete();
    follower.checkpoint_passive(follower.held()).unwrap();
    follower.assert_is_file(&place);
}

/// Two writers without a pause: the WAL grows to the limit, not beyond, because the lock is taken then.
#[test]
fn the_wal_stays_short_under_load() {
    const LIMIT: u32 = 500;
    for autocheckpoint in ["0", "1000"] {
        let (place, mut application) = database("");
        application.sql("insert into t(b) values(1)");
        let mut follower = Follower::start(&place.database());
        let mut writers = [1, 2].map(|seed: u8| {
            Writer::start(&place.database(), 2.5, 30.0, &[&seed.to_string(), autocheckpoint])
        });
        let (mut longest, mut locks, mut complete, mut largest) = (Duration::ZERO, 0, 0, 0);
        while writers.iter_mut().any(Writer::is_running) {
            follower.sync();
            follower.source.advance(follower.held()).unwrap();
            let frames = follower.source.committed().unwrap().mx_frame;
            largest = largest.max(frames);
            if frames > LIMIT {
                let done = follower.checkpoint_locked(Duration::from_secs(5)).unwrap();
                // A writer that waits for the lock may still read an older state; then some frames stay.
                complete += u32::from(done.pinned == Pinned::File);
                longest = longest.max(done.locked);
                locks += 1;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut all = 0;
        for writer in writers {
            let (writes, slowest) = writer.end();
            println!("{writes} writes, the slowest took {slowest} ms");
            all += writes;
        }
        println!("{locks} times locked, {complete} complete, at most {longest:?}; at most {largest} frames");
        // Each write is two frames or more.
        assert!(
            complete > 0 && largest < all.max(LIMIT * 10),
            "{largest} of {all}"
        );
        follower.assert_complete();
        application.sql("pragma busy_timeout = 1000");
        follower.source.advance(follower.held()).unwrap();
        follower.checkpoint_passive(follower.held()).unwrap();
        follower.assert_is_file(&place);
    }
}
