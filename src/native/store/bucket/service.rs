//! The HTTP under all buckets: one pool of connections a thread, every request counted, every refusal understood.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hyper::http::Method;
use hyper::http::header::{HeaderValue, IF_NONE_MATCH, RANGE};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use tokio::runtime::{Handle, Id};
use tokio::time::timeout;

use super::answer::Answer;
use crate::native::store::meter::{Kind, Meter};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Where there is a service for credentials, it answers soon.
const CREDENTIALS: Duration = Duration::from_secs(5);
/// An answer without content comes within this time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Content moves at least so fast.
const SLOWEST: u64 = 16 * 1024;
/// Joining the parts of a large object may take long.
const COMPLETION: Duration = Duration::from_secs(600);
/// Idle connections that are kept, a host.
const IDLE_CONNECTIONS: usize = 8;

/// How a client differs from the usual one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trust {
    /// Accept any certificate.
    pub(super) any_certificate: bool,
    /// The peer is this machine: no proxy leads there.
    pub(super) local: bool,
}

/// What one bucket's requests share; makes the clients that the library asks for.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    /// Host and port of the bucket; what goes elsewhere asks for credentials.
    pub(super) authority: String,
    pub(super) trust: Trust,
    pub(super) meter: Arc<Meter>,
    /// Whether a large object may be completed only where there is none.
    pub(super) conditional_completion: Arc<AtomicBool>,
    /// Whether the bucket was ever reached with credentials.
    pub(super) was_reached: Arc<AtomicBool>,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = shared_client(self.trust).map_err(|source| object_store::Error::Generic {
            store: "HTTPS",
            source: Box::new(source),
        })?;
        Ok(HttpClient::new(Service {
            client,
            shared: self.clone(),
        }))
    }
}

/// Credentials were asked for, of the machine or of a service, and did not come.
#[derive(Debug, thiserror::Error)]
#[error("no credentials: {0}")]
pub(super) struct NoCredentials(String);

/// It took too long.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs())]
pub(super) struct Silent(Duration);

#[derive(Debug)]
struct Service {
    client: reqwest::Client,
    shared: Connector,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let ours = request.uri().authority().map(|authority| authority.as_str());
        if ours != Some(&self.shared.authority) {
            return match timeout(CREDENTIALS, self.credentials(request)).await {
                Ok(Ok(response)) if response.status().is_success() => Ok(response),
                Ok(Ok(response)) => {
                    let status = response.status();
                    let kind = if status.is_server_error() {
                        HttpErrorKind::Interrupted
                    } else {
                        HttpErrorKind::Unknown
                    };
                    Err(HttpError::new(
                        kind,
                        NoCredentials(format!("it answers {status}")),
                    ))
                }
                Ok(Err(error)) => Err(HttpError::new(error.kind(), NoCredentials(error.to_string()))),
                Err(_) => Err(HttpError::new(
                    HttpErrorKind::Timeout,
                    NoCredentials(Silent(CREDENTIALS).to_string()),
                )),
            };
        }
        let completes = is_completion(&request);
        if completes && self.shared.conditional_completion.load(Ordering::Relaxed) {
            // Not among the signed headers, which is allowed.
            request
                .headers_mut()
                .insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let kind = kind(&request);
        let sent = request.body().content_length() as u64;
        let limit = if completes { COMPLETION } else { patience(&request) };
        let start = Instant::now();
        let exchange = timeout(limit, self.exchange(request)).await;
        let result = exchange.unwrap_or_else(|_| Err(HttpError::new(HttpErrorKind::Timeout, Silent(limit))));

        let meter = &self.shared.meter;
        meter.request(kind, start.elapsed());
        meter.sent(kind, sent);
        match result {
            Ok((parts, body)) if parts.status.is_success() => {
                self.shared.was_reached.store(true, Ordering::Relaxed);
                meter.received(kind, body.len() as u64);
                Ok(HttpResponse::from_parts(parts, body.into()))
            }
            Ok((parts, body)) => {
                meter.error(kind, parts.status.as_str());
                let answer = Answer::new(parts.status.as_u16(), &parts.headers, &body);
                // What may pass is tried again where that is safe; the rest is for who asked to decide.
                let passing = matches!(answer.status, 408 | 429 | 500 | 502..);
                let kind = if passing {
                    HttpErrorKind::Interrupted
                } else {
                    HttpErrorKind::Unknown
                };
                Err(HttpError::new(kind, answer))
            }
            Err(error) => {
                meter.error(kind, transport(error.kind()));
                Err(error)
            }
        }
    }
}

impl Service {
    /// Asks a service for credentials, or the machine itself, to which no proxy leads.
    async fn credentials(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host = request.uri().host().unwrap_or_default();
        if host.starts_with("169.254.") || host == "metadata" || host == "metadata.google.internal" {
            let trust = Trust {
                local: true,
                ..Trust::default()
            };
            let client =
                shared_client(trust).map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
            return HttpService::call(&client, request).await;
        }
        HttpService::call(&self.client, request).await
    }

    async fn exchange(
        &self,
        request: HttpRequest,
    ) -> Result<(hyper::http::response::Parts, bytes::Bytes), HttpError> {
        let response = HttpService::call(&self.client, request).await?;
        let (parts, body) = response.into_parts();
        let body = body.bytes().await?;
        Ok((parts, body))
    }
}

/// A fault of the connection in a word.
fn transport(kind: HttpErrorKind) -> &'static str {
    match kind {
        HttpErrorKind::Connect => "connect",
        HttpErrorKind::Timeout => "timeout",
        _ => "broken_off",
    }
}

fn query(request: &HttpRequest) -> &str {
    request.uri().query().unwrap_or_default()
}

fn has(query: &str, key: &str) -> bool {
    query.split('&').any(|pair| pair.split('=').next() == Some(key))
}

/// Joins the parts of a large object in S3.
fn is_completion(request: &HttpRequest) -> bool {
    request.method() == Method::POST && has(query(request), "uploadId")
}

fn kind(request: &HttpRequest) -> Kind {
    let query = query(request);
    match *request.method() {
        Method::HEAD => Kind::Head,
        Method::DELETE => Kind::Delete,
        Method::POST if has(query, "delete") => Kind::Delete,
        Method::GET if has(query, "list-type") || has(query, "comp") => Kind::List,
        Method::GET => Kind::Get,
        _ => Kind::Put,
    }
}

/// How long a request may take, by what it moves.
fn patience(request: &HttpRequest) -> Duration {
    let asked = request.headers().get(RANGE).and_then(|range| {
        let (first, last) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
        last.parse::<u64>().ok()?.checked_sub(first.parse().ok()?)
    });
    let moved = asked
        .unwrap_or_default()
        .saturating_add(request.body().content_length() as u64);
    PATIENCE.saturating_add(Duration::from_secs(moved / SLOWEST))
}

thread_local! {
    /// Certificates and connections cost memory: hundreds of databases share them.
    static CLIENTS: RefCell<Vec<(Id, Trust, reqwest::Client)>> = const { RefCell::new(Vec::new()) };
}

/// The client of this thread's runtime. Connections belong to the runtime that they were opened in.
fn shared_client(trust: Trust) -> reqwest::Result<reqwest::Client> {
    let runtime = Handle::try_current().ok().map(|handle| handle.id());
    let known = CLIENTS.with_borrow(|clients| {
        let mut same = clients
            .iter()
            .filter(|(id, of, _)| Some(*id) == runtime && *of == trust);
        same.next().map(|(_, _, client)| client.clone())
    });
    if let Some(client) = known {
        return Ok(client);
    }
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("walferry/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .tls_danger_accept_invalid_certs(trust.any_certificate);
    if trust.local {
        builder = builder.no_proxy();
    }
    let client = builder.build()?;
    if let Some(runtime) = runtime {
        CLIENTS.with_borrow_mut(|clients| {
            clients.retain(|(id, _, _)| *id == runtime);
            clients.push((runtime, trust, client.clone()));
        });
    }
    Ok(client)
}
