//! The HTTP side: bounded in time and memory, whoever asks.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::health::{Health, MAX_LAG};
use super::{Address, exposition};
use crate::native::clock::Clock;
use crate::native::status::Databases;

/// How many connections are answered at a time.
const CONNECTIONS: usize = 8;
/// How long one may last: a scrape takes milliseconds.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// How long a request may take to arrive.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// How large its head may be.
const REQUEST_BYTES: usize = 8192;
/// After a failure to accept a connection, for want of descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The endpoint, as long as it is kept.
#[derive(Debug)]
pub struct Server {
    local: SocketAddr,
    task: JoinHandle<()>,
}

/// Listens, and answers on this thread's [`LocalSet`](tokio::task::LocalSet) until the server is dropped.
pub async fn serve(address: &Address, databases: Databases, clock: Clock) -> io::Result<Server> {
    let listener = address.bind().await?;
    let local = listener.local_addr()?;
    tracing::info!(address = %local, "metrics at /metrics, health at /health");
    if address.is_public() {
        tracing::info!(
            "other machines can read them; addr: \"127.0.0.1:{}\" keeps them here",
            local.port()
        );
    }
    let source = Rc::new(Source {
        databases,
        clock,
        start: Instant::now(),
    });
    let task = tokio::task::spawn_local(accept(listener, source));
    Ok(Server { local, task })
}

impl Server {
    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is told about.
struct Source {
    databases: Databases,
    clock: Clock,
    start: Instant,
}

async fn accept(listener: TcpListener, source: Rc<Source>) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&free).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let source = Rc::clone(&source);
                connections.spawn_local(async move {
                    let _place = place;
                    // One that takes too long is closed.
                    let _ = timeout(CONNECTION_TIME, answer_one(stream, source)).await;
                });
            }
            Err(error) => {
                tracing::debug!("cannot accept a connection to the metrics: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One request a connection, so that none is kept open for nothing.
async fn answer_one(stream: TcpStream, source: Rc<Source>) {
    let service = service_fn(|request| {
        let answer = source.answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .max_header_size(REQUEST_BYTES)
        .max_buf_size(REQUEST_BYTES.saturating_mul(2))
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("a connection to the metrics ended early: {error}");
    }
}

type Answer = Response<Full<Bytes>>;

impl Source {
    fn answer<B>(&self, request: &Request<B>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            "/metrics" => self.metrics(),
            "/health" => self.health(request.uri().query()),
            "/" => plain(StatusCode::OK, "walferry: /metrics, /health\n"),
            _ => plain(StatusCode::NOT_FOUND, "there are /metrics and /health\n"),
        }
    }

    fn metrics(&self) -> Answer {
        let databases = self.databases.borrow();
        let page = exposition::page(
            databases.iter().map(Rc::as_ref),
            self.clock.now(),
            self.start.elapsed(),
        );
        match page {
            Ok(page) => answer(StatusCode::OK, exposition::CONTENT_TYPE, page),
            Err(_) => plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the metrics cannot be written\n",
            ),
        }
    }

    fn health(&self, query: Option<&str>) -> Answer {
        let max_lag = match query.map(max_lag) {
            None => MAX_LAG,
            Some(Some(max_lag)) => max_lag,
            Some(None) => return plain(StatusCode::BAD_REQUEST, "write /health or /health?max-lag=30s\n"),
        };
        let databases = self.databases.borrow();
        let health = Health::of(databases.iter().map(Rc::as_ref), max_lag, self.clock.now());
        let status = if health.is_ok() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let body = serde_json::to_string(&health).unwrap_or_default();
        answer(status, "application/json", body + "\n")
    }
}

fn max_lag(query: &str) -> Option<Duration> {
    let time: jiff::SignedDuration = query.strip_prefix("max-lag=")?.parse().ok()?;
    Duration::try_from(time).ok()
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    answer(status, "text/plain; charset=utf-8", text)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
