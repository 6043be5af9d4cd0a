//! `GET /v1/{db}/db`: a state of a database, whole, for who has no client.
//!
//! It is restored here as anywhere, and streamed from its first page to its last in pieces, so that memory is the same
//! whatever its size. The last piece waits until the sum of all pages is proven: otherwise the answer breaks off short.

use std::cell::Cell;
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Poll, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use worker::wasm_bindgen_futures::spawn_local;
use worker::web_sys::ReadableStream;
use worker::{Env, Method, Request, Response, ResponseBody, Stub, console_error};

use super::at_least::AT_LEAST;
use super::failure::Failure;
use super::gate::{self, Permit};
use super::json::POSITION;
use super::pipe::Pipe;
use super::query::Query;
use super::r2::R2Store;
use super::route::Db;
use super::{bucket, database, download};
use crate::ltx::{DbSum, Timestamp, Txid};
use crate::replica::{Level, Position, SegmentId, SegmentInfo, Target};
use crate::restore::{self, Damage, Restore, plan_without};
use crate::store::{Body, Error, Result, Store};

/// Pages at once.
const PIECE: usize = 4 << 20;
/// Requests at once, of a mebibyte each.
const PARALLEL: usize = 4;
/// With indexes and small segments.
const MEMORY: u64 = 24 << 20;
/// What the CPU time that Cloudflare gives by default is enough for.
const MAX_SIZE: u64 = 2 << 30;
/// A variable: the same, where there is more.
const MAX_DOWNLOAD: &str = "WALFERRY_MAX_DOWNLOAD_BYTES";

pub(super) async fn get(request: &Request, env: &Env, db: Db) -> std::result::Result<Response, Failure> {
    let query = Query::of(request, &["txid", "timestamp"])?;
    let target = query.target()?;
    let permit = gate::enter(MEMORY)?;
    let store = Committed {
        stub: database(env, &db)?,
        store: R2Store::new(bucket(env)?, db.clone()),
        at_least: request.headers().get(AT_LEAST)?,
        refusal: Cell::new(None),
    };
    let limit = limit(env);
    let word = Rc::<Word>::default();
    let tell = Rc::clone(&word);
    // A task that outlives this one: it owns all that it works with.
    spawn_local(async move {
        let restore = match prepare(&store, target).await {
            Ok(restore) => restore,
            Err(error) => {
                let refusal = store.refusal.take();
                tell.say(Err(
                    refusal.map_or_else(|| Refusal::Ours(refused(error)), Refusal::Theirs)
                ));
                return;
            }
        };
        let size = u64::from(restore.commit()).saturating_mul(restore.page_size().len() as u64);
        let pipe = match check_size(&db, size, limit).and_then(|()| Ok(Pipe::new(size)?)) {
            Ok((pipe, readable)) => {
                tell.say(Ok((readable, size, restore.position(), restore.timestamp())));
                pipe
            }
            Err(failure) => {
                tell.say(Err(Refusal::Ours(failure)));
                return;
            }
        };
        if let Err(error) = send(&restore, &pipe, &permit).await {
            console_error!("{db} breaks off while it is sent: {error}");
            pipe.abort().await;
        }
    });
    let (readable, size, position, timestamp) = match word.hear().await {
        Ok(told) => told,
        Err(Refusal::Ours(failure)) => return Err(failure),
        Err(Refusal::Theirs((status, text))) => {
            let mut response = Response::ok(text)?.with_status(status);
            let headers = response.headers_mut();
            headers.set("Content-Type", "application/json")?;
            headers.set("Cache-Control", "no-store")?;
            if status == 503 {
                headers.set("Retry-After", "1")?;
            }
            return Ok(response);
        }
    };
    let mut response = Response::from_body(ResponseBody::Stream(readable))?;
    let headers = response.headers_mut();
    headers.set("Content-Type", "application/vnd.sqlite3")?;
    headers.set("Content-Length", &size.to_string())?;
    headers.set("Cache-Control", "no-store")?;
    headers.set(POSITION, &position.to_string())?;
    headers.set(download::TIMESTAMP, &timestamp.0.to_string())?;
    Ok(response)
}

type Told = std::result::Result<(ReadableStream, u64, Position, Timestamp), Refusal>;

/// Why nothing is sent: a failure of ours, or the answer of the database.
enum Refusal {
    Ours(Failure),
    Theirs((u16, String)),
}

/// What the task has to say before it sends: once.
#[derive(Default)]
struct Word {
    said: Cell<Option<Told>>,
    waker: Cell<Option<Waker>>,
}

impl Word {
    fn say(&self, told: Told) {
        self.said.set(Some(told));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    async fn hear(&self) -> Told {
        poll_fn(|cx| match self.said.take() {
            Some(told) => Poll::Ready(told),
            None => {
                self.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

async fn prepare(store: &Committed, target: Target) -> restore::Result<Restore<'_>> {
    let damage = Damage::default();
    let plan = plan_without(store, target, Txid::ZERO, &damage).await?;
    let restore = Restore::from_plan_with(store, plan, Position::EMPTY, PARALLEL).await?;
    let restore = restore.ok_or(crate::replica::PlanError::Empty)?;
    restore.at_or_before(target)
}

/// Sends all of it; the end only when everything is proven. Ends early when nobody listens any more.
async fn send(restore: &Restore<'_>, pipe: &Pipe, permit: &Permit) -> restore::Result<()> {
    let mut pieces = restore.in_order(PIECE);
    let mut sum = DbSum::EMPTY;
    let mut held: Vec<u8> = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        permit.renew();
        sum = sum.join(piece.sum);
        if !piece.bytes.is_empty() {
            let before = std::mem::replace(&mut held, piece.bytes);
            if !pipe.write(&before).await {
                return Ok(());
            }
        }
    }
    restore.prove(sum)?;
    pipe.write(&held).await;
    pipe.close().await;
    Ok(())
}

fn limit(env: &Env) -> u64 {
    let limit = env
        .var(MAX_DOWNLOAD)
        .ok()
        .and_then(|limit| limit.to_string().parse().ok());
    limit.unwrap_or(MAX_SIZE)
}

fn check_size(db: &Db, size: u64, limit: u64) -> std::result::Result<(), Failure> {
    if size <= limit {
        return Ok(());
    }
    let message = format!(
        "This state of {db} has {size} bytes, and {limit} at most are sent this way: use `walferry restore`, or raise \
         {MAX_DOWNLOAD} and cpu_ms in wrangler.toml."
    );
    Err(Failure::new(413, "too_large", message))
}

fn refused(error: restore::Error) -> Failure {
    match error {
        restore::Error::Plan(error) => Failure::new(
            404,
            "no_plan",
            format!("There is no way to restore that: {error}."),
        ),
        restore::Error::Store(error) => error.into(),
        // Deleted while it was looked at: planned again, the same state is found elsewhere.
        restore::Error::Missing(_) => Failure::passing("replica_moved", format!("{error}; try again.")),
        error => Failure::new(
            500,
            "replica_damaged",
            format!("That cannot be restored: {error}."),
        ),
    }
}

/// The objects that a database has committed.
struct Committed {
    stub: Stub,
    store: R2Store,
    at_least: Option<String>,
    /// What the database answered, if it refused.
    refusal: Cell<Option<(u16, String)>>,
}

#[derive(Deserialize)]
struct Listing {
    segments: Vec<SegmentInfo>,
    next: Option<String>,
}

impl Committed {
    async fn listing(&self, level: Option<Level>, after: Txid) -> Result<Vec<SegmentInfo>> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let db = self.store.db();
            let level = level.map_or_else(String::new, |level| level.to_string());
            let url = format!("https://database/v1/{db}/ltx?level={level}&after={after}&cursor={cursor}");
            let text = self
                .ask(&url)
                .await
                .map_err(|error| Error::Unavailable(error.to_string()))?;
            let mut page: Listing = serde_json::from_str(&text).map_err(|error| {
                Error::Protocol(format!("the database answered with no listing ({error})"))
            })?;
            all.append(&mut page.segments);
            match page.next {
                Some(next) => cursor = next.replace('/', "%2F"),
                None => return Ok(all),
            }
        }
    }

    async fn ask(&self, url: &str) -> worker::Result<String> {
        let mut request = Request::new(url, Method::Get)?;
        if let Some(at_least) = &self.at_least {
            request.headers_mut()?.set(AT_LEAST, at_least)?;
        }
        let mut answer = self.stub.fetch_with_request(request).await?;
        let text = answer.text().await?;
        if answer.status_code() == 200 {
            return Ok(text);
        }
        self.refusal.set(Some((answer.status_code(), text)));
        Err("the database refuses".into())
    }
}

#[async_trait(?Send)]
impl Store for Committed {
    async fn list(&self, level: Level, after: Txid) -> Result<Vec<SegmentInfo>> {
        self.listing(Some(level), after).await
    }

    async fn list_all(&self, after: Txid) -> Result<Vec<SegmentInfo>> {
        self.listing(None, after).await
    }

    async fn stat(&self, id: SegmentId) -> Result<Option<SegmentInfo>> {
        self.store.stat(id).await
    }

    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        self.store.read(id, range).await
    }

    async fn create(&self, id: SegmentId, _: &dyn Body) -> Result<()> {
        Err(Error::Denied(format!("segment {id} is not created by who reads")))
    }

    async fn delete(&self, id: SegmentId) -> Result<()> {
        Err(Error::Denied(format!("segment {id} is not deleted by who reads")))
    }
}
