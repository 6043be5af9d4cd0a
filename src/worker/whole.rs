//! `GET /v1/{db}/db`: a state of a database, whole, for who has no client.
//!
//! It is restored here as anywhere, and streamed from its first page to its last in pieces, so that memory is the same
//! whatever its size. The last piece waits until the sum of all pages is proven: otherwise the answer breaks off short.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable, Aborted};
use worker::wasm_bindgen_futures::spawn_local;
use worker::web_sys::ReadableStream;
use worker::{Env, Request, Response, ResponseBody, console_error};

use super::failure::Failure;
use super::gate::{self, Permit};
use super::json::POSITION;
use super::pipe::Pipe;
use super::query::Query;
use super::r2::R2Store;
use super::route::Db;
use super::{download, plan};
use crate::ltx::{DbSum, Timestamp};
use crate::replica::{Plan, PlanError, Position, Target};
use crate::restore::{self, Restore};

/// Pages at once.
const PIECE: usize = 4 << 20;
/// Requests at once, of so many bytes each: a request costs as much CPU time as a mebibyte does.
const PARALLEL: usize = 2;
const READ: u64 = 4 << 20;
/// With indexes and small segments.
const MEMORY: u64 = 24 << 20;
/// What the CPU time that Cloudflare gives by default is enough for, if pages are packed by LZ4; by deflate it is less.
const MAX_SIZE: u64 = 2 << 30;
/// A variable: the same, where there is more.
const MAX_DOWNLOAD: &str = "WALFERRY_MAX_DOWNLOAD_BYTES";

pub(super) async fn get(request: &Request, env: &Env, db: Db) -> Result<Response, Failure> {
    let query = Query::of(request, &["txid", "timestamp"])?;
    let target = query.target()?;
    let plan = match plan::ask(request, env, &db, target).await? {
        Ok(plan) => plan,
        Err(refusal) => return Ok(refusal),
    };
    // Who does not read keeps what is on its way in memory: others may need that.
    let (given_up, registration) = AbortHandle::new_pair();
    let permit = gate::enter_with(MEMORY, Some(Box::new(move || given_up.abort())))?;
    let store = R2Store::open(env, db.clone())?;
    let limit = limit(env);
    let word = Rc::<Word>::default();
    let tell = Rc::clone(&word);
    // A task that outlives this one: it owns all that it works with.
    spawn_local(async move {
        let restore = match prepare(&store, plan, target).await {
            Ok(restore) => restore,
            Err(error) => {
                tell.say(Err(error.into()));
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
                tell.say(Err(failure));
                return;
            }
        };
        let why = match Abortable::new(send(&restore, &pipe, &permit), registration).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(Aborted) => "nobody reads on, and others need the memory".to_owned(),
        };
        drop(restore);
        console_error!("{db} breaks off while it is sent: {why}");
        pipe.abort().await;
    });
    let (readable, size, position, timestamp) = word.hear().await?;
    let mut response = Response::from_body(ResponseBody::Stream(readable))?;
    let headers = response.headers_mut();
    headers.set("Content-Type", "application/vnd.sqlite3")?;
    headers.set("Content-Length", &size.to_string())?;
    headers.set("Cache-Control", "no-store")?;
    headers.set(POSITION, &position.to_string())?;
    headers.set(download::TIMESTAMP, &timestamp.0.to_string())?;
    Ok(response)
}

type Told = Result<(ReadableStream, u64, Position, Timestamp), Failure>;

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

async fn prepare(store: &R2Store, plan: Plan, target: Target) -> restore::Result<Restore<'_>> {
    let restore = Restore::from_plan_in(store, plan, Position::EMPTY, PARALLEL, READ).await?;
    let restore = restore.ok_or(PlanError::Empty)?;
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

fn check_size(db: &Db, size: u64, limit: u64) -> Result<(), Failure> {
    if size <= limit {
        return Ok(());
    }
    let message = format!(
        "This state of {db} has {size} bytes, and {limit} at most are sent this way: use `walferry restore`, or raise \
         {MAX_DOWNLOAD} and cpu_ms in wrangler.toml."
    );
    Err(Failure::new(413, "too_large", message))
}
