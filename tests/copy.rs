//! A replica is copied whole, with its shelves, and a copy that was broken off goes on.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test"
)]

#[path = "support/replica.rs"]
mod replica;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use replica::Replica;
use walferry::ltx::{Codec, Timestamp, Txid};
use walferry::native::copy::{self, Error, Options, Summary};
use walferry::native::store::FolderStore;
use walferry::replica::{BundleEnd, BundleWriter, Level, Position, SegmentId, Target, bundle_end};
use walferry::restore::{Restore, Scratch};
use walferry::store::{Body, Store};

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test)
}

fn options(codec: Option<Codec>) -> Options {
    Options {
        codec,
        folder: std::env::temp_dir(),
        chain_only: false,
        shelves: true,
    }
}

/// Ten states of a database, in a codec, with a bundle of the first of them and a table of sums.
fn source(codec: Codec) -> Replica {
    let mut source = Replica::new(512, codec);
    for state in 0..10u8 {
        let pages = (0..40u8).map(|page| vec![page.wrapping_mul(state % (page + 1)); 512]);
        source.ship(&pages.collect::<Vec<_>>().concat());
    }
    run(async {
        let (mut writer, mut bytes) = (BundleWriter::default(), BundleWriter::magic().to_vec());
        for txid in 2..=5 {
            let object = source.object(raw(txid));
            let time = Timestamp(1_700_000_000_000 + txid as i64);
            writer
                .add(Txid(txid), Txid(txid), object.len() as u64, time)
                .unwrap();
            bytes.extend_from_slice(&object);
        }
        bytes.extend_from_slice(&writer.finish());
        let id = writer.id().unwrap();
        source.store.create(id, &Bytes::from(bytes)).await.unwrap();
        let sums = SegmentId::new(Level::SUMS, Txid(1), Txid(10)).unwrap();
        source
            .store
            .create(sums, &Bytes::from_static(b"sums"))
            .await
            .unwrap();
        let owner = SegmentId::new(Level::OWNER, Txid(1), Txid(1)).unwrap();
        source
            .store
            .create(owner, &Bytes::from_static(b"{}"))
            .await
            .unwrap();
    });
    source
}

fn raw(txid: u64) -> SegmentId {
    SegmentId::new(Level::RAW, Txid(txid), Txid(txid)).unwrap()
}

fn copied(source: &Replica, target: &Path, codec: Option<Codec>) -> Result<Summary, Error> {
    let target = FolderStore::new(target);
    run(copy::run(&source.store, &target, &options(codec), |_, _| {}))
}

fn database(store: &dyn Store) -> Vec<u8> {
    use futures_util::StreamExt;
    run(async {
        let restore = Restore::prepare(store, Target::Latest, Position::EMPTY)
            .await
            .unwrap()
            .unwrap();
        let mut database = vec![0; restore.commit() as usize * 512];
        let mut chunks = restore.chunks();
        let mut scratch = Scratch::default();
        while let Some(chunk) = chunks.next().await {
            let placed = chunk.unwrap().decode(&mut scratch, |pgno, _, page| {
                database[(pgno.0 as usize - 1) * 512..][..512].copy_from_slice(page);
                Ok::<(), walferry::restore::Error>(())
            });
            placed.unwrap();
        }
        database
    })
}

#[test]
fn every_codec_becomes_every_other() {
    for from in Codec::ALL {
        let source = source(from);
        for to in Codec::ALL {
            let folder = tempfile::tempdir().unwrap();
            let summary = copied(&source, folder.path(), Some(to)).unwrap();
            assert_eq!((summary.copied, summary.present, summary.txid), (12, 0, Txid(10)));
            assert!(
                database(&FolderStore::new(folder.path())) == source.database(),
                "{from} to {to}"
            );
            if from == to {
                let file = folder.path().join("ltx/0").join(raw(3).file_name());
                assert_eq!(fs::read(file).unwrap(), source.object(raw(3)), "packed as it was");
            }
            assert_eq!(copied(&source, folder.path(), Some(to)).unwrap().present, 12);
            assert!(
                !folder.path().join("ltx/12").exists(),
                "whose replica it is, is not copied"
            );
        }
    }
}

#[test]
fn bundles_are_packed_anew_member_by_member() {
    let source = source(Codec::Deflate);
    let folder = tempfile::tempdir().unwrap();
    copied(&source, folder.path(), Some(Codec::Lz4)).unwrap();
    let id = SegmentId::new(Level::HISTORY, Txid(2), Txid(5)).unwrap();
    let bundle = fs::read(folder.path().join("ltx/10").join(id.file_name())).unwrap();
    let BundleEnd::Members(members) = bundle_end(&bundle, id, bundle.len() as u64).unwrap() else {
        panic!("it is short");
    };
    assert_eq!(members.len(), 4);
    for member in members {
        let segment = fs::read(folder.path().join("ltx/0").join(member.id.file_name())).unwrap();
        assert_eq!(bundle[member.offset as usize..][..member.size as usize], segment);
    }
}

#[test]
fn a_copy_goes_on_where_it_was_broken_off() {
    let mut source = source(Codec::Lz4);
    let folder = tempfile::tempdir().unwrap();
    copied(&source, folder.path(), None).unwrap();
    for txid in [4, 8, 10] {
        fs::remove_file(folder.path().join("ltx/0").join(raw(txid).file_name())).unwrap();
    }
    let mut pages = source.database();
    pages[5_000] ^= 1;
    source.ship(&pages);
    let summary = copied(&source, folder.path(), None).unwrap();
    assert_eq!((summary.copied, summary.present, summary.txid), (4, 9, Txid(11)));
    assert!(database(&FolderStore::new(folder.path())) == source.database());
}

#[test]
fn another_replica_is_not_mixed_in() {
    let (ours, mut other) = (source(Codec::Lz4), Replica::new(512, Codec::Lz4));
    other.ship(&[9; 2048]);
    let folder = tempfile::tempdir().unwrap();
    copied(&other, folder.path(), None).unwrap();
    let error = copied(&ours, folder.path(), None).unwrap_err();
    assert!(matches!(error, Error::Differs(id) if id == raw(1)), "{error}");

    let folder = tempfile::tempdir().unwrap();
    copied(&ours, folder.path(), None).unwrap();
    let error = copied(&ours, folder.path(), Some(Codec::Deflate)).unwrap_err();
    assert!(matches!(error, Error::Differs(_)), "another codec: {error}");
}

#[test]
fn a_damaged_segment_does_not_arrive() {
    let source = source(Codec::Lz4);
    let mut bytes = source.object(raw(7)).to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    source.store.tamper(raw(7), Bytes::from(bytes));
    let folder = tempfile::tempdir().unwrap();
    let error = copied(&source, folder.path(), None).unwrap_err();
    assert!(
        matches!(error, Error::Damaged { segment, .. } if segment == raw(7)),
        "{error}"
    );
    assert!(!folder.path().join("ltx/0").join(raw(7).file_name()).exists());
}

/// For a Worker: what leads to the newest state, at level 0.
#[test]
fn a_chain_is_copied_alone() {
    let source = source(Codec::Lz4);
    let whole = SegmentId::new(Level::SNAPSHOT, Txid(1), Txid(1)).unwrap();
    let first = source.object(raw(1));
    run(async {
        source.store.create(whole, &first).await.unwrap();
        source.store.delete(raw(1)).await.unwrap();
    });
    let folder = tempfile::tempdir().unwrap();
    let target = FolderStore::new(folder.path());
    let options = Options {
        chain_only: true,
        shelves: false,
        ..options(None)
    };
    let summary = run(copy::run(&source.store, &target, &options, |_, _| {})).unwrap();
    assert_eq!(summary.copied, 10);
    assert!(Body::len(&first) > 0 && folder.path().join("ltx/0").join(raw(1).file_name()).exists());
    assert!(!folder.path().join("ltx/9").exists());
    assert!(database(&target) == source.database());
}
