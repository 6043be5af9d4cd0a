//! What a Worker tells those who follow a database, as it happens: a WebSocket at `/follow`.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use reqwest::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use reqwest::{Method, StatusCode, Upgraded};
use serde::Deserialize;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::http::{Http, SILENCE};
use super::meter::Kind;
use crate::replica::Position;
use crate::store::{Error, Result};

/// The protocol's name.
const PROTOCOL: &str = "walferry.v1";
/// Longer than any segment that is pushed.
const MAX_MESSAGE: usize = 1024 * 1024;
/// Without news, the Worker is asked whether it is still there; it answers without waking the database.
const PING_AFTER: Duration = Duration::from_secs(30);
const PING: &str = "ping";
const PONG: &str = "pong";

/// The news of one database at a Worker, for who joins.
#[derive(Debug)]
pub struct Live {
    http: Http,
}

/// A connection on which news come.
#[derive(Debug)]
pub struct News {
    socket: WebSocketStream<Upgraded>,
    whose: String,
}

/// A piece of news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A segment as it landed, whole.
    Segment(Bytes),
    /// The database stands there now; how it came there is to be asked for.
    Position(Position),
}

#[derive(Deserialize)]
struct Announcement {
    position: Position,
}

impl Live {
    pub(super) fn new(http: Http) -> Self {
        Self { http }
    }

    /// Connects. The first that is told is where the database stands. [`Error::is_passing`] tells whether it may be tried
    /// again.
    pub async fn join(&self) -> Result<News> {
        let what = "the following of it";
        let key = RandomState::new();
        let key = [key.hash_one(1).to_be_bytes(), key.hash_one(2).to_be_bytes()].concat();
        let request = self
            .http
            .request(Method::GET, "/follow", &[])
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", BASE64_STANDARD.encode(key))
            .header(SEC_WEBSOCKET_PROTOCOL, PROTOCOL);
        let response = self.http.exchange(Kind::Get, request.send(), SILENCE).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            self.http.check(Kind::Get, response, what).await?;
            return Err(self.http.foreign("does not speak WebSocket"));
        }
        let protocol = response.headers().get(SEC_WEBSOCKET_PROTOCOL);
        if protocol.map(HeaderValue::as_bytes) != Some(PROTOCOL.as_bytes()) {
            return Err(self.http.foreign("speaks another protocol to those who follow"));
        }
        let upgraded = response.upgrade().await;
        let upgraded = upgraded.map_err(|error| self.http.unreachable(&error))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        Ok(News {
            socket: WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await,
            whose: self.http.to_string(),
        })
    }
}

impl News {
    /// Waits for what is told next. After an error, join again.
    ///
    /// Dropped while it waits, nothing is lost.
    pub async fn next(&mut self) -> Result<Told> {
        let mut has_asked = false;
        loop {
            match timeout(PING_AFTER, self.socket.next()).await {
                Ok(message) => match self.read(message)? {
                    Some(told) => return Ok(told),
                    None => has_asked = false,
                },
                Err(_) if has_asked => return Err(self.gone("is silent")),
                Err(_) => {
                    has_asked = true;
                    let asked = self.socket.send(Message::text(PING)).await;
                    asked.map_err(|error| self.gone(&error.to_string()))?;
                }
            }
        }
    }

    /// What has been told already, if there is something.
    pub fn told(&mut self) -> Result<Option<Told>> {
        while let Some(message) = self.socket.next().now_or_never() {
            if let Some(told) = self.read(message)? {
                return Ok(Some(told));
            }
        }
        Ok(None)
    }

    /// `None` for what is no news.
    fn read(
        &self,
        message: Option<std::result::Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<Option<Told>> {
        let message = message.ok_or_else(|| self.gone("has ended"))?;
        match message.map_err(|error| self.gone(&error.to_string()))? {
            Message::Binary(segment) => Ok(Some(Told::Segment(segment))),
            Message::Text(text) if text.as_str() == PONG => Ok(None),
            Message::Text(text) => {
                let told: Announcement = serde_json::from_str(&text).map_err(|_| {
                    Error::Protocol(format!("{} tells those who follow no position", self.whose))
                })?;
                Ok(Some(Told::Position(told.position)))
            }
            Message::Close(why) => {
                let why = why.map_or_else(String::new, |why| format!(": {}", why.reason));
                Err(self.gone(&format!("was closed{why}")))
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
        }
    }

    fn gone(&self, why: &str) -> Error {
        Error::Unavailable(format!(
            "the connection by which {} is followed {why}",
            self.whose
        ))
    }
}
