//! Databases that grow by pages that are never written, shrink, and grow again.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use walferry::ltx::Pgno;
use walferry::native::sqlite::Held;
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

/// Commits a database of `commit` pages by one frame of page 1. SQLite's own commits write every page by which they grow,
/// almost always; the format does not ask for it.
fn grow_by_hand(follower: &mut Follower, place: &Place, commit: u32) {
    let before = follower.source.committed().unwrap();
    let mut page = vec![0; follower.source.page_size().len()];
    let location = follower.source.view(&before).unwrap().location(Pgno(1));
    follower.source.read_page(Pgno(1), location, &mut page).unwrap();
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
    place.enter_frame([before.mx_frame + 1, 1, commit, sum.s1, sum.s2]);
    let after = follower.source.committed().unwrap();
    assert_eq!((after.mx_frame, after.commit), (before.mx_frame + 1, commit));
}

/// Pages that no commit wrote are zeros, and part of the database.
#[test]
fn pages_never_written_are_taken() {
    let (place, mut application) = database("");
    application.sql("insert into t(b) values(1)");
    let mut follower = Follower::start(&place.database());
    let commit = follower.source.committed().unwrap().commit;
    grow_by_hand(&mut follower, &place, commit + 10);
    let taken = follower.sync();
    assert_eq!(taken[0], 1);
    assert!((commit + 1..=commit + 10).eq(taken[1..].iter().copied()));
    settle(&mut follower, &mut application, &place);
    assert_eq!(application.sql("select b from t"), [["1"]]);
}

/// A page in a frame, cut off, and back without being written: if a checkpoint came in between it was cut off the
/// file, and is zeros now; if not, the frame is copied back after all.
#[test]
fn pages_that_came_back_unwritten_are_as_in_the_file() {
    for checkpoint_between in [false, true] {
        for sync_between in [false, true] {
            let (place, mut application) = database("pragma auto_vacuum = full");
            let mut follower = Follower::start(&place.database());
            application.sql("insert into t(b) values(randomblob(200000))");
            let large = follower.source.committed().unwrap().commit;
            if sync_between {
                follower.sync();
            }
            application.sql("delete from t");
            let small = follower.source.committed().unwrap().commit;
            assert!(small < large / 2);
            if checkpoint_between {
                follower.source.advance(Held::default()).unwrap();
                assert_eq!(application.sql("pragma wal_checkpoint")[0][0], "0");
                assert_eq!(place.bytes().len(), small as usize * 4096);
            }
            grow_by_hand(&mut follower, &place, large);
            if !sync_between {
                let taken = follower.sync();
                assert!((small + 1..=large).all(|pgno| taken.contains(&pgno)));
                let last = &follower.image.bytes[(large as usize - 1) * 4096..];
                assert_eq!(last.iter().all(|&byte| byte == 0), checkpoint_between);
            }
            settle(&mut follower, &mut application, &place);
        }
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
