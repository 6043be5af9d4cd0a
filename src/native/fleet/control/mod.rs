//! The control socket: JSON over HTTP, as Litestream's, for who may open the socket's file.
//!
//! | request | answer |
//! |---|---|
//! | `POST /sync {"path", "wait", "timeout"}` | where each replica stands |
//! | `POST /register {"path", "replica_url"}` | it is followed from now on |
//! | `POST /stop`, `/start`, `/unregister {"path", "timeout"}` | where the database stood when it was let go |
//! | `GET /txid?path=` | the least that its replicas have confirmed |
//! | `GET /list` | the databases, their replicas, and how they are |
//! | `GET /info` | version, process, and for how long it has run |

mod ask;
mod live;
mod messages;

pub use ask::{AskError, ask_info, ask_list, ask_register, ask_sync, ask_to_let_go};
pub use messages::{
    DatabaseAnswer, InfoAnswer, LetGoAnswer, LetGoQuestion, RegisterQuestion, ReplicaAnswer, SyncAnswer,
    SyncQuestion,
};

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use live::Change;
use messages::Refusal;

use super::Fleet;
use crate::native::config::{Defaults, Socket};
use crate::native::replicate::SyncRequest;

/// How many connections are answered at a time.
const CONNECTIONS: usize = 32;
/// How large a request may be.
const REQUEST_BYTES: usize = 64 * 1024;
const REQUEST_TIME: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// How long `sync` waits unless it says.
const SYNC_TIME: Duration = Duration::from_secs(30);

const OFFERED: &str =
    "there are GET /info, /list and /txid, and POST /sync, /register, /unregister, /start and /stop";

/// The socket, as long as it is kept.
#[derive(Debug)]
pub struct Control {
    task: JoinHandle<()>,
    path: PathBuf,
    inode: Option<u64>,
}

impl Control {
    /// Listens, and answers on this thread's [`LocalSet`](tokio::task::LocalSet).
    pub fn listen(socket: &Socket, fleet: Fleet, defaults: Defaults) -> io::Result<Self> {
        let path = socket.path.clone();
        remove_stale(&path)?;
        // The file has its permissions from its first moment on.
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o777 & !socket.permissions));
        let listener = UnixListener::bind(&path);
        rustix::process::umask(before);
        let listener = listener?;
        tracing::info!(socket = %path.display(), "commands are taken here");
        fleet.take_orders();
        let task = tokio::task::spawn_local(accept(listener, fleet, Rc::new(defaults)));
        let inode = inode(&path);
        Ok(Self { task, path, inode })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        // Unless somebody else's is there by now.
        if self.inode.is_some() && inode(&self.path) == self.inode {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    path.symlink_metadata().ok().map(|metadata| metadata.ino())
}

/// What a process left that could not clean up.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = path.symlink_metadata() else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::other("there is a file of another kind"));
    }
    match StdUnixStream::connect(path) {
        Ok(_) => Err(io::Error::other(
            "another walferry listens there: give each its own",
        )),
        Err(_) => std::fs::remove_file(path),
    }
}

async fn accept(listener: UnixListener, fleet: Fleet, defaults: Rc<Defaults>) {
    let start = Instant::now();
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                let (fleet, defaults) = (fleet.clone(), Rc::clone(&defaults));
                connections.spawn_local(answer_one(stream, fleet, defaults, start));
            }
            Err(error) => {
                tracing::debug!("cannot accept a connection to the control socket: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn answer_one(stream: UnixStream, fleet: Fleet, defaults: Rc<Defaults>, start: Instant) {
    let service = service_fn(|request| {
        let (fleet, defaults) = (fleet.clone(), Rc::clone(&defaults));
        async move { Ok::<_, Infallible>(answer(&fleet, &defaults, start, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("a connection to the control socket ended early: {error}");
    }
}

async fn answer(
    fleet: &Fleet,
    defaults: &Defaults,
    start: Instant,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let answered = match (request.method(), path.as_str()) {
        (&Method::GET, "/info") => Ok(json(
            StatusCode::OK,
            &InfoAnswer {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                uptime_seconds: start.elapsed().as_secs_f64(),
                databases: fleet.databases().borrow().len(),
            },
        )),
        (&Method::GET, "/list") => Ok(json(StatusCode::OK, &list(fleet))),
        (&Method::GET, "/txid") => Ok(live::txid(fleet, request.uri().query())),
        (&Method::POST, "/sync") => match read(request).await {
            Ok(question) => Ok(sync(fleet, question).await),
            Err(why) => Err(why),
        },
        (&Method::POST, "/register") => match read(request).await {
            Ok(question) => Ok(live::register(fleet, defaults, question).await),
            Err(why) => Err(why),
        },
        (&Method::POST, "/start" | "/stop" | "/unregister") => match read(request).await {
            Ok(question) => {
                let change = match path.as_str() {
                    "/start" => Change::Start,
                    "/stop" => Change::Stop,
                    _ => Change::Unregister,
                };
                Ok(live::change(fleet, change, question).await)
            }
            Err(why) => Err(why),
        },
        (_, "/sync" | "/list" | "/info" | "/txid" | "/register" | "/unregister" | "/start" | "/stop") => {
            Ok(refuse(StatusCode::METHOD_NOT_ALLOWED, OFFERED.to_owned()))
        }
        _ => Ok(refuse(StatusCode::NOT_FOUND, OFFERED.to_owned())),
    };
    answered.unwrap_or_else(|why| {
        refuse(
            StatusCode::BAD_REQUEST,
            format!("the request cannot be read: {why}"),
        )
    })
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, String> {
    let body = Limited::new(request.into_body(), REQUEST_BYTES).collect();
    match timeout(REQUEST_TIME, body).await {
        Ok(Ok(body)) => serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it took too long to arrive".to_owned()),
    }
}

fn list(fleet: &Fleet) -> Vec<DatabaseAnswer> {
    let databases = fleet.databases();
    let databases = databases.borrow();
    let answer = |status: &std::rc::Rc<crate::native::status::DatabaseStatus>| {
        let failure = status.failure.borrow().clone();
        DatabaseAnswer {
            path: status.path.clone(),
            status: if failure.is_some() {
                "failing"
            } else {
                "replicating"
            }
            .to_owned(),
            failure,
            replicas: replicas(fleet, &status.path),
        }
    };
    let stopped = fleet.stopped().into_iter().map(|path| DatabaseAnswer {
        path,
        status: "stopped".to_owned(),
        failure: None,
        replicas: Vec::new(),
    });
    databases.iter().map(answer).chain(stopped).collect()
}

fn replicas(fleet: &Fleet, database: &Path) -> Vec<ReplicaAnswer> {
    let Some(status) = fleet.status(database) else {
        return Vec::new();
    };
    let answer = |replica: &std::rc::Rc<crate::native::status::ReplicaStatus>| ReplicaAnswer {
        replica: replica.name.clone(),
        txid: replica.confirmed.get().map(|position| position.txid),
        failure: replica.failure.borrow().clone(),
    };
    status.replicas.iter().map(answer).collect()
}

async fn sync(fleet: &Fleet, question: SyncQuestion) -> Response<Full<Bytes>> {
    let given = question.path;
    let path = given.canonicalize().unwrap_or_else(|_| given.clone());
    let db = path.display();
    let Some(status) = fleet.status(&path) else {
        if fleet.stopped_at(&path).is_some() {
            let stopped = format!("{db} is stopped: walferry start goes on with it");
            return refuse(StatusCode::CONFLICT, stopped);
        }
        return refuse(
            StatusCode::NOT_FOUND,
            format!("the database {db} is not replicated here"),
        );
    };
    let Some(engine) = fleet.requests(&path) else {
        let why = status.failure.borrow().clone();
        let why = why.unwrap_or_else(|| "it is about to be".to_owned());
        return refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{db} is not followed now: {why}"),
        );
    };
    let limit = question
        .timeout
        .map_or(Ok(SYNC_TIME), Duration::try_from_secs_f64);
    let Ok(limit) = limit else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "timeout is a number of seconds".to_owned(),
        );
    };
    let (reply, synced) = oneshot::channel();
    let wished = async {
        engine.send(SyncRequest { reply }).await.ok()?;
        if question.wait {
            synced.await.ok()
        } else {
            Some(Vec::new())
        }
    };
    match timeout(limit, wished).await {
        Ok(Some(synced)) => {
            let replicas = if question.wait {
                synced.into_iter().map(ReplicaAnswer::from).collect()
            } else {
                replicas(fleet, &path)
            };
            let status = if question.wait { "synced" } else { "requested" };
            json(
                StatusCode::OK,
                &SyncAnswer {
                    status: status.to_owned(),
                    path,
                    replicas,
                },
            )
        }
        Ok(None) => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{db} could not be synced: it is not followed any more"),
        ),
        Err(_) => {
            let slow = replicas(fleet, &path)
                .into_iter()
                .filter_map(|replica| replica.failure);
            let why = slow.collect::<Vec<_>>().join("; ");
            let seconds = limit.as_secs_f64();
            refuse(
                StatusCode::GATEWAY_TIMEOUT,
                match why.is_empty() {
                    true => format!("{db} was not synced within {seconds} s; it goes on"),
                    false => format!("{db} was not synced within {seconds} s; it goes on: {why}"),
                },
            )
        }
    }
}

fn refuse(status: StatusCode, error: String) -> Response<Full<Bytes>> {
    json(status, &Refusal { error })
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let mut body = serde_json::to_vec(body).unwrap_or_default();
    body.push(b'\n');
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}
