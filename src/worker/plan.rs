//! `GET /v1/{db}/plan`: which objects make a state, of any moment that is kept.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use worker::{Env, Method, Request, Response};

use super::at_least::{self, AT_LEAST};
use super::database;
use super::failure::Failure;
use super::json::answer;
use super::query::Query;
use super::replica::Replica;
use super::route::Db;
use crate::json::from_str;
use crate::ltx::Txid;
use crate::replica::{Level, Plan, SegmentId, SegmentInfo, Target};
use crate::restore::{Damage, plan_without};
use crate::store::{Body, Error, Result, Source, Store};

/// `GET /v1/{db}/plan?txid=|timestamp=&from=`
pub(super) async fn get(request: &Request, replica: &Replica) -> std::result::Result<Response, Failure> {
    let query = Query::of(request, &["txid", "timestamp", "from"])?;
    let target = query.target()?;
    let from = query.txid("from")?.unwrap_or_default();
    let head = at_least::head(request, replica).await?.position;
    // A state beyond the head is of another history: "nothing newer" would be a lie.
    if from > head.txid {
        return Err(Failure::position_mismatch(
            head,
            format_args!("transaction {from} is beyond that"),
        ));
    }
    let plan = Box::pin(plan_without(
        &Known(replica, target),
        target,
        from,
        &Damage::default(),
    ))
    .await?;
    answer(&plan, 200, head)
}

/// Asks the object of a database for the plan of a state; its own answer where it refuses.
pub(super) async fn ask(
    request: &Request,
    env: &Env,
    db: &Db,
    target: Target,
) -> std::result::Result<std::result::Result<Plan, Response>, Failure> {
    let state = match target {
        Target::Latest => String::new(),
        Target::Txid(txid) => format!("?txid={txid}"),
        Target::Time(time) => format!("?timestamp={}", time.0),
    };
    let mut question = Request::new(&format!("https://database/v1/{db}/plan{state}"), Method::Get)?;
    if let Some(at_least) = request.headers().get(AT_LEAST)? {
        question.headers_mut()?.set(AT_LEAST, &at_least)?;
    }
    let mut answer = database(env, db)?.fetch_with_request(question).await?;
    if answer.status_code() != 200 {
        let headers = answer.headers().clone();
        return Ok(Err(answer.with_headers(headers)));
    }
    let plan = from_str(&answer.text().await?);
    let message = "The database answered with no plan.";
    plan.map(Ok)
        .ok_or_else(|| Failure::passing("runtime_fault", message))
}

/// A replica as its object knows it: nothing is listed in R2.
struct Known<'a>(&'a Replica, Target);

#[async_trait(?Send)]
impl Source for Known<'_> {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        self.0.store.read(id, range).await
    }
}

#[async_trait(?Send)]
impl Store for Known<'_> {
    async fn list(&self, level: Level, after: Txid) -> Result<Vec<SegmentInfo>> {
        self.all(Some(level), after)
    }

    async fn list_all(&self, after: Txid) -> Result<Vec<SegmentInfo>> {
        self.all(None, after)
    }

    async fn stat(&self, id: SegmentId) -> Result<Option<SegmentInfo>> {
        self.0.store.stat(id).await
    }

    async fn create(&self, id: SegmentId, _: &dyn Body) -> Result<()> {
        Err(Error::Denied(format!("segment {id} is not created by who reads")))
    }

    async fn delete(&self, id: SegmentId) -> Result<()> {
        Err(Error::Denied(format!("segment {id} is not deleted by who reads")))
    }
}

impl Known<'_> {
    fn all(&self, level: Option<Level>, after: Txid) -> Result<Vec<SegmentInfo>> {
        let ledger = &self.0.ledger;
        let mut all = ledger.all(level, after);
        // For a state of the past any raw segment may matter; for the newest, few do.
        if level.is_none() && self.1 == Target::Latest && all.is_err() {
            all = ledger.newest(after);
        }
        all.map_err(|failure| Error::Unavailable(failure.message().to_owned()))
    }
}
