//! The endpoint of `addr`, asked as Prometheus, a load balancer and someone hostile ask it.
#![cfg(feature = "native")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use walferry::ltx::{Timestamp, Txid};
use walferry::native::clock::Clock;
use walferry::native::metrics::{Server, serve};
use walferry::native::status::{DatabaseStatus, Databases, ReplicaStatus, Verified};
use walferry::native::store::{Kind, Meter};
use walferry::replica::Position;

struct Endpoint {
    server: Server,
    databases: Databases,
    now: Rc<Cell<i64>>,
}

impl Endpoint {
    async fn start() -> Self {
        let now = Rc::new(Cell::new(1_700_000_000_000));
        let databases = Databases::default();
        let told = Rc::clone(&now);
        let clock = Clock::new(move || Timestamp(told.get()));
        let address = "127.0.0.1:0".parse().unwrap();
        let server = serve(&address, Rc::clone(&databases), clock).await.unwrap();
        Self {
            server,
            databases,
            now,
        }
    }

    fn follow(&self, path: &str) -> (Rc<DatabaseStatus>, Rc<ReplicaStatus>) {
        let replica = ReplicaStatus::new("file:///backup/app".to_owned(), "file");
        let database = DatabaseStatus::new(path.into(), vec![Rc::clone(&replica)]);
        self.databases.borrow_mut().push(Rc::clone(&database));
        (database, replica)
    }

    async fn get(&self, path: &str) -> (u16, String) {
        send(
            self.server.local_address(),
            format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes(),
        )
        .await
    }

    async fn value(&self, series: &str) -> Option<f64> {
        let (status, page) = self.get("/metrics").await;
        assert_eq!(status, 200);
        let line = page.lines().find_map(|line| line.strip_prefix(series));
        line.map(|rest| rest.trim().parse().unwrap())
    }
}

/// The status, and the whole answer.
async fn send(address: SocketAddr, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let limit = Duration::from_secs(20);
    // A reset after the answer is an end, too.
    let _ = tokio::time::timeout(limit, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_default(), answer)
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

const SERIES: &str = r#"{db="/srv/app.db",replica="file:///backup/app"}"#;

#[test]
fn metrics_are_the_cells_of_every_database() {
    run(async {
        let endpoint = Endpoint::start().await;
        assert_eq!(endpoint.value("walferry_databases").await, Some(0.0));
        let (database, replica) = endpoint.follow("/srv/app.db");
        endpoint.follow("/srv/\"odd\\name\n.db");
        let db = r#"{db="/srv/app.db"}"#;
        database.wal_bytes.set(4152);
        database.locked_micros.set(1500);
        replica.segments.set(7);
        replica.confirmed.set(Some(Position {
            txid: Txid(42),
            sum: None,
        }));
        replica
            .behind_since
            .set(Some(Timestamp(endpoint.now.get() - 2500)));
        replica.last_success.set(Some(Timestamp(1_700_000_000_000)));
        replica.record_drill(Verified {
            at: Timestamp(5000),
            seconds: 0.25,
            failure: None,
        });
        let meter = Meter::new();
        meter.request(Kind::Put, Duration::from_millis(250));
        meter.sent(Kind::Put, 4096);
        meter.error(Kind::List, "503");
        replica.meter.set(meter).unwrap();
        let with = |more: &str| SERIES.replace('}', &format!(",{more}}}"));
        for (name, labels, expected) in [
            ("walferry_requests_total", with("kind=\"PUT\"").as_str(), 1.0),
            (
                "walferry_request_seconds_total",
                with("kind=\"PUT\"").as_str(),
                0.25,
            ),
            ("walferry_sent_bytes_total", with("kind=\"PUT\"").as_str(), 4096.0),
            ("walferry_requests_total", with("kind=\"GET\"").as_str(), 0.0),
            (
                "walferry_request_errors_total",
                with("kind=\"LIST\",code=\"503\"").as_str(),
                1.0,
            ),
            ("walferry_databases", "", 2.0),
            ("walferry_wal_size_bytes", db, 4152.0),
            ("walferry_write_lock_seconds_total", db, 0.0015),
            ("walferry_segments_total", SERIES, 7.0),
            ("walferry_position_txid", SERIES, 42.0),
            ("walferry_replication_lag_seconds", SERIES, 2.5),
            ("walferry_last_sync_timestamp_seconds", SERIES, 1_700_000_000.0),
            ("walferry_verify_ok", SERIES, 1.0),
            ("walferry_verify_success_timestamp_seconds", SERIES, 5.0),
        ] {
            let value = endpoint.value(&format!("{name}{labels}")).await;
            assert_eq!(value, Some(expected), "{name}");
        }
        // A drill that fails leaves the time of the last good one.
        let failure = Some("a page is missing".to_owned());
        replica.record_drill(Verified {
            at: Timestamp(9000),
            seconds: 0.5,
            failure,
        });
        assert_eq!(
            endpoint.value(&format!("walferry_verify_ok{SERIES}")).await,
            Some(0.0)
        );
        let success = format!("walferry_verify_success_timestamp_seconds{SERIES}");
        assert_eq!(endpoint.value(&success).await, Some(5.0));

        let (_, page) = endpoint.get("/metrics").await;
        assert!(
            page.contains(r#"{db="/srv/\"odd\\name\n.db"}"#),
            "labels are escaped: {page}"
        );
        assert!(
            page.contains("application/openmetrics-text") && page.ends_with("# EOF\n"),
            "{page}"
        );
        #[cfg(target_os = "linux")]
        assert!(endpoint.value("process_resident_memory_bytes").await.unwrap() > 1e6);
    });
}

#[test]
fn health_turns_when_a_replica_stays_behind_or_a_database_fails() {
    run(async {
        let endpoint = Endpoint::start().await;
        assert_eq!(endpoint.get("/health").await.0, 200);
        let (database, replica) = endpoint.follow("/srv/app.db");
        assert_eq!(endpoint.get("/health").await.0, 200);
        replica.behind_since.set(Some(Timestamp(endpoint.now.get())));
        replica.failure.replace(Some("connection refused".to_owned()));
        endpoint.now.set(endpoint.now.get() + 30_000);
        assert_eq!(endpoint.get("/health").await.0, 200, "a hiccup is no illness");
        let (status, answer) = endpoint.get("/health?max-lag=5s").await;
        assert_eq!(status, 503);
        assert!(
            answer.contains("file:///backup/app") && answer.contains("30 s behind: connection refused"),
            "{answer}"
        );
        endpoint.now.set(endpoint.now.get() + 31_000);
        assert_eq!(endpoint.get("/health").await.0, 503);
        replica.behind_since.set(None);
        assert_eq!(endpoint.get("/health").await.0, 200);
        database.failure.replace(Some("the file was replaced".to_owned()));
        let (status, answer) = endpoint.get("/health").await;
        assert_eq!(status, 503);
        assert!(answer.contains("the file was replaced"), "{answer}");
        assert_eq!(endpoint.get("/health?max-lag=soon").await.0, 400);
    });
}

#[test]
fn hostile_requests_are_bounded_and_others_are_served_meanwhile() {
    run(async {
        let endpoint = Endpoint::start().await;
        let address = endpoint.server.local_address();
        for (request, status) in [
            (
                "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody".to_owned(),
                405,
            ),
            ("GET /../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 404),
            (
                format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(100_000)),
                431,
            ),
            (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)), 431),
            (format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000)), 431),
            ("\0\u{1}\u{2} nonsense\r\n\r\n".to_owned(), 400),
        ] {
            let (got, answer) = send(address, request.as_bytes()).await;
            assert!(
                got == status || (status == 431 && [0, 414].contains(&got)),
                "{got}, not {status}: {answer}"
            );
        }
        // As many as are answered at a time, and they never finish their requests.
        let mut slow = Vec::new();
        for _ in 0..8 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nx: ").await.unwrap();
            slow.push(stream);
        }
        let start = Instant::now();
        assert_eq!(endpoint.get("/health").await.0, 200);
        assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    });
}
