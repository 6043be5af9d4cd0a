//! A replica behind a Worker, read over `fetch`.

mod at_once;
mod request;

pub use at_once::AtOnce;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use web_sys::AbortSignal;

use super::Error as BrowserError;
use crate::ltx::Txid;
use crate::replica::{Level, Plan, Position, SegmentId, SegmentInfo};
use crate::store::{Body, Error, Result, Store};
use request::{Answer, Request};

/// One database of a Worker.
#[derive(Clone, Debug)]
pub struct HttpStore {
    /// `https://host/v1/database`
    base: String,
    token: String,
    signal: Option<AbortSignal>,
}

#[derive(Deserialize)]
struct Listing {
    segments: Vec<SegmentInfo>,
    next: Option<String>,
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
        let plan: Plan = json(&answer)?;
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
impl Store for HttpStore {
    async fn list(&self, level: Level, after: Txid) -> Result<Vec<SegmentInfo>> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut path = format!("/ltx?level={level}&after={after}");
            if let Some(cursor) = cursor {
                path.push_str("&cursor=");
                path.push_str(&String::from(js_sys::encode_uri_component(&cursor)));
            }
            let mut page: Listing = json(&self.get(&path, None).await?)?;
            all.append(&mut page.segments);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }

    async fn stat(&self, id: SegmentId) -> Result<Option<SegmentInfo>> {
        let before = Txid(id.max.0.saturating_sub(1));
        let listing = self.list(id.level, before).await?;
        Ok(listing.into_iter().find(|segment| segment.id == id))
    }

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

    async fn create(&self, id: SegmentId, _: &dyn Body) -> Result<()> {
        Err(Error::Denied(format!(
            "segment {id} is not created: a browser only reads"
        )))
    }

    async fn delete(&self, id: SegmentId) -> Result<()> {
        Err(Error::Denied(format!(
            "segment {id} is not deleted: a browser only reads"
        )))
    }
}

fn json<T: DeserializeOwned>(answer: &Answer) -> Result<T> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        Error::Protocol(format!(
            "{} answered with something that is no Worker's: {error}",
            answer.url
        ))
    })
}
