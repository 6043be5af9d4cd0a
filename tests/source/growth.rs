//! Databases that grow by pages that are never written, shrink, and grow again.

use crate::application::{Application, Place, database};
use crate::follower::Follower;

/// Copies everything back and compares with the file.
fn settle(follower: &mut Follower, application: &mut Application, place: &Place) {
    follower.sync();
    follower.assert_complete();
    follower.source.advance(follower.held()).unwrap();
    let rows = application.sql("pragma wal_checkpoint(full)");
    assert_eq!(rows[0][0], "0", "{rows:?}");
    follower.assert_is_file(place);
}

/// Pages that a transaction takes and frees again are part of the database, and never written to the WAL.
#[test]
fn pages_never_written_are_taken() {
    for page_size in [512, 4096, 65536] {
        let (place, mut application) = database(&format!("pragma page_size = {page_size}; pragma secure_delete = off"));
        let mut follower = Follower::start(&place.database());
        let before = follower.source.committed().unwrap();
        application.sql("begin");
        application.sql(&format!("insert into t(b) values(zeroblob({}))", 40 * page_size));
        application.sql("delete from t");
        application.sql("commit");
        let after = follower.source.committed().unwrap();
        assert!(after.commit >= before.commit + 40, "it did not grow");
        assert!(after.mx_frame - before.mx_frame < 20, "every page was written");
        let taken = follower.sync();
        assert!((before.commit + 1..=after.commit).all(|pgno| taken.contains(&pgno)));
        settle(&mut follower, &mut application, &place);
    }
}

/// Cut off and added again between two looks, a page keeps nothing of what it was, or all of it: as SQLite has it.
#[test]
fn pages_that_went_and_came_are_as_in_the_file() {
    for checkpoint_between in [false, true] {
        let (place, mut application) = database("pragma auto_vacuum = full; pragma secure_delete = off");
        let mut follower = Follower::start(&place.database());
        for round in 0..4 {
            application.sql("insert into t(b) values(randomblob(200000))");
            if round % 2 == 0 {
                follower.sync();
                follower.source.advance(follower.held()).unwrap();
            }
            let large = follower.source.committed().unwrap().commit;
            application.sql("delete from t");
            assert!(
                follower.source.committed().unwrap().commit < large / 2,
                "it did not shrink"
            );
            if checkpoint_between {
                application.sql("pragma wal_checkpoint");
            }
            application.sql("begin");
            application.sql("insert into t(b) values(zeroblob(300000))");
            application.sql("delete from t");
            application.sql("insert into t(b) values(randomblob(50000))");
            application.sql("commit");
            settle(&mut follower, &mut application, &place);
            application.sql("insert into t(b) values(1)");
        }
    }
}

#[test]
fn a_vacuum_shrinks_the_image() {
    let (place, mut application) = database("");
    let mut follower = Follower::start(&place.database());
    for _ in 0..30 {
        application.sql("insert into t(b) values(randomblob(9000))");
    }
    follower.sync();
    let large = follower.image.bytes.len();
    application.sql("delete from t where a > 3");
    application.sql("vacuum");
    settle(&mut follower, &mut application, &place);
    assert!(follower.image.bytes.len() < large / 3);
}
