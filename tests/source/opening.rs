//! Which databases can be followed, what is said of the others, and that nothing is left behind.

use std::fs;
use std::time::Instant;

use walferry::native::sqlite::{Class, Error, Options, Source};

use crate::application::{Application, Place, database};
use crate::follower::Follower;

fn open(place: &Place) -> Result<Source, Error> {
    Source::open(&place.database(), &Options::default())
}

#[test]
fn what_is_no_database_is_refused() {
    let place = Place::new();
    assert!(matches!(open(&place), Err(Error::Missing(_))));
    fs::create_dir(place.database()).unwrap();
    assert!(matches!(open(&place), Err(Error::NotAFile(_))));
    fs::remove_dir(place.database()).unwrap();
    fs::write(place.database(), "SQLite format 2, or something like it").unwrap();
    let error = open(&place).unwrap_err();
    assert!(matches!(error, Error::NotSqlite(_)));
    assert_eq!(error.class(), Class::Input);
    assert!(
        error.to_string().ends_with("app.db is not an SQLite database"),
        "{error}"
    );
    // Nothing was created beside it.
    assert!(!place.wal().exists());
}

#[test]
fn a_header_of_sqlite_before_garbage_is_refused() {
    let place = Place::new();
    let mut bytes = vec![0x5a; 8192];
    bytes[..16].copy_from_slice(b"SQLite format 3\0");
    bytes[16..20].copy_from_slice(&[0x10, 0, 2, 2]);
    fs::write(place.database(), bytes).unwrap();
    assert!(matches!(open(&place), Err(Error::NotSqlite(_))));
}

#[test]
fn another_journal_mode_is_refused_or_switched() {
    let place = Place::new();
    let mut application = Application::open(&place.database());
    application.sql("create table t(a)");
    let error = open(&place).unwrap_err();
    assert!(
        matches!(error, Error::NotWal(_)) && error.to_string().contains("--set-wal"),
        "{error}"
    );
    assert_eq!(application.sql("pragma journal_mode"), [["delete"]]);
    let mut source = Source::open(&place.database(), &Options { set_wal: true }).unwrap();
    application.sql("insert into t values(1)");
    assert_eq!(application.sql("pragma journal_mode"), [["wal"]]);
    assert!(source.committed().unwrap().mx_frame > 0);
}

#[test]
fn an_empty_file_is_an_empty_database() {
    let place = Place::new();
    fs::write(place.database(), "").unwrap();
    assert!(matches!(open(&place), Err(Error::NotWal(_))));
    let mut source = Source::open(&place.database(), &Options { set_wal: true }).unwrap();
    assert_eq!(source.committed().unwrap().commit, 1);
}

#[test]
fn an_application_that_keeps_every_lock_is_named() {
    let (place, mut application) = database("pragma locking_mode = exclusive");
    application.sql("insert into t(b) values(1)");
    let start = Instant::now();
    let error = open(&place).unwrap_err();
    assert!(
        matches!(error, Error::Exclusive(_)) && error.to_string().contains("locking_mode"),
        "{error}"
    );
    assert_eq!(error.class(), Class::Busy);
    assert!(start.elapsed().as_secs() < 10);
}

#[test]
fn one_process_opens_a_database_once() {
    let (place, _application) = database("");
    let first = open(&place).unwrap();
    assert!(matches!(open(&place), Err(Error::AlreadyOpen(_))));
    let link = place.file("link.db");
    std::os::unix::fs::symlink(place.database(), &link).unwrap();
    assert!(matches!(
        Source::open(&link, &Options::default()),
        Err(Error::AlreadyOpen(_))
    ));
    drop(first);
    let through_link = Source::open(&link, &Options::default()).unwrap();
    assert_eq!(through_link.path(), place.database());
}

/// Followed, advanced, checkpointed, closed: the file has not one byte, and no setting, that the application did not
/// put there; and what it had not copied back is still in the WAL.
#[test]
fn nothing_is_left_behind() {
    let (place, mut application) = database("pragma user_version = 7; pragma application_id = 99");
    application.sql("insert into t(b) values(randomblob(9000))");
    application.sql("pragma wal_checkpoint(truncate)");
    let (before, schema) = (place.bytes(), application.sql("select * from sqlite_schema"));
    let mut follower = Follower::start(&place.database());
    for _ in 0..3 {
        follower.source.advance(follower.held()).unwrap();
        follower.checkpoint_passive(follower.held()).unwrap();
        follower
            .source
            .checkpoint_locked::<Error>(std::time::Duration::ZERO, |_, _| Ok(()))
            .unwrap();
    }
    assert_eq!(place.bytes(), before);
    application.sql("insert into t(b) values(1)");
    follower.sync();
    drop(application);
    let wal = fs::metadata(place.wal()).unwrap().len();
    assert!(wal > 0);
    drop(follower);
    // The last to close has neither copied back nor deleted.
    assert_eq!(
        (place.bytes(), fs::metadata(place.wal()).unwrap().len()),
        (before, wal)
    );
    let mut application = Application::open(&place.database());
    assert_eq!(application.sql("select * from sqlite_schema"), schema);
    assert_eq!(application.sql("select count(*) from t"), [["2"]]);
    assert_eq!(application.sql("pragma user_version"), [["7"]]);
    assert_eq!(application.sql("pragma integrity_check"), [["ok"]]);
    let files: Vec<_> = fs::read_dir(place.database().parent().unwrap())
        .unwrap()
        .collect();
    assert_eq!(files.len(), 3, "{files:?}");
}

#[test]
fn a_database_replaced_or_deleted_is_noticed() {
    let (place, application) = database("");
    let source = open(&place).unwrap();
    assert!(!source.replaced().unwrap());
    fs::write(place.file("other"), "").unwrap();
    let kept = place.file("kept");
    fs::rename(place.database(), &kept).unwrap();
    assert!(source.replaced().unwrap());
    fs::rename(place.file("other"), place.database()).unwrap();
    assert!(source.replaced().unwrap());
    fs::rename(&kept, place.database()).unwrap();
    assert!(!source.replaced().unwrap());
    fs::rename(place.wal(), place.file("other-wal")).unwrap();
    assert!(source.replaced().unwrap());
    drop(application);
}
