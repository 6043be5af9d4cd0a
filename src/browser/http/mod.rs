//! A replica behind a Worker, or in a bucket or a folder, read over `fetch`.

#[cfg(feature = "browser")]
mod at_once;
mod json;
#[cfg(feature = "browser")]
mod plain;
mod request;

#[cfg(feature = "browser")]
pub use at_once::AtOnce;

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use async_trait::async_trait;
use bytes::Bytes;
use wasm_bindgen::JsValue;
use web_sys::AbortSignal;

use super::{Error as BrowserError, told};
#[cfg(feature = "browser")]
use crate::ltx::Txid;
#[cfg(feature = "browser")]
use crate::replica::Target;
use crate::replica::{Layout, Plan, Position, SegmentId};
use crate::store::{Error, Result, Source};
use request::{Answer, Request};

/// One database of a Worker, or one replica in a bucket or in a folder.
#[derive(Clone, Debug)]
pub struct HttpStore {
    kind: Kind,
    /// Where its objects are; `https://host/v1/database` at a Worker.
    base: String,
    token: String,
    signal: Option<AbortSignal>,
    /// Whether nothing waits: every answer is there when it is asked for.
    at_once: bool,
    /// When all of it was last looked at, where nobody tells what there is: Unix milliseconds.
    looked: Rc<Cell<f64>>,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Ours.
    Worker,
    /// What speaks S3's protocol, read by anyone.
    Bucket {
        /// The bucket.
        url: String,
        /// What the replica's keys start with.
        prefix: String,
    },
    /// A server of files that shows what is in a folder.
    Folder,
}

impl HttpStore {
    /// The database `database` at `url`, for those that everybody may read: of the Worker there; after `s3+`, of the bucket;
    /// after `files+`, of the server of files.
    pub fn new(url: &str, database: &str) -> Self {
        let url = url.trim_end_matches('/');
        let below = |url: &str| format!("{url}/{database}").trim_end_matches('/').to_owned();
        let (kind, base) = match url.split_once('+') {
            Some(("s3", url)) => {
                let prefix = match database {
                    "" => String::new(),
                    path => format!("{path}/"),
                };
                let bucket = url.to_owned();
                (Kind::Bucket { url: bucket, prefix }, below(url))
            }
            Some(("files", url)) => (Kind::Folder, below(url)),
            _ => (Kind::Worker, format!("{url}/v1/{database}")),
        };
        Self {
            kind,
            base,
            token: String::new(),
            signal: None,
            at_once: false,
            looked: Rc::default(),
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
    fn is_aborted(&self) -> bool {
        self.signal.as_ref().is_some_and(AbortSignal::aborted)
    }

    /// What has come of reading it, for JavaScript.
    pub(super) fn told<T>(
        &self,
        result: std::result::Result<T, BrowserError>,
    ) -> std::result::Result<T, JsValue> {
        result.map_err(|error| match self.is_aborted() {
            true => told::error(&BrowserError::Aborted),
            false => told::error(&error),
        })
    }

    /// The same, and nothing waits.
    #[cfg(feature = "browser")]
    fn at_once(self) -> Self {
        Self {
            at_once: true,
            ..self
        }
    }

    /// Whether what is chosen here may be gone when it is read.
    pub fn is_plain(&self) -> bool {
        self.kind != Kind::Worker
    }

    /// What was seen there is not so any more.
    pub fn forget(&self) {
        self.looked.set(0.0);
    }

    /// What leads from `from` to the newest state; nothing if that is it.
    pub async fn plan(&self, from: Position) -> std::result::Result<Plan, BrowserError> {
        // The module without SQLite reads Workers only, and is kept as small as that.
        #[cfg(feature = "browser")]
        if self.is_plain() {
            return plain::newest(self, from).await;
        }
        let planned = self.planned(format!("/plan?from={}", from.txid)).await;
        let (plan, answer) = planned.map_err(|error| match error {
            Error::Refused(why) => BrowserError::Diverged(why),
            other => other.into(),
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

    /// What leads to the state of a transaction.
    #[cfg(feature = "browser")]
    pub async fn plan_of(&self, txid: Txid) -> std::result::Result<Plan, BrowserError> {
        if self.is_plain() {
            return plain::chosen(self, Target::Txid(txid), Txid::ZERO).await;
        }
        Ok(self.planned(format!("/plan?txid={txid}")).await?.0)
    }

    async fn planned(&self, path: String) -> Result<(Plan, Answer)> {
        let answer = self.get(&path, None).await?;
        let plan = json::plan(&answer.body).ok_or_else(|| {
            let url = &answer.url;
            Error::Protocol(format!("{url} answered with something that is no Worker's plan"))
        })?;
        Ok((plan, answer))
    }

    async fn get(&self, path: &str, range: Option<Range<u64>>) -> Result<Answer> {
        self.get_at(format!("{}{path}", self.base), range, false).await
    }

    async fn get_at(&self, url: String, range: Option<Range<u64>>, head: bool) -> Result<Answer> {
        let request = Request {
            url,
            token: &self.token,
            range,
            signal: self.signal.as_ref(),
            head,
        };
        match cfg!(feature = "browser") && self.at_once {
            true => request.send_at_once(),
            false => request.send().await,
        }
    }

    /// Where an object is.
    fn address(&self, id: SegmentId) -> String {
        let key = match self.kind {
            Kind::Worker => format!("ltx/{}/{}", id.level, id.file_name()),
            Kind::Bucket { .. } => id.key(Layout::Bucket),
            Kind::Folder => id.key(Layout::Folder),
        };
        format!("{}/{key}", self.base)
    }
}

#[async_trait(?Send)]
impl Source for HttpStore {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        let len = range.end.saturating_sub(range.start);
        let answer = self.get_at(self.address(id), Some(range), false).await?;
        if answer.body.len() as u64 == len {
            Ok(answer.body)
        } else {
            Err(Error::OutOfRange(format!("segment {id}")))
        }
    }
}
