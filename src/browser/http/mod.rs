//! A replica behind a Worker, read over `fetch`.

mod at_once;
mod json;
mod request;

pub use at_once::AtOnce;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use web_sys::AbortSignal;

use super::Error as BrowserError;
use crate::replica::{Plan, Position, SegmentId};
use crate::store::{Error, Result, Source};
use request::{Answer, Request};

/// One database of a Worker.
#[derive(Clone, Debug)]
pub struct HttpStore {
    /// `https://host/v1/database`
    base: String,
    token: String,
    signal: Option<AbortSignal>,
}

impl HttpStore {
    /// The database `database` of the Worker at `url`, for those that everybody may read.
    pub fn new(url: &str, database: &str) -> Self {
        Self {
            base: format!("{}/v1/{database}", url.trim_end_matches('/')),
            token: String::new(),
            signal: None,
        }
    }

    /// The same, read with `token`.
    #[must_use]
    pub fn authorized(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// The same, read with `token`, given up when the signal says so.
    #[must_use]
    pub fn with(&self, token: &str, signal: AbortSignal) -> Self {
        Self {
            signal: Some(signal),
            ..self.authorized(token)
        }
    }

    /// Whether the signal has said so.
    pub fn is_aborted(&self) -> bool {
        self.signal.as_ref().is_some_and(AbortSignal::aborted)
    }

    /// What leads from `from` to the newest state; nothing if that is it.
    pub async fn plan(&self, from: Position) -> std::result::Result<Plan, BrowserError> {
        let path = format!("/plan?from={}", from.txid);
        let answer = self.get(&path, None).await.map_err(|error| match error {
            Error::Refused(why) => BrowserError::Diverged(why),
            other => other.into(),
        })?;
        let plan = json::plan(&answer.body).ok_or_else(|| {
            let url = &answer.url;
            Error::Protocol(format!("{url} answered with something that is no Worker's plan"))
        })?;
        match (plan.segments.is_empty(), answer.position(), from.sum) {
            (true, Some(Position { sum: Some(head), .. }), Some(sum)) if head != sum => {
                Err(BrowserError::Diverged(format!(
                    "transaction {} is another one there; the history was replaced",
                    from.txid
                )))
            }
            _ => Ok(plan),
        }
    }

    async fn get(&self, path: &str, range: Option<Range<u64>>) -> Result<Answer> {
        let request = Request {
            url: format!("{}{path}", self.base),
            token: &self.token,
            range,
            signal: self.signal.as_ref(),
        };
        request.send().await
    }
}

#[async_trait(?Send)]
impl Source for HttpStore {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        let path = format!("/ltx/{}/{}", id.level, id.file_name());
        let len = range.end.saturating_sub(range.start);
        let answer = self.get(&path, Some(range)).await?;
        if answer.body.len() as u64 == len {
            Ok(answer.body)
        } else {
            Err(Error::OutOfRange(format!("segment {id}")))
        }
    }
}
