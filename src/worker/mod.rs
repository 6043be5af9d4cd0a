//! The Worker: an HTTP server on Cloudflare Workers that checks uploaded segments, keeps them in R2, and serves
//! listings, restore plans and ranges of segments.
//!
//! A request goes through `route` (which thing, which method) and `auth` (may they), then to the Durable Object of its
//! database (`database`): there uploads are proven (`creation`) and committed one after the other (`entry`), the head and
//! the listing are remembered, and short segments are kept until they are part of something larger (`ledger`). Beyond
//! those, R2 is the truth: an object that has forgotten everything reads it again (`rebuild`), and follows its segments as
//! a chain (`chain`). By alarm it keeps the replica in order (`upkeep`). The bytes of segments that are in R2 come straight
//! from there (`download`). A part of a bucket that another program fills is served the same way (`attached`). Nothing here
//! may panic on what a client sends, for a panic ends the wasm instance and with it every request in flight: whatever is
//! wrong is a `Failure`, which becomes a status and a sentence.
//!
//! # The interface
//!
//! Every request carries `Authorization: Bearer <token>`: a JSON Web Token ([`crate::token`], made by `walferry token`)
//! or a fixed secret. Reading needs the scope `read`, uploading `write`, rebuilding `admin`. `{db}` is
//! `[a-z0-9][a-z0-9_-]{0,62}`; TXIDs and sums are 16 hexadecimal digits, times Unix milliseconds.
//!
//! | request                                            | answer                                                      |
//! |----------------------------------------------------|-------------------------------------------------------------|
//! | `GET /v1/{db}`                                     | `{"position":{"txid","sum"},"page_size","commit","timestamp","segments","bytes"}` |
//! | `GET /v1/{db}/ltx?level=&after=&limit=&cursor=`    | `{"segments":[{"level","min_txid","max_txid","size","timestamp"}],"next"}` |
//! | `GET /v1/{db}/plan?txid=\|timestamp=&from=`        | `{"segments":[…]}`, one in a bundle with `bundle` and `offset`; 404 if nothing leads there |
//! | `GET /v1/{db}/map?txid=\|timestamp=&from=&to=`     | where the pages from one to another lie, see `crate::replica::MapWindow`; `Walferry-Next` is the page after them |
//! | `PUT /v1/{db}/ltx/{level}/{min}-{max}.ltx`         | 201 `{"position"}`; 200 if it is there already; 409 with the head if it does not follow it; 422 if it is not valid |
//! | `GET /v1/{db}/follow`, a WebSocket                 | text `{"position","segment"}`, or the bytes of a segment: see `followers` |
//! | the same `?offset=&size=`                          | a part of it: 202 `{"offset"}`, where the next one starts, at the end as above; 409 with `Walferry-Offset` if it starts elsewhere |
//! | `GET /v1/?after=&limit=`                           | `{"databases":[…],"next"}`: each as it last reported; needs a token for all |
//! | `GET /metrics`                                     | the same for Prometheus                                     |
//! | `GET /v1/{db}/db?txid=\|timestamp=`                | that state, as a database file, whole                       |
//! | `PUT /v1/{db}/db?after=&salt1=&salt2=&frame=&checksum1=&checksum2=` | 201 `{"position"}`: a database file, as a first snapshot or for the pages that differ |
//! | `POST /v1/{db}/wal?salt1=&salt2=&offset=&restarted_at=` | 201 `{"position"}`: raw bytes of a WAL; 200 if they end no transaction; 409 with what to send |
//! | `GET /v1/{db}/wal`                                 | `{"position"}`; the header `Walferry-Wal` says where in the WAL that is: see `raw` |
//! | `POST /v1/{db}/rebuild`                            | as `GET /v1/{db}`, after reading the bucket again           |
//! | `GET /v1/{db}/ltx?level=10`, `GET …/ltx/10/{min}-{max}.bundle` | raw segments of the past, bundled: see `crate::replica`      |
//! | `GET`, `HEAD /v1/{db}/ltx/{level}/{min}-{max}.ltx` | its bytes, or a `Range` of them                             |
//!
//! A WebSocket takes its token from `Sec-WebSocket-Protocol: walferry.v1, bearer.<token>`. With the header
//! `Walferry-At-Least: <txid>`, whatever is read waits for that transaction, for 10 s at most.
//!
//! A database that is attached (see `attached`) is read like any other; what would change it is 403.
//!
//! An empty replica has the position zero, and null for what it cannot have. `sum` is null where the newest segment
//! is not of walferry; `timestamp` is absent where a listing does not tell it. `next` is the `cursor` of the next page.
//! Answers about the whole replica have the header `Walferry-Position: <txid>/<sum>`, segments `Walferry-Timestamp`.
//! Errors are `{"error":{"code","message"}}`, with `head` (a position) beside them if that is why; 503 comes with
//! `Retry-After`.

/// A named place in an operation of several steps, where a test may end it. In builds without the feature it is nothing.
macro_rules! fault_point {
    ($name:literal) => {
        #[cfg(feature = "fault-points")]
        crate::worker::fault_points::reach($name).await;
    };
}

/// Counts what costs something. In builds without the feature it is nothing.
macro_rules! count {
    ($name:literal, $count:expr) => {
        #[cfg(feature = "fault-points")]
        crate::worker::fault_points::count($name, $count);
    };
}

mod at_least;
mod attached;
mod auth;
mod body;
mod chain;
mod clock;
mod committed;
mod creation;
mod database;
mod download;
mod entry;
mod failure;
#[cfg(feature = "fault-points")]
mod fault_points;
mod followers;
mod gate;
mod head;
mod intake;
mod json;
mod ledger;
mod lock;
mod map;
mod origins;
mod parts;
mod pipe;
mod plan;
mod queries;
mod query;
mod r2;
mod range;
mod raw;
mod rebuild;
mod registry;
mod replica;
mod route;
mod upkeep;
mod upload;
mod whole;

pub use database::Database;
pub use registry::Registry;

use worker::{Bucket, Context, Env, Method, Request, Response, Stub, event};

use auth::Need;
use body::Body;
use committed::Place;
use failure::Failure;
use origins::Origins;
use r2::R2Store;
use route::{Db, Route};

/// Bindings in wrangler.toml: the R2 bucket, and the Durable Objects, one a database.
const BUCKET: &str = "BUCKET";
const DATABASES: &str = "DATABASES";
/// From the Worker to the object: until when a follower's token is good, in Unix seconds.
const EXPIRES: &str = "Walferry-Expires";

#[event(fetch)]
async fn fetch(request: Request, env: Env, _: Context) -> worker::Result<Response> {
    let origins = Origins::of(&request, &env);
    // Not `request.method()`: that takes a method it does not know for GET.
    let method = request.inner().method();
    let answer = if method == "OPTIONS" {
        origins.preflight(&request)
    } else {
        serve(&request, &method, &env, &origins).await
    };
    let mut response = answer.or_else(Failure::into_response)?;
    origins.allow(&mut response)?;
    Ok(response)
}

async fn serve(request: &Request, method: &str, env: &Env, origins: &Origins) -> Result<Response, Failure> {
    let (route, expires) = match admit(request, method, env) {
        Ok(admitted) => admitted,
        Err(failure) => {
            Body::of(request).drain().await;
            return Err(failure);
        }
    };
    match route {
        Route::Segment(db, id) if method != "PUT" => {
            let object = database(env, &db)?;
            match committed::place(&object, request, &db, id).await? {
                Place::Bucket => {
                    let found = download::get(request, &R2Store::open(env, db.clone())?, id).await;
                    if found
                        .as_ref()
                        .is_err_and(|failure| failure.code() == download::MISSING)
                    {
                        committed::forget(db, id);
                    }
                    found
                }
                Place::Object => ask(env, &db, Request::from(Clone::clone(request.inner()))).await,
                Place::Nowhere => Err(download::missing(&db, id)),
            }
        }
        Route::Follow(db) => {
            origins.check_socket(request)?;
            if request
                .headers()
                .get("Upgrade")?
                .is_none_or(|upgrade| !upgrade.eq_ignore_ascii_case("websocket"))
            {
                let message = "Following takes a WebSocket: send the header `Upgrade: websocket`.";
                return Err(
                    Failure::new(426, "upgrade_required", message).with_header("Upgrade", "websocket")
                );
            }
            let mut question = Request::new(&request.inner().url(), Method::Get)?;
            let headers = question.headers_mut()?;
            headers.set("Upgrade", "websocket")?;
            headers.set(EXPIRES, &expires.to_string())?;
            ask(env, &db, question).await
        }
        Route::Whole(db) if method != "PUT" => Box::pin(whole::get(request, env, db)).await,
        Route::Map(db) => Box::pin(map::get(request, env, db)).await,
        Route::Databases | Route::Metrics => {
            let question = Request::new(&request.inner().url(), Method::Get)?;
            let answer = registry::registry(env)?.fetch_with_request(question).await?;
            let headers = answer.headers().clone();
            Ok(answer.with_headers(headers))
        }
        #[cfg(feature = "fault-points")]
        Route::Fault(fault) => fault_points::run(fault, env, request).await,
        Route::Head(db)
        | Route::List(db)
        | Route::Plan(db)
        | Route::Rebuild(db)
        | Route::Wal(db)
        | Route::Whole(db)
        | Route::Segment(db, _) => ask(env, &db, Request::from(Clone::clone(request.inner()))).await,
    }
}

/// Has the object of a database answer.
async fn ask(env: &Env, db: &Db, request: Request) -> Result<Response, Failure> {
    let answer = database(env, db)?.fetch_with_request(request).await?;
    // An answer that came from elsewhere has headers that cannot be changed.
    let headers = answer.headers().clone();
    Ok(answer.with_headers(headers))
}

/// Lets a request in, and says until when; or why not.
fn admit(request: &Request, method: &str, env: &Env) -> Result<(Route, u64), Failure> {
    let route = Route::of(&request.path())?;
    route.check_method(method)?;
    let need = Need {
        scope: route.scope(method),
        db: route.db(),
    };
    let expires = auth::authorize(request, env, need)?;
    Ok((route, expires))
}

fn database(env: &Env, db: &Db) -> Result<Stub, Failure> {
    let databases = env
        .durable_object(DATABASES)
        .map_err(|_| not_bound("Durable Object class", DATABASES))?;
    Ok(databases.get_by_name(&db.to_string())?)
}

fn bucket(env: &Env, binding: &str) -> Result<Bucket, Failure> {
    env.bucket(binding).map_err(|_| not_bound("R2 bucket", binding))
}

fn not_bound(what: &str, binding: &str) -> Failure {
    let message = format!("This Worker has no {what}: bind one as {binding} in wrangler.toml.");
    Failure::new(500, "not_configured", message)
}
