//! A replica at a Worker, over HTTP.

use std::cell::Cell;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::time::timeout;

use super::http::{Http, SILENCE};
use super::meter::{Kind, Meter};
use super::upload;
use crate::ltx::{Timestamp, Txid};
use crate::replica::{Level, SegmentId, SegmentInfo};
use crate::store::{Body, Error, Result, Source, Store};

/// A segment's time, in Unix milliseconds.
const TIMESTAMP: &str = "Walferry-Timestamp";
/// Where an upload in parts goes on.
const OFFSET: &str = "Walferry-Offset";
/// How often a Worker may send an attempt to another offset.
const MAX_JUMPS: u32 = 3;
/// A page of a listing is not longer than this.
const MAX_LISTING: usize = 16 * 1024 * 1024;
/// After the last byte of an upload the Worker checks and stores it.
const ANSWER: Duration = Duration::from_secs(120);
/// While an upload moves it may take so long.
const LONGEST_UPLOAD: Duration = Duration::from_secs(24 * 3600);

/// One database at a Worker. The routes are in the Worker's own documentation.
#[derive(Debug)]
pub struct WorkerStore {
    http: Http,
    /// How far an upload in parts has come: its segment, length and offset.
    taken: Cell<Option<(SegmentId, u64, u64)>>,
}

/// One page of `GET …/ltx`.
#[derive(Debug, Deserialize)]
struct Listing {
    segments: Vec<SegmentInfo>,
    next: Option<String>,
}

impl WorkerStore {
    /// The database at `https://host/v1/name`; no request is made yet.
    pub fn new(database: Url, token: Option<&str>, meter: Arc<Meter>) -> Result<Self> {
        Http::new(database, token, meter).map(|http| Self {
            http,
            taken: Cell::new(None),
        })
    }

    /// The segments of a level or of all, as often as there are pages.
    async fn listing(&self, level: Option<Level>, after: Txid) -> Result<Vec<SegmentInfo>> {
        let mut listing = self.page(level, after, None).await?;
        let mut segments = listing.segments;
        while let Some(cursor) = listing.next {
            listing = self.page(level, after, Some(&cursor)).await?;
            segments.append(&mut listing.segments);
        }
        Ok(segments)
    }

    async fn page(&self, level: Option<Level>, after: Txid, cursor: Option<&str>) -> Result<Listing> {
        let (level, after) = (level.map(|level| level.to_string()), after.to_string());
        let mut query = vec![("after", after.as_str())];
        query.extend(level.as_deref().map(|level| ("level", level)));
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let request = self.http.request(Method::GET, "/ltx", &query);
        let mut response = self.http.send(Kind::List, request, "the listing").await?;
        let body = self.http.body(&mut response, MAX_LISTING).await?;
        serde_json::from_slice(&body)
            .map_err(|_| self.http.foreign("answers with something else than a listing"))
    }

    /// Sends the parts of a long segment one after the other. After a fault, the next attempt goes on where the Worker has
    /// come to.
    async fn create_in_parts(&self, id: SegmentId, body: &dyn Body) -> Result<()> {
        let (what, len) = (format!("segment {id}"), body.len());
        let known = self.taken.take().filter(|taken| (taken.0, taken.1) == (id, len));
        let mut at = known.map_or(0, |(_, _, at)| at);
        let mut jumps = 0;
        loop {
            self.taken.set(Some((id, len, at)));
            let end = at.saturating_add(upload::PART).min(len);
            let path = format!("/ltx/{}/{}", id.level, id.file_name());
            let query = [("offset", at.to_string()), ("size", len.to_string())];
            let query = query.each_ref().map(|(name, value)| (*name, value.as_str()));
            let request = self.http.request(Method::PUT, &path, &query);
            let response = self.put(request, body, at..end).await?;
            let offset = number(response.headers().get(OFFSET));
            if let (StatusCode::CONFLICT, Some(offset)) = (response.status(), offset)
                && jumps < MAX_JUMPS
            {
                jumps += 1;
                at = if offset < len { offset } else { 0 };
                continue;
            }
            let checked = self.http.check(Kind::Put, response, &what).await;
            if end == len || checked.as_ref().is_err_and(|error| !error.is_passing()) {
                self.taken.set(None);
            }
            checked?;
            if end == len {
                return Ok(());
            }
            at = end;
        }
    }

    /// Sends a range of `body`.
    async fn put(&self, request: RequestBuilder, body: &dyn Body, range: Range<u64>) -> Result<Response> {
        let len = range.end.saturating_sub(range.start);
        let request = request
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, len);
        let response = if len <= upload::SMALL {
            let bytes = body.read(range).await?;
            self.http
                .exchange(Kind::Put, request.body(bytes).send(), ANSWER)
                .await?
        } else {
            let (stream, feed) = upload::streamed();
            let mut answer = std::pin::pin!(self.http.exchange(
                Kind::Put,
                request.body(stream).send(),
                LONGEST_UPLOAD
            ));
            tokio::select! {
                // A refusal may come before everything is sent.
                response = &mut answer => response?,
                fed = feed.pump(body, range) => {
                    fed?;
                    let patience = timeout(ANSWER, answer);
                    patience.await.map_err(|_| self.http.silent(ANSWER))??
                }
            }
        };
        self.http.sent(len);
        Ok(response)
    }

    fn segment(&self, method: Method, id: SegmentId) -> RequestBuilder {
        let path = format!("/ltx/{}/{}", id.level, id.file_name());
        self.http.request(method, &path, &[])
    }
}

#[async_trait(?Send)]
impl Source for WorkerStore {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        let what = format!("segment {id}");
        let Some(last) = range.end.checked_sub(1).filter(|&last| last >= range.start) else {
            return Ok(Bytes::new());
        };
        let request = self
            .segment(Method::GET, id)
            .header(RANGE, format!("bytes={}-{last}", range.start));
        let mut response = self.http.send(Kind::Get, request, &what).await?;
        let served = served_range(&response).ok_or_else(|| self.http.foreign("does not serve ranges"))?;
        if served.start != range.start || served.end > range.end {
            return Err(self.http.foreign("serves another range than it was asked for"));
        }
        // An answer ends where the object does.
        if served.end < range.end {
            return Err(Error::OutOfRange(what));
        }
        let len = range.end.saturating_sub(range.start);
        let bytes = self
            .http
            .body(&mut response, usize::try_from(len).unwrap_or(usize::MAX))
            .await?;
        if bytes.len() as u64 == len {
            self.http.received(len);
            Ok(bytes)
        } else {
            Err(Error::Unavailable(format!(
                "{what} came short: {} of {len} bytes",
                bytes.len()
            )))
        }
    }
}

#[async_trait(?Send)]
impl Store for WorkerStore {
    async fn list(&self, level: Level, after: Txid) -> Result<Vec<SegmentInfo>> {
        self.listing(Some(level), after).await
    }

    async fn list_all(&self, after: Txid) -> Result<Vec<SegmentInfo>> {
        self.listing(None, after).await
    }

    async fn stat(&self, id: SegmentId) -> Result<Option<SegmentInfo>> {
        let request = self.segment(Method::HEAD, id);
        let response = self.http.exchange(Kind::Head, request.send(), SILENCE).await?;
        // An answer to HEAD has no body to say more.
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let response = self
            .http
            .check(Kind::Head, response, &format!("segment {id}"))
            .await?;
        let size = number(response.headers().get(CONTENT_LENGTH));
        let size = size.ok_or_else(|| self.http.foreign("does not tell a segment's size"))?;
        Ok(Some(SegmentInfo {
            id,
            size,
            timestamp: number(response.headers().get(TIMESTAMP)).map(Timestamp),
        }))
    }

    async fn create(&self, id: SegmentId, body: &dyn Body) -> Result<()> {
        if body.len() > upload::WHOLE {
            return self.create_in_parts(id, body).await;
        }
        let request = self.segment(Method::PUT, id);
        let response = self.put(request, body, 0..body.len()).await?;
        let what = format!("segment {id}");
        self.http.check(Kind::Put, response, &what).await.map(drop)
    }

    async fn delete(&self, _id: SegmentId) -> Result<()> {
        Err(Error::Refused(
            "a Worker deletes by itself what retention allows".to_owned(),
        ))
    }
}

/// The part of the object that an answer holds.
fn served_range(response: &Response) -> Option<Range<u64>> {
    match response.status() {
        StatusCode::PARTIAL_CONTENT => {
            let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
            let (range, _) = range.strip_prefix("bytes ")?.split_once('/')?;
            let (first, last) = range.split_once('-')?;
            Some(first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?)
        }
        // The whole, where the whole was asked for.
        StatusCode::OK => Some(0..number(response.headers().get(CONTENT_LENGTH))?),
        _ => None,
    }
}

fn number<T: FromStr>(value: Option<&HeaderValue>) -> Option<T> {
    value?.to_str().ok()?.parse().ok()
}
