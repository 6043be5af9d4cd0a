//! A replica that its Worker keeps in order: every moment restores from it, to the last sync before it, and Litestream's
//! levels are segments like any.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod segments;
mod support;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use segments::content::Random;
use segments::history::History;
use segments::restoring::whole;
use segments::{decode, encode};
use support::Worker;
use walferry::ltx::{Codec, Header, Timestamp, Txid};
use walferry::native::store::{Access, Destination};
use walferry::replica::{Level, SegmentId, Target};
use walferry::store::Store;

/// Short intervals: what takes hours elsewhere takes seconds here.
const SETTINGS: [(&str, &str); 5] = [
    ("WALFERRY_LEVELS", "500ms, 2s, 6s"),
    ("WALFERRY_HISTORY_WINDOW", "1s"),
    ("WALFERRY_RAW_RETENTION", "200ms"),
    ("WALFERRY_GRACE", "300ms"),
    ("WALFERRY_SNAPSHOT_INTERVAL", "3s"),
];

#[test]
fn every_moment_restores_to_the_last_sync_before_it() {
    let state = tempfile::tempdir().unwrap();
    let worker = Worker::start_with(state.path(), &SETTINGS);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let url = format!("{}/v1/moments", worker.url);
        let access = Access {
            token: Some(Worker::WRITE_TOKEN.to_owned()),
        };
        let store = Destination::parse(&url, false).unwrap().open(&access).unwrap();
        let history = History::random(4096, 60, &mut Random(7));
        let mut times = vec![0];
        for txid in 1..history.states.len() as u64 {
            times.push(ship(&*store, &history, txid).await);
            tokio::time::sleep(Duration::from_millis(110)).await;
        }
        let end = SystemTime::now() + Duration::from_secs(20);
        loop {
            let all = store.list_all(Txid::ZERO).await.unwrap();
            let raw = all
                .iter()
                .filter(|segment| segment.id.level == Level::RAW)
                .count();
            let wholes = all.iter().filter(|segment| segment.id.level == Level::SNAPSHOT);
            if raw <= 2 && wholes.count() >= 3 && all.iter().any(|segment| u8::from(segment.id.level) == 3) {
                break;
            }
            assert!(SystemTime::now() < end, "{all:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for (txid, state) in history.states.iter().enumerate().skip(1) {
            let next = times.get(txid + 1).map_or(times[txid] + 10_000, |next| *next);
            for time in [times[txid], (times[txid] + next) / 2, next - 1] {
                let (restored, position) = whole(&*store, Target::Time(Timestamp(time))).await.unwrap();
                assert_eq!(position, history.position(txid as u64), "at {time}");
                assert!(restored == *state, "transaction {txid}");
            }
        }
        let (restored, _) = whole(&*store, Target::Latest).await.unwrap();
        assert!(restored == *history.states.last().unwrap());
        is_made_of_valid_segments(&*store).await;
    }));
}

/// Ships one transaction as of now; the first is the whole database.
async fn ship(store: &dyn Store, history: &History, txid: u64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let timestamp = Timestamp(now.as_millis() as i64);
    let level = if txid == 1 { Level::SNAPSHOT } else { Level::RAW };
    let header = Header {
        timestamp,
        ..history.header(txid, txid, true)
    };
    let segment = decode(&history.segment(txid, txid, Codec::Deflate, true)).unwrap();
    let pages = segment.pages.iter().map(|page| (page.pgno, &page.data[..]));
    let bytes = encode(&header, Codec::Deflate, pages).unwrap();
    let id = SegmentId::new(level, Txid(txid), Txid(txid)).unwrap();
    store.create(id, &Bytes::from(bytes)).await.unwrap();
    timestamp.0
}

/// What Litestream would read is LTX to its last byte.
async fn is_made_of_valid_segments(store: &dyn Store) {
    for segment in store.list_all(Txid::ZERO).await.unwrap() {
        walferry::restore::check(store, segment).await.unwrap();
    }
}
