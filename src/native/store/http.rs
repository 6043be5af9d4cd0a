//! Requests to a Worker, and what its answers mean.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until, timeout};

use super::destination::is_loopback;
use super::meter::{Kind, Meter};
use crate::replica::Position;
use crate::store::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that is silent for so long is gone.
pub(super) const SILENCE: Duration = Duration::from_secs(30);
/// The longest wait that a Worker can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// The longest error message that is read.
const MAX_ERROR: usize = 64 * 1024;

/// One database at a Worker, with what it takes to be let in.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    database: Url,
    has_token: bool,
    /// Set by an answer with Retry-After: no request before that.
    not_before: Cell<Option<Instant>>,
    meter: Arc<Meter>,
}

/// The JSON of an answer that is an error.
#[derive(Debug, Deserialize)]
struct Failure {
    error: Detail,
}

#[derive(Debug, Deserialize)]
struct Detail {
    code: String,
    message: String,
    head: Option<Position>,
}

impl Http {
    pub(super) fn new(database: Url, token: Option<&str>, meter: Arc<Meter>) -> Result<Self> {
        let token = token.map(str::trim).filter(|token| !token.is_empty());
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                Error::Denied(
                    "WALFERRY_TOKEN holds characters that no token has, a line break perhaps".to_owned(),
                )
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut client = Client::builder()
            .user_agent(concat!("walferry/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&database) {
            client = client.no_proxy();
        }
        let client = client
            .build()
            .map_err(|error| Error::Unavailable(format!("HTTPS cannot be set up: {}", root_cause(&error))))?;
        Ok(Self {
            client,
            database,
            has_token: token.is_some(),
            not_before: Cell::new(None),
            meter,
        })
    }

    /// A request for something below the database's URL.
    pub(super) fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.database.clone();
        url.set_path(&format!("{}{path}", self.database.path()));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.client.request(method, url)
    }

    /// Sends a request and takes only success for an answer; `what` was asked for.
    pub(super) async fn send(&self, kind: Kind, request: RequestBuilder, what: &str) -> Result<Response> {
        let response = self.exchange(kind, request.send(), SILENCE).await?;
        self.check(kind, response, what).await
    }

    /// Content of an upload that was answered.
    pub(super) fn sent(&self, bytes: u64) {
        self.meter.sent(Kind::Put, bytes);
    }

    /// Content that was read.
    pub(super) fn received(&self, bytes: u64) {
        self.meter.received(Kind::Get, bytes);
    }

    /// Waits for an answer, whatever it says.
    pub(super) async fn exchange(
        &self,
        kind: Kind,
        answer: impl Future<Output = reqwest::Result<Response>>,
        patience: Duration,
    ) -> Result<Response> {
        if let Some(time) = self.not_before.take() {
            sleep_until(time).await;
        }
        let start = Instant::now();
        let answer = timeout(patience, answer).await;
        self.meter.request(kind, start.elapsed());
        let answer = answer.map_err(|_| {
            self.meter.error(kind, "timeout");
            self.silent(patience)
        })?;
        answer.map_err(|error| {
            let code = if error.is_connect() {
                "connect"
            } else {
                "broken_off"
            };
            self.meter.error(kind, code);
            self.unreachable(&error)
        })
    }

    /// The answer, if it is a success.
    pub(super) async fn check(&self, kind: Kind, mut response: Response, what: &str) -> Result<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        self.meter.error(kind, status.as_str());
        if let Some(wait) = retry_after(response.headers()) {
            self.not_before.set(Instant::now().checked_add(wait));
        }
        let body = self.body(&mut response, MAX_ERROR).await.unwrap_or_default();
        Err(self.meaning(status, &body, what))
    }

    /// The whole body, of at most `limit` bytes.
    pub(super) async fn body(&self, response: &mut Response, limit: usize) -> Result<Bytes> {
        let mut body = Vec::new();
        while let Some(chunk) = timeout(SILENCE, response.chunk())
            .await
            .map_err(|_| self.silent(SILENCE))?
            .map_err(|error| self.unreachable(&error))?
        {
            if body.len().saturating_add(chunk.len()) > limit {
                return Err(self.foreign("answers at greater length than it was asked for"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    /// The answer is not of a Worker of ours.
    pub(super) fn foreign(&self, does: &str) -> Error {
        Error::Protocol(format!(
            "{} {does}: it is no walferry Worker, or of another version; check the URL",
            self.database
        ))
    }

    pub(super) fn silent(&self, patience: Duration) -> Error {
        Error::Unavailable(format!(
            "{} does not answer within {} s",
            self.database,
            patience.as_secs()
        ))
    }

    pub(super) fn unreachable(&self, error: &reqwest::Error) -> Error {
        let what = if error.is_connect() {
            "cannot be reached"
        } else {
            "broke off"
        };
        Error::Unavailable(format!("{} {what}: {}", self.database, root_cause(error)))
    }

    fn meaning(&self, status: StatusCode, body: &[u8], what: &str) -> Error {
        let Ok(Failure { error: detail }) = serde_json::from_slice(body) else {
            return self.meaning_of_status(status, what);
        };
        let message = detail.message.trim_end_matches('.').to_owned();
        match (status.as_u16(), detail.head) {
            (401, _) if !self.has_token => {
                Error::Denied(format!("{} wants a token: set WALFERRY_TOKEN", self.database))
            }
            (401, _) => Error::Denied(format!(
                "{} refuses the token in WALFERRY_TOKEN: {message}",
                self.database
            )),
            (403, _) => Error::Denied(format!("{} denies it: {message}", self.database)),
            (404, _) if detail.code == "unknown_route" => self.foreign(&format!("answers {message:?}")),
            (404, _) => Error::NotFound(what.to_owned()),
            (409, Some(head)) => Error::Conflict { head },
            (409, None) => Error::Exists(what.to_owned()),
            (416, _) => Error::OutOfRange(what.to_owned()),
            (408 | 429 | 500.., _) => {
                Error::Unavailable(format!("{} is unavailable: {message}", self.database))
            }
            _ => Error::Refused(format!(
                "{} refuses {what}: {message} ({})",
                self.database, detail.code
            )),
        }
    }

    /// Without our JSON: an answer to HEAD, a proxy, another server.
    fn meaning_of_status(&self, status: StatusCode, what: &str) -> Error {
        match status.as_u16() {
            401 | 403 => Error::Denied(format!(
                "{} answers {status}: check the URL and WALFERRY_TOKEN",
                self.database
            )),
            408 | 429 | 500.. => {
                Error::Unavailable(format!("{} is unavailable: it answers {status}", self.database))
            }
            416 => Error::OutOfRange(what.to_owned()),
            _ => self.foreign(&format!("answers {status}")),
        }
    }
}

impl std::fmt::Display for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.database.fmt(f)
    }
}

/// Seconds only; a date would need the peer's clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// The last in a chain of causes: "connection refused", not "error sending request".
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ltx::{DbSum, Txid};

    fn http(token: Option<&str>) -> Http {
        let url = Url::parse("http://127.0.0.1:1/v1/app").unwrap();
        Http::new(url, token, Meter::new()).unwrap()
    }

    fn meaning(status: u16, body: &str) -> Error {
        let status = StatusCode::from_u16(status).unwrap();
        http(Some("t")).meaning(status, body.as_bytes(), "segment 0/x")
    }

    #[test]
    fn statuses_become_what_a_caller_does_about_them() {
        let json = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"Why."}}}}"#);
        assert!(matches!(meaning(401, &json("x")), Error::Denied(why) if why.contains("Why")));
        assert!(matches!(meaning(403, &json("x")), Error::Denied(_)));
        assert!(matches!(meaning(404, &json("not_found")), Error::NotFound(what) if what == "segment 0/x"));
        assert!(matches!(meaning(404, &json("unknown_route")), Error::Protocol(_)));
        assert!(matches!(meaning(409, &json("exists")), Error::Exists(_)));
        assert!(matches!(meaning(411, &json("x")), Error::Refused(why) if why.contains("Why (x)")));
        assert!(matches!(meaning(416, &json("x")), Error::OutOfRange(_)));
        assert!(matches!(meaning(422, &json("x")), Error::Refused(_)));
        for passing in [408, 429, 500, 503, 524] {
            assert!(meaning(passing, &json("x")).is_passing());
            assert!(meaning(passing, "<html>").is_passing());
        }
        assert!(matches!(meaning(404, "<html>"), Error::Protocol(_)));
        assert!(matches!(meaning(301, ""), Error::Protocol(_)));
    }

    #[test]
    fn a_conflict_tells_the_head() {
        let body = r#"{"error":{"code":"position_mismatch","message":"No.","head":{"txid":"000000000000000a","sum":"00000000000000ff"}}}"#;
        let head = Position {
            txid: Txid(10),
            sum: Some(DbSum(255)),
        };
        assert!(matches!(meaning(409, body), Error::Conflict { head: found } if found == head));
        let without_sum = body.replace("\"00000000000000ff\"", "null");
        assert!(matches!(meaning(409, &without_sum), Error::Conflict { head } if head.sum.is_none()));
    }

    #[test]
    fn a_missing_token_is_said_to_be_missing() {
        let body = br#"{"error":{"code":"unauthorized","message":"No token."}}"#;
        let error = http(None).meaning(StatusCode::UNAUTHORIZED, body, "x");
        assert!(error.to_string().contains("set WALFERRY_TOKEN"), "{error}");
    }
}
