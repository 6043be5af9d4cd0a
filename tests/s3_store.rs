//! A bucket is a store: against a real S3 server, and with the faults of a network before it.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test"
)]

mod support;

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use support::proxy::{Fate, Proxy};
use support::s3::{S3, free_port};
use walferry::ltx::{DbSum, Timestamp, Txid};
use walferry::native::store::{Access, Counted, Destination, Kind, S3Settings, Secret};
use walferry::replica::{Level, SegmentId};
use walferry::store::{Body, Error, Source, Store, conformance, create_or_confirm};

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bounded = async { tokio::time::timeout(Duration::from_secs(90), test).await };
    let ended = runtime.block_on(tokio::task::LocalSet::new().run_until(bounded));
    ended.expect("it takes no minute and a half");
}

fn settings(port: u16, path: &str) -> S3Settings {
    S3Settings {
        bucket: S3::BUCKET.to_owned(),
        path: path.to_owned(),
        region: Some("us-east-1".to_owned()),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        access_key_id: Some(S3::KEY.to_owned()),
        secret_access_key: Some(Secret::new(S3::SECRET)),
        ..S3Settings::default()
    }
}

fn open(settings: S3Settings) -> Rc<Counted> {
    Destination::S3(settings).open(&Access::default()).unwrap()
}

fn raw(txid: u64) -> SegmentId {
    SegmentId::new(Level::RAW, Txid(txid), Txid(txid)).unwrap()
}

#[test]
fn conforms_and_keeps_litestreams_layout() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start(folder.path());
    run(async {
        // Names that must be escaped on the way.
        let path = "my apps/ü & co+/app=1.db";
        let store = open(settings(server.port, path));
        conformance::run(&*store).await;
        let found = server.objects(path);
        assert_eq!(
            found,
            [
                "0000/0000000000000001-0000000000000001.ltx",
                "0000/0000000000000002-0000000000000002.ltx",
                "0000/0000000000000003-0000000000000004.ltx",
            ]
        );
        let looked = store.stat(raw(2)).await.unwrap().unwrap();
        assert_eq!(looked.timestamp, Some(Timestamp(1_700_000_002_000)));
        conformance::deletes(&*store, raw(2)).await;
        assert_eq!(server.objects(path).len(), 2);

        // At the top of a bucket, among other replicas.
        let top = open(settings(server.port, ""));
        conformance::run(&*top).await;
        assert_eq!(top.list_all(Txid(1)).await.unwrap().len(), 2);
    });
}

#[test]
fn shelves_stand_beside_the_levels() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start(folder.path());
    run(async {
        let store = open(settings(server.port, "app.db"));
        let (segment, bytes, _) = conformance::segment(1, &mut DbSum::EMPTY.clone());
        store.create(segment, &bytes).await.unwrap();
        for level in Level::shelves() {
            let id = SegmentId::new(level, Txid(1), Txid(7)).unwrap();
            let content = Bytes::from(format!("on shelf {level}"));
            store.create(id, &content).await.unwrap();
            let found = store.list(level, Txid::ZERO).await.unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].id, found[0].size), (id, Body::len(&content)));
            assert_eq!(store.read(id, 3..10).await.unwrap(), content.slice(3..10));
        }
        let all = store.list_all(Txid::ZERO).await.unwrap();
        assert_eq!(all.len(), 1, "shelves are no levels");
        assert_eq!(all[0].id, segment);
        assert_eq!(
            server.objects("app.db")[1..],
            [
                "000a/0000000000000001-0000000000000007.bundle",
                "000b/0000000000000001-0000000000000007.sums",
                "000c/0000000000000001-0000000000000007.json",
            ]
        );
    });
}

#[test]
fn a_large_object_goes_in_parts_and_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start(folder.path());
    run(async {
        let store = open(settings(server.port, "app.db"));
        let body = Noise { len: 23_000_001 };
        let expected = body.read(0..body.len).await.unwrap();

        let broken = Broken(23_000_001);
        assert!(matches!(
            store.create(raw(1), &broken).await,
            Err(Error::Refused(_))
        ));
        assert_eq!(store.stat(raw(1)).await.unwrap(), None);
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            // What the server was writing when the connection ended is its own to clear away.
            .filter(|name| name.contains("part") && !name.starts_with(".tmp."))
            .collect();
        assert_eq!(
            left,
            [] as [String; 0],
            "the parts of an upload that was given up are gone"
        );

        let before = store.meter().requests(Kind::Put);
        store.create(raw(1), &body).await.unwrap();
        // Started, five parts, completed.
        assert_eq!(store.meter().requests(Kind::Put) - before, 7);
        assert!(store.meter().bytes_sent(Kind::Put) >= body.len);
        let found = store.stat(raw(1)).await.unwrap().unwrap();
        assert_eq!(found.size, body.len);
        assert!(store.read(raw(1), 0..body.len).await.unwrap() == expected);

        let other = Noise { len: 12_000_000 };
        assert!(matches!(
            store.create(raw(1), &other).await,
            Err(Error::Exists(_))
        ));
        assert_eq!(store.stat(raw(1)).await.unwrap().unwrap().size, body.len);
    });
}

/// The server looks whether an object is there when it begins, so the proxy lets one request through at a time: what is
/// left of the race is ours.
#[test]
fn one_of_many_creators_wins() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start(folder.path());
    let proxy = Proxy::start(server.port, |_| Fate::Pass);
    run(async {
        for (round, len) in [(1, 2_000), (2, 6_000_000)] {
            let creators = (0..32u8).map(|n| {
                let store = open(S3Settings {
                    conditional_writes: Some(true),
                    ..settings(proxy.port, "app.db")
                });
                async move {
                    let content = Bytes::from(vec![n; len]);
                    match store.create(raw(round), &content).await {
                        Ok(()) => Some(n),
                        Err(Error::Exists(_)) => None,
                        Err(other) => panic!("{other}"),
                    }
                }
            });
            let take = if len > 1_000_000 { 6 } else { 32 };
            let winners: Vec<u8> = join_all(creators.take(take))
                .await
                .into_iter()
                .flatten()
                .collect();
            assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
            let store = open(settings(server.port, "app.db"));
            let found = store.read(raw(round), 0..len as u64).await.unwrap();
            assert!(found.iter().all(|&byte| byte == winners[0]));
        }
    });
}

#[test]
fn more_objects_than_fit_a_page_are_one_listing() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start(folder.path());
    // Written beside the server, which is faster.
    let write = |level: &str, id: SegmentId| {
        let folder = server.folder().join("app.db").join(level);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(id.file_name()), "x").unwrap();
    };
    for txid in 1..=2_300 {
        write("0000", raw(txid));
    }
    for level in 1..=3 {
        let level = Level::new(level).unwrap();
        let id = SegmentId::new(level, Txid(1), Txid(1_000)).unwrap();
        write(&format!("{level:04x}"), id);
    }
    std::fs::write(server.folder().join("app.db/0000/notes.txt"), "x").unwrap();
    std::fs::create_dir_all(server.folder().join("app.db/other/0000")).unwrap();
    std::fs::write(
        server.folder().join("app.db/other/0000").join(raw(1).file_name()),
        "x",
    )
    .unwrap();
    run(async {
        let store = open(settings(server.port, "app.db"));
        let all = store.list_all(Txid::ZERO).await.unwrap();
        assert_eq!(all.len(), 2_303);
        assert!(all.is_sorted_by_key(|segment| segment.id));
        assert_eq!(
            store.meter().requests(Kind::List),
            3,
            "a thousand a page, for all levels together"
        );
        assert_eq!(store.list(Level::RAW, Txid(2_299)).await.unwrap().len(), 1);
        assert_eq!(store.list_all(Txid(999)).await.unwrap().len(), 2_300 - 999 + 3);
    });
}

#[test]
fn an_endpoint_without_conditions_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start(folder.path());
    // As some providers say it.
    let proxy = Proxy::start(server.port, |head| {
        if head.headers.contains("if-none-match") {
            Fate::Answer(501, "NotImplemented")
        } else {
            Fate::Pass
        }
    });
    run(async {
        let store = open(settings(proxy.port, "app.db"));
        conformance::run(&*store).await;
    });

    let proxy = Proxy::start(server.port, |head| {
        if head.line.starts_with("POST") && head.headers.contains("if-none-match") {
            Fate::Answer(501, "NotImplemented")
        } else {
            Fate::Pass
        }
    });
    run(async {
        let store = open(settings(proxy.port, "large"));
        let body = Noise { len: 7_000_000 };
        let error = store.create(raw(1), &body).await.unwrap_err();
        assert!(error.is_passing(), "the next attempt does without: {error}");
        store.create(raw(1), &body).await.unwrap();
        let other = Noise { len: 6_000_000 };
        assert!(matches!(
            store.create(raw(1), &other).await,
            Err(Error::Exists(_))
        ));
        assert_eq!(store.stat(raw(1)).await.unwrap().unwrap().size, body.len);
    });
}

#[test]
fn conditional_writes_can_be_turned_off() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start(folder.path());
    let proxy = Proxy::start(server.port, |_| Fate::Pass);
    run(async {
        let store = open(S3Settings {
            conditional_writes: Some(false),
            ..settings(proxy.port, "app.db")
        });
        conformance::run(&*store).await;
        store.create(raw(9), &Noise { len: 6_000_000 }).await.unwrap();
        assert!(matches!(
            store.create(raw(9), &Noise { len: 5_500_000 }).await,
            Err(Error::Exists(_))
        ));
    });
    let conditions = proxy.seen();
    assert!(
        conditions
            .iter()
            .all(|head| !head.headers.contains("if-none-match"))
    );
}

#[test]
fn faults_that_pass_are_survived_and_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start(folder.path());
    let away = Arc::new(AtomicBool::new(false));
    let proxy = {
        let away = Arc::clone(&away);
        Proxy::start(server.port, move |head| match head.number {
            _ if away.load(Ordering::Relaxed) => Fate::Answer(503, "SlowDown"),
            number if number % 7 == 3 => Fate::Cut,
            number if number % 11 == 5 => Fate::Unheard,
            number if number % 13 == 6 => Fate::Answer(500, "InternalError"),
            _ => Fate::Pass,
        })
    };
    run(async {
        let store = open(S3Settings {
            conditional_writes: Some(true),
            ..settings(proxy.port, "app.db")
        });
        let mut sum = DbSum::EMPTY;
        for txid in 1..=60 {
            let (id, bytes, trailer) = conformance::segment(txid, &mut sum);
            // As the engine does: until it is confirmed.
            while let Err(error) = create_or_confirm(&*store, id, &bytes, trailer.file_checksum).await {
                assert!(error.is_passing(), "{error}");
            }
        }
        let large = Noise { len: 30_000_000 };
        while let Err(error) = store.create(raw(61), &large).await {
            if matches!(error, Error::Exists(_)) {
                break;
            }
            assert!(error.is_passing(), "{error}");
        }
        let direct = open(settings(server.port, "app.db"));
        assert_eq!(direct.list_all(Txid::ZERO).await.unwrap().len(), 61);
        let expected = large.read(0..large.len).await.unwrap();
        assert!(direct.read(raw(61), 0..large.len).await.unwrap() == expected);
        let failed: u64 = store.meter().errors().iter().map(|(_, _, count)| count).sum();
        assert!(failed > 10, "{failed} faults were met");

        away.store(true, Ordering::Relaxed);
        let error = store.list_all(Txid::ZERO).await.unwrap_err();
        assert!(
            error.is_passing() && error.to_string().contains("SlowDown"),
            "{error}"
        );
    });
}

#[test]
fn refusals_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3::start(folder.path());
    run(async {
        let refused = async |settings: S3Settings| {
            let store = open(settings);
            let (id, bytes, _) = conformance::segment(1, &mut DbSum::EMPTY.clone());
            let listed = store.list_all(Txid::ZERO).await.unwrap_err();
            let created = store.create(id, &bytes).await.unwrap_err();
            assert_eq!(listed.is_passing(), created.is_passing());
            for error in [&listed, &created] {
                assert!(!error.to_string().contains("geheim"), "{error}");
            }
            created
        };
        let wrong = Some(Secret::new("geheim"));
        let error = refused(S3Settings {
            secret_access_key: wrong.clone(),
            ..settings(server.port, "app.db")
        })
        .await;
        assert!(
            matches!(&error, Error::Denied(why) if why.contains("secret-access-key")),
            "{error}"
        );

        let error = refused(S3Settings {
            access_key_id: Some("nobody".to_owned()),
            ..settings(server.port, "app.db")
        })
        .await;
        assert!(matches!(&error, Error::Denied(_)), "{error}");

        // This server makes a bucket of any name when it is written to.
        let error = open(S3Settings {
            bucket: "missing".to_owned(),
            ..settings(server.port, "app.db")
        })
        .list_all(Txid::ZERO)
        .await
        .unwrap_err();
        assert!(
            matches!(&error, Error::Refused(why) if why.contains("create it")),
            "{error}"
        );

        let error = refused(settings(free_port(), "app.db")).await;
        assert!(
            matches!(&error, Error::Unavailable(why) if why.contains("refused")),
            "{error}"
        );

        let error = open(S3Settings {
            secret_access_key: None,
            ..settings(server.port, "app.db")
        })
        .list_all(Txid::ZERO)
        .await
        .unwrap_err();
        assert!(
            matches!(&error, Error::Denied(why) if why.contains("go together")),
            "{error}"
        );
    });
}

/// Bytes that are made as they are read.
struct Noise {
    len: u64,
}

#[async_trait::async_trait(?Send)]
impl Body for Noise {
    fn len(&self) -> u64 {
        self.len
    }
    async fn read(&self, range: Range<u64>) -> walferry::store::Result<Bytes> {
        let byte = |at: u64| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
        Ok(range.map(byte).collect())
    }
}

/// Cannot be read to its end.
struct Broken(u64);

#[async_trait::async_trait(?Send)]
impl Body for Broken {
    fn len(&self) -> u64 {
        self.0
    }
    async fn read(&self, range: Range<u64>) -> walferry::store::Result<Bytes> {
        if range.end > 15_000_000 {
            return Err(Error::Refused("gone".to_owned()));
        }
        Ok(vec![7; (range.end - range.start) as usize].into())
    }
}
