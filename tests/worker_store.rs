//! The client of a Worker against the real Worker on workerd.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test"
)]

mod support;

use bytes::Bytes;
use support::Worker;
use walferry::ltx::{
    Codec, Compressor, DbSum, Encoder, Header, PageCrc, PageSize, Pgno, Sums, Timestamp, Txid,
};
use walferry::native::store::{Access, Destination};
use walferry::replica::{Level, SegmentId};
use walferry::store::{Body, Error, Store, conformance};

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(test));
}

fn open(worker: &Worker, name: &str, token: Option<&str>) -> std::rc::Rc<dyn Store> {
    let url = format!("{}/v1/{name}", worker.url);
    let access = Access {
        token: token.map(str::to_owned),
    };
    Destination::parse(&url, false).unwrap().open(&access).unwrap()
}

#[test]
fn the_worker_is_a_store() {
    let state = tempfile::tempdir().unwrap();
    let worker = Worker::start(state.path());
    run(async {
        let store = open(&worker, "conforms", Some(Worker::WRITE_TOKEN));
        conformance::run(&*store).await;
        large_uploads(&worker).await;
        uploads_in_parts(&worker).await;
        who_may_what(&worker).await;
        conflicts(&worker).await;
        nobody().await;
    });
}

/// Beyond what is sent in one piece; a body that breaks off leaves nothing behind.
async fn large_uploads(worker: &Worker) {
    let store = open(worker, "large", Some(Worker::WRITE_TOKEN));
    let (id, bytes) = noise(1500);
    assert!(bytes.len() > 5_000_000);
    let broken = Broken {
        bytes: bytes.clone(),
        at: 2_000_000,
    };
    assert!(matches!(store.create(id, &broken).await, Err(Error::Io { .. })));
    assert_eq!(store.stat(id).await.unwrap(), None);
    store.create(id, &bytes).await.unwrap();
    let found = store.stat(id).await.unwrap().unwrap();
    assert_eq!(found.size, Body::len(&bytes));
    assert_eq!(found.timestamp, Some(Timestamp(1_700_000_000_000)));
    assert_eq!(store.read(id, 0..found.size).await.unwrap(), bytes);
}

/// Beyond what one request may send. What the Worker has taken is not sent again.
async fn uploads_in_parts(worker: &Worker) {
    let store = open(worker, "parts", Some(Worker::WRITE_TOKEN));
    let (id, bytes) = noise(16_500);
    assert!(bytes.len() > 64 << 20);
    let broken = Broken {
        bytes: bytes.clone(),
        at: 40 << 20,
    };
    assert!(matches!(store.create(id, &broken).await, Err(Error::Io { .. })));
    assert_eq!(
        store.list_all(Txid::ZERO).await.unwrap(),
        [],
        "half of it is invisible"
    );
    let resumed = Resumed {
        bytes: bytes.clone(),
        from: 32 << 20,
    };
    store.create(id, &resumed).await.unwrap();
    let found = store.stat(id).await.unwrap().unwrap();
    assert_eq!(found.size, Body::len(&bytes));
    assert_eq!(store.read(id, 0..found.size).await.unwrap(), bytes);
}

async fn who_may_what(worker: &Worker) {
    let (id, bytes, _) = conformance::segment(1, &mut DbSum::EMPTY.clone());
    let denied = |result: Result<(), Error>, hint: &str| match result {
        Err(Error::Denied(why)) => assert!(why.contains(hint), "{why}"),
        other => panic!("denied, not {other:?}"),
    };
    for (token, hint) in [
        (None, "set WALFERRY_TOKEN"),
        (Some("wrong"), "WALFERRY_TOKEN"),
        (Some(Worker::READ_TOKEN), "may only read"),
    ] {
        denied(open(worker, "denied", token).create(id, &bytes).await, hint);
    }
    for token in [None, Some("wrong")] {
        let store = open(worker, "conforms", token);
        denied(
            store.list(Level::RAW, Txid::ZERO).await.map(drop),
            "WALFERRY_TOKEN",
        );
        denied(store.read(id, 0..10).await.map(drop), "WALFERRY_TOKEN");
        denied(store.stat(id).await.map(drop), "WALFERRY_TOKEN");
    }
    let reader = open(worker, "conforms", Some(Worker::READ_TOKEN));
    assert_eq!(reader.list_all(Txid::ZERO).await.unwrap().len(), 3);
    assert_eq!(
        open(worker, "denied", Some(Worker::READ_TOKEN))
            .list_all(Txid::ZERO)
            .await
            .unwrap(),
        []
    );
}

/// A segment that does not go on from the head is told where that is.
async fn conflicts(worker: &Worker) {
    let store = open(worker, "conflicts", Some(Worker::WRITE_TOKEN));
    let mut sum = DbSum::EMPTY;
    let segments: Vec<_> = (1..=3).map(|txid| conformance::segment(txid, &mut sum)).collect();
    store.create(segments[0].0, &segments[0].1).await.unwrap();
    match store.create(segments[2].0, &segments[2].1).await {
        Err(Error::Conflict { head }) => assert_eq!(head.txid, Txid(1)),
        other => panic!("a conflict, not {other:?}"),
    }
    assert_eq!(store.list(Level::RAW, Txid(1)).await.unwrap(), []);

    let mut damaged = segments[1].1.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let damaged = Bytes::from(damaged);
    assert!(matches!(
        store.create(segments[1].0, &damaged).await,
        Err(Error::Refused(_))
    ));
    assert_eq!(store.stat(segments[1].0).await.unwrap(), None);
}

/// A port where nobody listens.
async fn nobody() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let nobody = Destination::parse(&format!("http://{free}/v1/app"), false).unwrap();
    let store = nobody.open(&Access::default()).unwrap();
    let error = store.list(Level::RAW, Txid::ZERO).await.unwrap_err();
    assert!(
        error.is_passing() && error.to_string().contains("refused"),
        "{error}"
    );
}

/// Incompressible pages, so that the segment is as long as they are.
fn noise(pages: u32) -> (SegmentId, Bytes) {
    let page_size = PageSize::new(4096).unwrap();
    let mut state = 1u64;
    let pages: Vec<Vec<u8>> = (0..pages)
        .map(|_| {
            let mut page = Vec::with_capacity(4096);
            while page.len() < 4096 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                page.extend_from_slice(&(state ^ state >> 29).to_be_bytes());
            }
            page
        })
        .collect();
    let numbered = || pages.iter().zip(1..).map(|(page, pgno)| (Pgno(pgno), page));
    let after = numbered().fold(DbSum::EMPTY, |sum, (pgno, page)| {
        sum.plus(PageCrc::of(pgno, page))
    });
    let sums = Sums {
        before: DbSum::EMPTY,
        after,
    };
    let header = Header::new(
        page_size,
        pages.len() as u32,
        (Txid(1), Txid(1)),
        Timestamp(1_700_000_000_000),
        Some(sums),
    );
    let mut encoder = Encoder::new(Vec::new(), header, Compressor::new(Codec::Deflate)).unwrap();
    for (pgno, page) in numbered() {
        encoder.page(pgno, PageCrc::of(pgno, page), page).unwrap();
    }
    let id = SegmentId::new(Level::RAW, Txid(1), Txid(1)).unwrap();
    (id, encoder.finish().unwrap().0.into())
}

/// A file whose disk fails in the middle.
struct Broken {
    bytes: Bytes,
    at: u64,
}

#[async_trait::async_trait(?Send)]
impl Body for Broken {
    fn len(&self) -> u64 {
        Body::len(&self.bytes)
    }

    async fn read(&self, range: std::ops::Range<u64>) -> walferry::store::Result<Bytes> {
        if range.end > self.at {
            let (what, source) = (
                "cannot read the segment".to_owned(),
                std::io::Error::other("disk fault"),
            );
            return Err(Error::Io { what, source });
        }
        Body::read(&self.bytes, range).await
    }
}

/// A file whose start was read before, and must not be needed again.
struct Resumed {
    bytes: Bytes,
    from: u64,
}

#[async_trait::async_trait(?Send)]
impl Body for Resumed {
    fn len(&self) -> u64 {
        Body::len(&self.bytes)
    }

    async fn read(&self, range: std::ops::Range<u64>) -> walferry::store::Result<Bytes> {
        assert!(range.start >= self.from, "{range:?} was sent already");
        Body::read(&self.bytes, range).await
    }
}
