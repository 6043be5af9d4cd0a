//! No frame is lost that is not held, and an application waits for none that is.

use std::time::{Duration, Instant};

use walferry::native::sqlite::{Error, Held, Options, Pinned, Source};

use crate::application::{Application, Place, database};
use crate::follower::Follower;

const NOTHING: Held = Held {
    salts: walferry::wal::Salts([0, 0]),
    frame: 0,
};

/// Tries every checkpoint there is; none waits.
fn checkpoint_in_every_way(application: &mut Application) {
    for kind in ["passive", "full", "restart", "truncate"] {
        application.sql(&format!("pragma wal_checkpoint({kind})"));
    }
}

#[test]
fn what_is_not_held_stays() {
    let (place, mut application) = database("");
    let mut follower = Follower::start(&place.database());
    let generation = follower.source.committed().unwrap().salts;
    for round in 0..20 {
        application.sql("insert into t(b) values(randomblob(2000))");
        checkpoint_in_every_way(&mut application);
        if round % 3 == 0 {
            // Without anything held the pin moves from frame to frame, and no further.
            assert_eq!(follower.source.advance(NOTHING).unwrap(), Pinned::Frame);
            assert_eq!(follower.source.advance(NOTHING).unwrap(), Pinned::Stayed);
            checkpoint_in_every_way(&mut application);
            assert_eq!(follower.source.advance(NOTHING).unwrap(), Pinned::Stayed);
        }
    }
    let committed = follower.source.committed().unwrap();
    assert_eq!(committed.salts, generation);
    follower.assert_complete();
}

/// On the file, the pin lets the WAL restart; what is written then is guarded again.
#[test]
fn what_is_written_after_the_pin_fell_stays() {
    let (place, mut application) = database("");
    let mut follower = Follower::start(&place.database());
    for round in 1..10 {
        application.sql("insert into t(b) values(randomblob(2000))");
        follower.sync();
        follower.source.advance(follower.held()).unwrap();
        application.sql("pragma wal_checkpoint");
        assert_eq!(follower.source.advance(follower.held()).unwrap(), Pinned::File);
        for _ in 0..3 {
            application.sql("insert into t(b) values(randomblob(2000))");
            checkpoint_in_every_way(&mut application);
            follower.source.advance(NOTHING).unwrap();
            checkpoint_in_every_way(&mut application);
        }
        follower.sync();
        assert_eq!(follower.image.restarts, round);
        follower.assert_complete();
    }
}

fn truncate_while(follower: &mut Follower, application: &mut Application) -> Duration {
    application.sql("pragma busy_timeout = 10000");
    let start = Instant::now();
    application.send("pragma wal_checkpoint(truncate)");
    let answer = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| application.answer());
        while !waiting.is_finished() {
            follower.sync();
            follower.source.advance(follower.held()).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        waiting.join().unwrap()
    });
    assert_eq!(answer.unwrap().unwrap(), [["0", "0", "0"]]);
    start.elapsed()
}

/// An application's TRUNCATE takes the write lock and then waits for readers: for us, too.
#[test]
fn a_checkpoint_of_the_application_goes_through_at_once() {
    let (place, mut application) = database("");
    let mut follower = Follower::start(&place.database());
    for rows in [1, 5, 50] {
        for _ in 0..rows {
            application.sql("insert into t(b) values(randomblob(3000))");
        }
        let took = truncate_while(&mut follower, &mut application);
        // SQLite's own waiting goes in steps of up to 100 ms.
        assert!(took < Duration::from_millis(1500), "{took:?}");
        assert_eq!(std::fs::metadata(place.wal()).unwrap().len(), 0);
        follower.assert_is_file(&place);
    }
    application.sql("insert into t(b) values('more')");
    follower.assert_complete();
}

/// Found copied back at the start, the WAL may restart before its frames are read; that is noticed.
#[test]
fn frames_lost_before_the_first_read_are_noticed() {
    let (place, mut application) = database("");
    for _ in 0..10 {
        application.sql("insert into t(b) values(randomblob(2000))");
    }
    application.sql("pragma wal_checkpoint");
    let mut source = Source::open(&place.database(), &Options::default()).unwrap();
    let committed = source.committed().unwrap();
    assert_eq!(committed.backfilled, committed.mx_frame);
    assert!(source.changes(1, 1, &committed).is_ok());
    application.sql("insert into t(b) values('again')");
    assert!(matches!(source.changes(1, 1, &committed), Err(Error::Moved(_))));
    assert!(matches!(source.view(&committed), Err(Error::Moved(_))));
    let now = source.committed().unwrap();
    assert!(now.salts != committed.salts && source.view(&now).is_ok());
}

/// Whoever closes the database file in this process drops our locks. That cannot be prevented, but is noticed.
#[test]
fn a_lost_pin_is_noticed() {
    let (place, mut application) = database("");
    application.sql("insert into t(b) values(1)");
    let mut source = Source::open(&place.database(), &Options::default()).unwrap();
    application.sql("insert into t(b) values(2)");
    assert_eq!(source.advance(NOTHING).unwrap(), Pinned::Frame);
    application.sql("pragma wal_checkpoint(truncate)");
    source.committed().unwrap();
    for file in [place.database(), place.file("app.db-shm")] {
        drop(std::fs::File::open(file).unwrap());
    }
    application.sql("pragma wal_checkpoint(truncate)");
    application.sql("insert into t(b) values(3)");
    assert!(matches!(source.committed(), Err(Error::Moved(_))));
    assert!(matches!(source.advance(NOTHING), Err(Error::Moved(_))));
}

/// The pin holds although the application that made the WAL is gone, and others come and go.
#[test]
fn applications_come_and_go() {
    let (place, mut application) = database("");
    let mut follower = Follower::start(&place.database());
    for round in 0..5 {
        application.sql("insert into t(b) values(randomblob(1000))");
        if round % 2 == 0 {
            application.kill();
        } else {
            drop(application);
        }
        application = Application::open(&place.database());
        follower.sync();
        follower.source.advance(follower.held()).unwrap();
    }
    follower.assert_complete();
    assert!(!follower.source.replaced().unwrap());
    ephemeral_writers(&place);
    follower.assert_complete();
    assert!(!follower.source.replaced().unwrap());
}

/// Each opens, writes one row, and closes as the only application there is.
fn ephemeral_writers(place: &Place) {
    let write = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); \
                 c.execute('insert into t(b) values(randomblob(500))'); c.close()";
    for _ in 0..3 {
        let status = std::process::Command::new("python3")
            .args(["-c", write])
            .arg(place.database())
            .status();
        assert!(status.unwrap().success());
    }
}
