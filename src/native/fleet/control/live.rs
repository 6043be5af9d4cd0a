//! Databases taken up and let go at the socket: `/register`, `/unregister`, `/start`, `/stop`, and where one stands, `/txid`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use reqwest::Url;
use tokio::time::timeout;

use super::super::Fleet;
use super::super::orders::{Outcome, Refused};
use super::messages::{LetGoAnswer, LetGoQuestion, RegisterQuestion, TxidAnswer};
use super::{json, refuse};
use crate::ltx::Txid;
use crate::native::config::{Defaults, real_path};

type Answer = Response<Full<Bytes>>;

/// How long they wait unless they are told.
const TIME: Duration = Duration::from_secs(30);

/// How a database is to be let go, or taken up again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Start,
    Stop,
    Unregister,
}

pub(super) async fn register(fleet: &Fleet, defaults: &Defaults, question: RegisterQuestion) -> Answer {
    let Some(url) = question.replica_url.filter(|url| !url.is_empty()) else {
        return bad("replica_url is missing: where should it go?".to_owned());
    };
    let database = match defaults.database(&question.path, &url) {
        Ok(database) => database,
        Err(why) => return bad(why),
    };
    let path = database.path.clone();
    let answer = |outcome: Outcome| LetGoAnswer {
        status: named("registered", outcome),
        path: path.clone(),
        txid: None,
    };
    match fleet.register(database).await {
        Ok(outcome) => json(StatusCode::OK, &answer(outcome)),
        Err(why) => refused(&path, why),
    }
}

pub(super) async fn change(fleet: &Fleet, change: Change, question: LetGoQuestion) -> Answer {
    let path = match real_path(&question.path) {
        Ok(path) => path,
        Err(why) => return bad(why),
    };
    let limit = question
        .timeout
        .filter(|seconds| *seconds != 0.0)
        .map_or(Ok(TIME), Duration::try_from_secs_f64);
    let Ok(limit) = limit else {
        return bad("timeout is a number of seconds".to_owned());
    };
    let asked = async {
        match change {
            Change::Start => fleet.start(&path).await,
            Change::Stop => fleet.stop(&path).await,
            Change::Unregister => fleet.unregister(&path).await,
        }
    };
    let outcome = match timeout(limit, asked).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(why)) => return refused(&path, why),
        Err(_) => {
            let (db, seconds) = (path.display(), limit.as_secs_f64());
            let late = format!("{db} was not let go within {seconds} s; it goes on");
            return refuse(StatusCode::GATEWAY_TIMEOUT, late);
        }
    };
    let status = match (change, outcome.already) {
        (Change::Start, true) => "already_running".to_owned(),
        (Change::Start, false) => "started".to_owned(),
        (Change::Stop, _) => named("stopped", outcome),
        (Change::Unregister, _) => named("unregistered", outcome),
    };
    let answer = LetGoAnswer {
        status,
        path,
        txid: Some(number(outcome.txid)),
    };
    json(StatusCode::OK, &answer)
}

/// `GET /txid?path=…`
pub(super) fn txid(fleet: &Fleet, query: Option<&str>) -> Answer {
    // Decoded as every query is.
    let parsed = Url::parse(&format!("http://walferry/?{}", query.unwrap_or_default()));
    let path: Option<PathBuf> = parsed.ok().and_then(|url| {
        let mut parameters = url.query_pairs();
        let (_, path) = parameters.find(|(name, _)| name == "path")?;
        Some(PathBuf::from(path.into_owned()))
    });
    let path = match path.as_deref().map(real_path) {
        None => return bad("path is missing: of which database?".to_owned()),
        Some(Err(why)) => return bad(why),
        Some(Ok(path)) => path,
    };
    let stopped = fleet.stopped_at(&path);
    if stopped.is_none() && fleet.status(&path).is_none() {
        return refused(&path, Refused::Unknown);
    }
    let txid = number(stopped.unwrap_or_else(|| fleet.confirmed(&path)));
    json(StatusCode::OK, &TxidAnswer { txid })
}

fn named(done: &str, outcome: Outcome) -> String {
    match outcome.already {
        true => format!("already_{done}"),
        false => done.to_owned(),
    }
}

fn number(txid: Option<Txid>) -> u64 {
    txid.map_or(0, |txid| txid.0)
}

fn bad(why: String) -> Answer {
    refuse(StatusCode::BAD_REQUEST, why)
}

fn refused(path: &Path, why: Refused) -> Answer {
    match why {
        Refused::Unknown => {
            let db = path.display();
            refuse(
                StatusCode::NOT_FOUND,
                format!("the database {db} is not replicated here"),
            )
        }
        Refused::Conflict(why) => refuse(StatusCode::CONFLICT, why),
        Refused::Failed(why) => refuse(StatusCode::INTERNAL_SERVER_ERROR, why),
    }
}
