//! The Durable Object of a database: the one place where its segments are committed, and asked for.

use std::cell::Cell;

use worker::{
    DurableObject, Env, Request, Response, State, WebSocket, WebSocketIncomingMessage, durable_object,
};

use super::body::Body;
use super::failure::Failure;
use super::followers::Followers;
use super::ledger::Ledger;
use super::lock::Lock;
use super::parts::{self, Parts};
use super::r2::R2Store;
use super::replica::Replica;
use super::route::Route;
use super::{EXPIRES, bucket, queries, upload};

/// The class that wrangler.toml binds as `DATABASES`. Its requests come from the Worker, which has let them in.
#[durable_object(websocket)]
#[derive(Debug)]
pub struct Database {
    env: Env,
    ledger: Ledger,
    lock: Lock,
    followers: Followers,
    parts: Parts,
    /// Whether the bucket was looked at since the object woke.
    awake: Cell<bool>,
}

impl DurableObject for Database {
    fn new(state: State, env: Env) -> Self {
        Self {
            env,
            ledger: Ledger::new(state.storage()),
            lock: Lock::default(),
            followers: Followers::new(state),
            parts: Parts::default(),
            awake: Cell::new(false),
        }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        let mut body = Body::of(&request);
        body.welcome();
        let answer = self.serve(&request, &mut body).await;
        if answer.is_err() {
            body.drain().await;
        }
        answer.or_else(Failure::into_response)
    }

    /// Followers have nothing to say.
    async fn websocket_message(&self, _: WebSocket, _: WebSocketIncomingMessage) -> worker::Result<()> {
        Ok(())
    }

    async fn websocket_close(&self, socket: WebSocket, _: usize, _: String, _: bool) -> worker::Result<()> {
        // Some runtimes answer by themselves, and then this is an error.
        let _ = socket.close(Some(1000), None::<&str>);
        Ok(())
    }

    async fn websocket_error(&self, _: WebSocket, _: worker::Error) -> worker::Result<()> {
        Ok(())
    }
}

impl Database {
    async fn serve(&self, request: &Request, body: &mut Body) -> Result<Response, Failure> {
        let route = Route::of(&request.path())?;
        let Some(db) = route.db() else {
            return Err(Failure::new(404, "unknown_route", "No database is named."));
        };
        let replica = Replica {
            store: R2Store::new(bucket(&self.env)?, db.clone()),
            ledger: &self.ledger,
            lock: &self.lock,
            followers: &self.followers,
            parts: &self.parts,
        };
        if !self.awake.get() {
            replica.check_tip().await?;
            self.awake.set(true);
        }
        let method = request.inner().method();
        match route {
            Route::Head(_) => queries::head(request, &replica).await,
            Route::List(_) => queries::list(request, &replica).await,
            Route::Plan(_) => queries::plan(request, &replica).await,
            Route::Follow(_) => {
                let expires = request.headers().get(EXPIRES)?.and_then(|text| text.parse().ok());
                let head = replica.head().await?;
                self.followers.join(expires.unwrap_or_default(), head.position)
            }
            Route::Rebuild(_) => queries::rebuild(request, &replica).await,
            Route::Segment(_, id) if method == "PUT" && request.inner().url().contains('?') => {
                parts::put(request, body, &replica, id).await
            }
            Route::Segment(_, id) if method == "PUT" => upload::put(request, body, &replica, id).await,
            Route::Segment(_, id) => queries::holds(&replica, id).await,
            #[cfg(feature = "fault-points")]
            Route::Fault(_) => Err(Failure::new(404, "unknown_route", "No database is named.")),
        }
    }
}
