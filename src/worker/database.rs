//! The Durable Object of a database: the one place where its segments are committed, and asked for.

use std::cell::Cell;
use std::rc::Rc;

use worker::{
    DurableObject, Env, Request, Response, Socket, WebSocket, WebSocketIncomingMessage, durable_object,
};

use super::body::Body;
use super::failure::Failure;
#[cfg(feature = "fault-points")]
use super::fault_points::Fault;
use super::followers::Followers;
use super::ledger::{Ledger, State};
use super::lock::Lock;
use super::parts::{self, Parts};
use super::r2::R2Store;
use super::raw::Underway;
use super::registry::Reporter;
use super::replica::Replica;
use super::route::{Db, Route};
use super::upkeep::{Upkeep, to_runtime};
use super::{EXPIRES, attached, plan, queries, raw, upload};
use crate::token::Scope;

/// The ledger's note of the database's name: an alarm does not tell it.
const NAME: &str = "name";

/// A variable: whether short segments go first into the `object`, or at once into the `bucket`.
const SHORT_SEGMENTS: &str = "WALFERRY_SHORT_SEGMENTS";

/// The code of a WebSocket that is closed for what came on it (RFC 6455).
const POLICY: u16 = 1008;

/// The class that wrangler.toml binds as `DATABASES`. Its requests come from the Worker, which has let them in.
#[durable_object]
#[derive(Debug)]
pub struct Database {
    env: Env,
    ledger: Rc<Ledger>,
    lock: Rc<Lock>,
    followers: Rc<Followers>,
    parts: Rc<Parts>,
    file: Underway,
    /// When the bucket was looked at for who reads an attached or an empty replica.
    looked: Rc<Cell<u64>>,
    upkeep: Upkeep,
    reporter: Reporter,
    /// Whether the bucket was looked at since the object woke.
    awake: Cell<bool>,
    /// Whether the ledger is known to tell the name.
    is_named: Cell<bool>,
}

impl DurableObject for Database {
    fn new(state: worker::State, env: Env) -> Self {
        Self {
            upkeep: Upkeep::new(env.clone(), state.storage()),
            reporter: Reporter::new(env.clone()),
            env,
            ledger: Rc::new(Ledger::new(state.storage())),
            lock: Rc::default(),
            followers: Rc::new(Followers::new(state)),
            parts: Rc::default(),
            file: Underway::default(),
            looked: Rc::default(),
            awake: Cell::new(false),
            is_named: Cell::new(false),
        }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        count!("object_requests", 1);
        #[cfg(feature = "fault-points")]
        super::fault_points::request_begins();
        let mut body = Body::of(&request);
        body.welcome();
        let mut answer = self.serve(&request, &mut body).await;
        self.count(&request, &answer);
        if self.ledger.has_changed()
            && !self.is_attached(&request)
            && let Err(failure) = self.added(&request).await
        {
            // What was committed is; that nobody will keep it in order must be known.
            answer = Err(failure);
        }
        if answer.is_err() {
            body.drain().await;
        }
        answer.or_else(Failure::into_response)
    }

    /// It is time for upkeep.
    async fn alarm(&self) -> worker::Result<Response> {
        count!("alarms", 1);
        #[cfg(feature = "fault-points")]
        super::fault_points::alarm_begins();
        let kept = self.keep_up().await;
        #[cfg(feature = "fault-points")]
        super::fault_points::alarm_ends();
        kept?;
        Response::empty()
    }

    /// Nobody connects.
    async fn connect(&self, _: Socket) -> worker::Result<()> {
        Err("a database takes no connections".into())
    }

    /// Followers have nothing to say: who says something would keep the object awake.
    async fn websocket_message(&self, socket: WebSocket, _: WebSocketIncomingMessage) -> worker::Result<()> {
        socket.close(Some(POLICY), Some("followers have nothing to say"))
    }

    async fn websocket_close(&self, socket: WebSocket, _: usize, _: String, _: bool) -> worker::Result<()> {
        // Some runtimes answer by themselves, and then this is an error.
        let _ = socket.close(Some(1000), None::<&str>);
        self.reporter.changed();
        Ok(())
    }

    async fn websocket_error(&self, _: WebSocket, _: worker::Error) -> worker::Result<()> {
        Ok(())
    }
}

impl Database {
    /// Whether another program fills the bucket: there is no upkeep of ours then.
    fn is_attached(&self, request: &Request) -> bool {
        let route = Route::of(&request.path()).ok();
        let db = route.as_ref().and_then(Route::db);
        db.is_some_and(|db| attached::place(&self.env, db).is_ok_and(|place| place.is_some()))
    }

    /// Has upkeep come for what was added, unless nothing is there at all.
    async fn added(&self, request: &Request) -> Result<(), Failure> {
        if self.is_empty()? {
            return Ok(());
        }
        if let Some(db) = Route::of(&request.path())?.db() {
            self.set_name(db)?;
        }
        self.upkeep.added().await
    }

    /// What an alarm is for.
    async fn keep_up(&self) -> worker::Result<()> {
        self.ledger
            .open()
            .map_err(|failure| failure.message().to_owned())?;
        let name = self.ledger.note::<String>(NAME);
        let name = name.map_err(|failure| failure.message().to_owned())?;
        let db = name.and_then(|name| Db::parse(&name).ok());
        if let Some(db) = db {
            let replica = self
                .replica(&db)
                .map_err(|failure| failure.message().to_owned())?;
            if replica.store.is_attached() {
                if attached::ring(&replica).await {
                    self.upkeep
                        .wake_in(attached::EVERY_MS)
                        .await
                        .map_err(to_runtime)?;
                }
            } else {
                self.upkeep.ring(&replica).await?;
            }
            self.reporter.changed();
            let _ = self.reporter.report(&replica);
        }
        Ok(())
    }

    /// Whether nothing was ever written, and nothing is under way: whoever may read any name leaves no trace then.
    fn is_empty(&self) -> Result<bool, Failure> {
        Ok(match self.ledger.open()? {
            State::Known(head, _, None) => head.tip.is_none() && !self.is_named()?,
            State::Rebuilding(None) => !self.is_named()?,
            State::Known(..) | State::Rebuilding(_) => false,
        })
    }

    fn is_named(&self) -> Result<bool, Failure> {
        if !self.is_named.get() {
            self.is_named.set(self.ledger.note::<String>(NAME)?.is_some());
        }
        Ok(self.is_named.get())
    }

    fn set_name(&self, db: &Db) -> Result<(), Failure> {
        if !self.is_named()? {
            self.ledger.set_note(NAME, &db.to_string())?;
            self.is_named.set(true);
        }
        Ok(())
    }

    /// Counts what became of an upload, and reports it now and then.
    fn count(&self, request: &Request, answer: &Result<Response, Failure>) {
        let Ok(route) = Route::of(&request.path()) else {
            return;
        };
        let is_upload = matches!(route, Route::Segment(..) | Route::Whole(_) | Route::Wal(_))
            && matches!(request.inner().method().as_str(), "PUT" | "POST");
        match answer {
            Ok(response) if is_upload => {
                let length = request.headers().get("Content-Length").ok().flatten();
                let bytes = length.and_then(|length| length.parse().ok()).unwrap_or_default();
                let seen = match self.ledger.open() {
                    Ok(State::Known(head, ..)) => head.timestamp.map(|time| time.0),
                    _ => None,
                };
                self.reporter.uploaded(bytes, response.status_code() == 201, seen);
            }
            Err(failure) if is_upload => self.reporter.refused(failure.code()),
            _ if matches!(route, Route::Follow(_) | Route::Rebuild(_)) => self.reporter.changed(),
            _ => {}
        }
        let is_told = self.reporter.has_refused() || self.is_empty().is_ok_and(|is_empty| !is_empty);
        if is_told
            && let Some(db) = route.db()
            && let Ok(replica) = self.replica(db)
        {
            // What could not be reported is told the next time.
            let _ = self.reporter.report(&replica);
        }
    }

    fn replica(&self, db: &Db) -> Result<Replica, Failure> {
        Ok(Replica {
            store: R2Store::open_here(&self.env, db.clone(), self.ledger.clone())?,
            keeps_short: keeps_short(&self.env)?,
            ledger: self.ledger.clone(),
            lock: self.lock.clone(),
            followers: self.followers.clone(),
            parts: self.parts.clone(),
            file: self.file.clone(),
            looked: self.looked.clone(),
        })
    }

    async fn serve(&self, request: &Request, body: &mut Body) -> Result<Response, Failure> {
        let route = Route::of(&request.path())?;
        #[cfg(feature = "fault-points")]
        if let Route::Fault(Fault::Alarm(_)) = route {
            return Ok(Response::from_json(&self.upkeep.alarm().await?)?);
        }
        let Some(db) = route.db() else {
            return Err(Failure::new(404, "unknown_route", "No database is named."));
        };
        let replica = self.replica(db)?;
        if !self.awake.get() {
            self.ledger.open()?;
            if !replica.store.is_attached() {
                replica.check_tip().await?;
            }
            // An alarm does not find its way without it.
            if replica.store.is_attached() || !self.is_empty()? {
                self.set_name(db)?;
            }
            if !replica.store.is_attached() {
                self.upkeep.woken(&replica).await?;
            }
            self.awake.set(true);
        }
        let method = request.inner().method();
        if replica.store.is_attached() && route.scope(&method) == Scope::Write {
            return Err(attached::refusal(db));
        }
        match route {
            Route::Head(_) => queries::head(request, &replica).await,
            Route::List(_) => queries::list(request, &replica).await,
            Route::Plan(_) => Box::pin(plan::get(request, &replica)).await,
            Route::Follow(_) => {
                let expires = request.headers().get(EXPIRES)?.and_then(|text| text.parse().ok());
                let head = replica.head().await?;
                if replica.store.is_attached() {
                    self.upkeep.wake_in(attached::EVERY_MS).await?;
                }
                self.followers.join(expires.unwrap_or_default(), head.position)
            }
            Route::Rebuild(_) => queries::rebuild(request, &replica).await,
            Route::Segment(_, id) if method == "PUT" && request.inner().url().contains('?') => {
                parts::put(request, body, &replica, id).await
            }
            Route::Segment(_, id) if method == "PUT" => upload::put(request, body, &replica, id).await,
            Route::Segment(_, id) => queries::holds(request, &replica, id).await,
            Route::Whole(_) if method == "PUT" => Box::pin(raw::put(request, body, &replica)).await,
            Route::Wal(_) if method == "POST" => Box::pin(raw::post(request, body, &replica)).await,
            Route::Wal(_) => raw::get(request, &replica).await,
            Route::Databases | Route::Metrics | Route::Whole(_) | Route::Map(_) => {
                Err(Failure::new(404, "unknown_route", "No database is named."))
            }
            #[cfg(feature = "fault-points")]
            Route::Fault(_) => Err(Failure::new(404, "unknown_route", "No database is named.")),
        }
    }
}

/// Where the configuration wants short segments to go first.
fn keeps_short(env: &Env) -> Result<bool, Failure> {
    match env.var(SHORT_SEGMENTS).map(|place| place.to_string()).as_deref() {
        Ok("bucket") => Ok(false),
        Ok("object") | Err(_) => Ok(true),
        Ok(other) => {
            let message = format!("{SHORT_SEGMENTS} is {other:?}; it must be object or bucket.");
            Err(Failure::new(500, "not_configured", message))
        }
    }
}
