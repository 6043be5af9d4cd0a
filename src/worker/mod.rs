//! The Worker: an HTTP server on Cloudflare Workers that checks uploaded segments, keeps them in R2, and serves
//! listings, restore plans and ranges of segments.
//!
//! A request goes through `route` (which thing, which method), `auth` (may they) and one handler. R2 is the truth:
//! what is kept between requests (`heads`) are hints that each use verifies. Nothing here may panic on what a
//! client sends, for a panic ends the wasm instance and with it every request in flight: whatever is wrong is a
//! `Failure`, which becomes a status and a sentence.
//!
//! # The interface
//!
//! Every request carries `Authorization: Bearer <token>`; a write token may also read. `{db}` is
//! `[a-z0-9][a-z0-9_-]{0,62}`; TXIDs and sums are 16 hexadecimal digits, times Unix milliseconds.
//!
//! | request                                            | answer                                                      |
//! |----------------------------------------------------|-------------------------------------------------------------|
//! | `GET /v1/{db}`                                     | `{"position":{"txid","sum"},"page_size","commit","timestamp","segments","bytes"}` |
//! | `GET /v1/{db}/ltx?level=&after=&limit=&cursor=`    | `{"segments":[{"level","min_txid","max_txid","size","timestamp"}],"next"}` |
//! | `GET /v1/{db}/plan?txid=\|timestamp=&from=`        | `{"segments":[…]}`; 404 if nothing leads there              |
//! | `PUT /v1/{db}/ltx/{level}/{min}-{max}.ltx`         | 201 `{"position"}`; 200 if it is there already; 409 with the head if it does not follow it; 422 if it is not valid |
//! | `GET`, `HEAD /v1/{db}/ltx/{level}/{min}-{max}.ltx` | its bytes, or a `Range` of them                             |
//!
//! An empty replica has the position zero, and null for what it cannot have. `sum` is null where the newest segment
//! is not of walferry; `timestamp` is absent where a listing does not tell it. `next` is the `cursor` of the next page.
//! Answers about the whole replica have the header `Walferry-Position: <txid>/<sum>`, segments `Walferry-Timestamp`.
//! Errors are `{"error":{"code","message"}}`, with `head` (a position) beside them if that is why; 503 comes with
//! `Retry-After`.

mod auth;
mod body;
mod creation;
mod download;
mod failure;
#[cfg(feature = "fault-points")]
mod fault_points;
mod gate;
mod head;
mod heads;
mod intake;
mod json;
mod listing;
mod origins;
mod pipe;
mod queries;
mod query;
mod r2;
mod range;
mod route;
mod upload;

use worker::{Context, Env, Request, Response, event};

use auth::Scope;
use body::Body;
use failure::Failure;
use origins::Origins;
use r2::R2Store;
use route::Route;

/// The R2 bucket's binding in wrangler.toml.
const BUCKET: &str = "BUCKET";

#[event(fetch)]
async fn fetch(request: Request, env: Env, _: Context) -> worker::Result<Response> {
    let origins = Origins::of(&request, &env);
    // Not `request.method()`: that takes a method it does not know for GET.
    let method = request.inner().method();
    let answer = if method == "OPTIONS" {
        origins.preflight(&request)
    } else {
        let mut body = Body::of(&request);
        let answer = serve(&request, &method, &mut body, &env).await;
        if answer.is_err() {
            body.drain().await;
        }
        answer
    };
    let mut response = answer.or_else(Failure::into_response)?;
    origins.allow(&mut response)?;
    Ok(response)
}

async fn serve(request: &Request, method: &str, body: &mut Body, env: &Env) -> Result<Response, Failure> {
    let route = Route::of(&request.path())?;
    route.check_method(method)?;
    let scope = if method == "PUT" {
        Scope::Write
    } else {
        Scope::Read
    };
    auth::authorize(request, env, scope)?;
    body.welcome();
    let bucket = env.bucket(BUCKET).map_err(|_| no_bucket())?;
    let store = |db| R2Store::new(bucket.clone(), db);
    match route {
        Route::Head(db) => queries::head(request, &store(db)).await,
        Route::List(db) => queries::list(request, &store(db)).await,
        Route::Plan(db) => queries::plan(request, &store(db)).await,
        Route::Segment(db, id) if scope == Scope::Write => upload::put(request, body, &store(db), id).await,
        Route::Segment(db, id) => download::get(request, &store(db), id).await,
        #[cfg(feature = "fault-points")]
        Route::Fault(fault) => fault_points::run(fault, bucket, request, body).await,
    }
}

fn no_bucket() -> Failure {
    Failure::new(
        500,
        "no_bucket",
        format!("This Worker has no R2 bucket: bind one as {BUCKET} in wrangler.toml."),
    )
}
