//! Databases that grow by pages that are never written, shrink, and grow again.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use walferry::wal::{ByteOrder, frame_offset};

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

/// A commit may leave pages of the new database out: they are zeros, and part of it. SQLite's own commits rarely do,
/// so this one is written by hand, right behind the last, and SQLite made to recover it.
#[test]
fn pages_never_written_are_taken() {
    let (place, mut application) = database("");
    application.sql("insert into t(b) values(1)");
    let mut follower = Follower::start(&place.database());
    let before = follower.source.committed().unwrap();
    let commit = before.commit + 10;

    let mut page = follower.image.bytes[..4096].to_vec();
    page[28..32].copy_from_slice(&commit.to_be_bytes());
    let mut frame = [1, commit, before.salts.0[0], before.salts.0[1]]
        .map(u32::to_be_bytes)
        .concat();
    let sum = before
        .frame_checksum
        .update(ByteOrder::NATIVE, &frame[..8])
        .update(ByteOrder::NATIVE, &page);
    frame.extend(sum.s1.to_be_bytes());
    frame.extend(sum.s2.to_be_bytes());
    frame.extend(page);
    let offset = frame_offset(follower.source.page_size(), before.mx_frame + 1);
    let wal = OpenOptions::new().write(true).open(place.wal()).unwrap();
    wal.write_all_at(&frame, offset).unwrap();
    place.tear_wal_index(16);

    let after = follower.source.committed().unwrap();
    assert_eq!((after.mx_frame, after.commit), (before.mx_frame + 1, commit));
    let taken = follower.sync();
    assert_eq!(taken[0], 1);
    assert!((before.commit + 1..=commit).eq(taken[1..].iter().copied()));
    settle(&mut follower, &mut application, &place);
    assert_eq!(application.sql("select b from t"), [["1"]]);
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
