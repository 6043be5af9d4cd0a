//! A folder is a store, laid out as Litestream's.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test"
)]

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use walferry::ltx::{DbSum, Txid};
use walferry::native::store::FolderStore;
use walferry::replica::{Level, SegmentId};
use walferry::store::{Body, Error, Source, Store, conformance};

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

#[test]
fn conforms() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("not/yet/there");
    run(async {
        let store = FolderStore::new(&root);
        conformance::run(&store).await;
        let id = SegmentId::new(Level::RAW, Txid(2), Txid(2)).unwrap();
        let file = root.join("ltx/0/0000000000000002-0000000000000002.ltx");
        let time = UNIX_EPOCH + Duration::from_millis(1_700_000_002_000);
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), time);
        conformance::deletes(&store, id).await;
        assert!(!file.exists());
    });
}

#[test]
fn what_is_no_segment_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let level = folder.path().join("ltx/0");
    fs::create_dir_all(level.join("0000000000000001-0000000000000001.ltx")).unwrap();
    fs::write(level.join("0000000000000002-0000000000000002.ltx.tmp"), "x").unwrap();
    fs::write(
        level.join(".0000000000000002-0000000000000002.ltx.walferry-x.tmp"),
        "x",
    )
    .unwrap();
    fs::write(level.join("notes.txt"), "x").unwrap();
    fs::write(level.join("0000000000000003-0000000000000004.ltx"), "x").unwrap();
    run(async {
        let found = FolderStore::new(folder.path())
            .list(Level::RAW, Txid::ZERO)
            .await
            .unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].id.max, Txid(4));
    });
}

/// Many writers at one name, as two walferries at one replica would be: one wins, its object stands.
#[test]
fn one_of_many_creators_wins() {
    let folder = tempfile::tempdir().unwrap();
    let id = conformance::segment(1, &mut DbSum::EMPTY.clone()).0;
    let winners: Vec<u8> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8u8)
            .map(|n| {
                let root = folder.path();
                scope.spawn(move || {
                    let mut won = None;
                    run(async {
                        let body = Bytes::from(vec![n; 3_000_000]);
                        match FolderStore::new(root).create(id, &body).await {
                            Ok(()) => won = Some(n),
                            Err(Error::Exists(_)) => {}
                            Err(other) => panic!("{other}"),
                        }
                    });
                    won
                })
            })
            .collect();
        writers
            .into_iter()
            .filter_map(|writer| writer.join().unwrap())
            .collect()
    });
    assert_eq!(winners.len(), 1);
    run(async {
        let found = FolderStore::new(folder.path())
            .read(id, 0..3_000_000)
            .await
            .unwrap();
        assert!(found.iter().all(|&byte| byte == winners[0]));
    });
    let names = fs::read_dir(folder.path().join("ltx/0")).unwrap().count();
    assert_eq!(names, 1, "losers leave nothing");
}

/// A body that cannot be read to its end leaves nothing.
#[test]
fn a_broken_body_leaves_nothing() {
    struct Broken;
    #[async_trait::async_trait(?Send)]
    impl Body for Broken {
        fn len(&self) -> u64 {
            5_000_000
        }
        async fn read(&self, range: std::ops::Range<u64>) -> walferry::store::Result<Bytes> {
            if range.start > 2_000_000 {
                return Err(Error::Unavailable("gone".to_owned()));
            }
            Ok(vec![7; (range.end - range.start) as usize].into())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let store = FolderStore::new(folder.path());
        let id = conformance::segment(1, &mut DbSum::EMPTY.clone()).0;
        assert!(matches!(
            store.create(id, &Broken).await,
            Err(Error::Unavailable(_))
        ));
        assert_eq!(store.stat(id).await.unwrap(), None);
    });
    assert_eq!(fs::read_dir(folder.path().join("ltx/0")).unwrap().count(), 0);
}

/// A folder that is closed to us is an access problem, not a fault that passes.
#[test]
fn a_read_only_file_system_is_denied() {
    run(async {
        // Even root cannot create here.
        let store = FolderStore::new("/proc/self/walferry");
        let (id, bytes, _) = conformance::segment(1, &mut DbSum::EMPTY.clone());
        let error = store.create(id, &bytes).await.unwrap_err();
        assert!(error.to_string().contains("/proc/self/walferry"), "{error}");
    });
}
