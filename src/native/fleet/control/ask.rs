//! Asking a walferry that runs.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::messages::{
    DatabaseAnswer, InfoAnswer, LetGoAnswer, LetGoQuestion, Refusal, RegisterQuestion, SyncAnswer,
    SyncQuestion,
};

/// How large an answer may be: ten thousands of databases.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody listens.
    #[error("no walferry takes commands at {}: {source}; is socket enabled in its configuration?", path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It says why not.
    #[error("{0}")]
    Refused(String),
    /// The answer cannot be understood.
    #[error("what answers at the control socket is no walferry: {0}")]
    Unreadable(String),
}

/// Asks the walferry at a socket to sync a database.
pub async fn ask_sync(socket: &Path, question: &SyncQuestion) -> Result<SyncAnswer, AskError> {
    let body = serde_json::to_vec(question).map_err(|error| unreadable(&error))?;
    ask(socket, Method::POST, "/sync", body).await
}

/// Asks it to follow a database from now on.
pub async fn ask_register(socket: &Path, question: &RegisterQuestion) -> Result<LetGoAnswer, AskError> {
    let body = serde_json::to_vec(question).map_err(|error| unreadable(&error))?;
    ask(socket, Method::POST, "/register", body).await
}

/// Asks it to let go of one, or to take it up again: `request` is `/start`, `/stop` or `/unregister`.
pub async fn ask_to_let_go(
    socket: &Path,
    request: &str,
    question: &LetGoQuestion,
) -> Result<LetGoAnswer, AskError> {
    let body = serde_json::to_vec(question).map_err(|error| unreadable(&error))?;
    ask(socket, Method::POST, request, body).await
}

/// Asks it which databases it replicates, and how they are.
pub async fn ask_list(socket: &Path) -> Result<Vec<DatabaseAnswer>, AskError> {
    ask(socket, Method::GET, "/list", Vec::new()).await
}

/// Asks who it is.
pub async fn ask_info(socket: &Path) -> Result<InfoAnswer, AskError> {
    ask(socket, Method::GET, "/info", Vec::new()).await
}

async fn ask<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<T, AskError> {
    let silent = |source| AskError::Silent {
        path: socket.to_owned(),
        source,
    };
    let stream = UnixStream::connect(socket).await.map_err(silent)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreadable(&error))?;
    let connection = tokio::task::spawn_local(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(hyper::header::HOST, "walferry")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| unreadable(&error))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| unreadable(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES)
        .collect()
        .await
        .map_err(|error| AskError::Unreadable(error.to_string()))?
        .to_bytes();
    connection.abort();
    if status.is_success() {
        serde_json::from_slice(&body).map_err(|error| unreadable(&error))
    } else {
        let refusal: Refusal = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
        Err(AskError::Refused(refusal.error))
    }
}

fn unreadable(error: &dyn std::error::Error) -> AskError {
    AskError::Unreadable(error.to_string())
}
