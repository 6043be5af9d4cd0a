//! What is committed is what the wal-index says, whatever lies in the file.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::process::Command;

use crate::application::{Application, database, root};
use crate::follower::Follower;

#[test]
fn transactions_come_as_they_are_committed() {
    let (place, mut application) = database("");
    let mut follower = Follower::start(&place.database());
    let at_start = follower.source.committed().unwrap();
    application.sql("begin");
    application.sql("insert into t(b) values(1)");
    assert_eq!(follower.source.committed().unwrap(), at_start);
    application.sql("commit");
    let now = follower.source.committed().unwrap();
    assert!(now.mx_frame > at_start.mx_frame);
    let (salts, checksum) = follower.source.frame_checksum_at(now.mx_frame).unwrap().unwrap();
    assert_eq!((salts, checksum), (now.salts, now.frame_checksum));
    assert_eq!(follower.source.frame_checksum_at(now.mx_frame + 1).unwrap(), None);
    assert!(!follower.sync().is_empty());
    assert!(follower.sync().is_empty());
    follower.assert_complete();
}

/// A transaction larger than the cache spills into the WAL before it is committed, or rolled back.
#[test]
fn spilled_frames_do_not_count() {
    let (place, mut application) = database("pragma cache_size = 5");
    let mut follower = Follower::start(&place.database());
    let before = follower.source.committed().unwrap();
    assert!(!follower.source.commit_under_way(&before).unwrap());
    application.sql("begin");
    for _ in 0..50 {
        application.sql("insert into t(b) values(randomblob(5000))");
    }
    assert_eq!(follower.source.committed().unwrap(), before);
    assert!(follower.source.commit_under_way(&before).unwrap());
    application.sql("rollback");
    assert_eq!(follower.source.committed().unwrap(), before);
    application.sql("insert into t(b) values(1)");
    follower.assert_complete();
    application.sql("pragma wal_checkpoint");
    follower.source.advance(follower.held()).unwrap();
    application.sql("pragma wal_checkpoint(truncate)");
    follower.assert_is_file(&place);
}

/// The application dies in the sync of its commit: its transaction is in the file, complete, with the right salts and
/// checksums, and is not committed. The next writer overwrites it.
#[test]
fn a_transaction_of_an_application_killed_in_its_commit_is_not_seen() {
    let (place, mut application) = database("");
    application.sql("insert into t(b) values('kept')");
    let library = place.file("die_in_fsync.so");
    let source = root().join("tests/support/die_in_fsync.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .status();
    assert!(built.unwrap().success());

    let mut follower = Follower::start(&place.database());
    let before = follower.source.committed().unwrap();
    let mut doomed = Application::open_preloaded(&place.database(), &library, ("DIE_IN_SYNC", "1"));
    doomed.sql("pragma synchronous = full");
    doomed.last_sql("insert into t(b) values('lost')");

    // Whoever reads the file alone takes it for committed.
    let mut reader = walferry::wal::Reader::new(None, 1 << 20);
    reader.push(&fs::read(place.wal()).unwrap());
    let mut last = 0;
    while let Some(transaction) = reader.next().unwrap() {
        last = transaction.end.frame;
    }
    assert!(
        last > before.mx_frame,
        "the transaction is not in the file: {last}"
    );

    assert_eq!(follower.source.committed().unwrap(), before);
    assert!(follower.source.commit_under_way(&before).unwrap());
    assert!(follower.sync().is_empty());
    application.sql("insert into t(b) values('instead')");
    follower.assert_complete();
    assert_eq!(application.sql("select b from t"), [["kept"], ["instead"]]);
    let bytes = &follower.image.bytes;
    assert!(bytes.windows(7).any(|window| window == b"instead"));
    assert!(!bytes.windows(4).any(|window| window == b"lost"));
}

/// A writer killed between the two copies of the header leaves a wal-index that nobody can read. It is rebuilt from
/// the file, by us if we are first.
#[test]
fn a_torn_wal_index_is_rebuilt() {
    let (place, mut application) = database("");
    application.sql("insert into t(b) values('before')");
    let mut follower = Follower::start(&place.database());
    let before = follower.source.committed().unwrap();
    for offset in [16u64, 64] {
        // The frame count in one copy of the header.
        place.tear_wal_index(offset);
        let now = follower.source.committed().unwrap();
        assert_eq!(
            (now.salts, now.mx_frame, now.commit),
            (before.salts, before.mx_frame, before.commit)
        );
    }
    application.sql("insert into t(b) values('after')");
    follower.assert_complete();
}

/// Frames that an older generation left behind the newest do not count.
#[test]
fn stale_frames_do_not_count() {
    let (place, mut application) = database("");
    let mut follower = Follower::start(&place.database());
    for _ in 0..20 {
        application.sql("insert into t(b) values(randomblob(3000))");
    }
    follower.sync();
    follower.checkpoint_passive(follower.held()).unwrap();
    application.sql("insert into t(b) values('new')");
    let now = follower.source.committed().unwrap();
    assert!(now.mx_frame < 10, "the WAL was not restarted: {now:?}");
    assert!(!follower.source.commit_under_way(&now).unwrap());
    assert!(
        follower
            .source
            .frame_checksum_at(now.mx_frame + 1)
            .unwrap()
            .unwrap()
            .0
            != now.salts
    );
    follower.assert_complete();
}

/// The first writer draws the salts of a WAL that was never written; until its commit the wal-index has none.
#[test]
fn the_first_commit_of_all_is_seen_coming() {
    let (place, mut application) = database("");
    application.sql("pragma wal_checkpoint(truncate)");
    drop(application);
    fs::remove_file(place.wal()).ok();
    fs::remove_file(place.file("app.db-shm")).ok();
    let mut application = Application::open(&place.database());
    application.sql("pragma cache_size = 5");
    let mut follower = Follower::start(&place.database());
    let before = follower.source.committed().unwrap();
    assert_eq!(before.mx_frame, 0);
    assert!(!follower.source.commit_under_way(&before).unwrap());
    application.sql("begin");
    for _ in 0..50 {
        application.sql("insert into t(b) values(randomblob(5000))");
    }
    assert_eq!(follower.source.committed().unwrap(), before);
    assert!(follower.source.commit_under_way(&before).unwrap());
    application.sql("commit");
    follower.assert_complete();
}

/// Nobody but SQLite changes the WAL. If somebody does, what was read is not believed.
#[test]
fn a_wal_overwritten_by_others_is_noticed() {
    let (place, mut application) = database("");
    let mut follower = Follower::start(&place.database());
    application.sql("insert into t(b) values(1)");
    let committed = follower.source.committed().unwrap();
    let wal = OpenOptions::new().write(true).open(place.wal()).unwrap();
    let at = 32 + u64::from(committed.mx_frame - 1) * 4120 + 8;
    wal.write_all_at(&[0; 8], at).unwrap();
    let error = follower
        .source
        .changes(0, committed.commit, &committed)
        .unwrap_err();
    assert!(error.to_string().contains("changed while it was read"), "{error}");
}
