//! Questions about a replica: its head, its segments, which of them make a state.

use futures_util::{StreamExt, stream};
use serde::Serialize;
use worker::{Request, Response};

use super::failure::Failure;
use super::json::answer;
use super::listing::{Listing, MAX_PAGE};
use super::query::Query;
use super::r2::{R2Store, Times};
use super::{heads, route};
use crate::ltx::Txid;
use crate::replica::{self, Position, SegmentInfo, Target};

/// Segments whose time is read from themselves for one plan.
const MAX_TIMES_READ: usize = 400;
/// As many requests as the Workers runtime makes at once.
const PARALLEL: usize = 6;

/// `GET /v1/{db}`
pub(super) async fn head(request: &Request, store: &R2Store) -> Result<Response, Failure> {
    Query::of(request, &[])?;
    let head = heads::read(store).await?;
    answer(&head, 200, head.position)
}

#[derive(Serialize)]
struct Segments {
    segments: Vec<SegmentInfo>,
    next: Option<String>,
}

/// `GET /v1/{db}/ltx?level=&after=&cursor=&limit=`
pub(super) async fn list(request: &Request, store: &R2Store) -> Result<Response, Failure> {
    let query = Query::of(request, &["level", "after", "cursor", "limit"])?;
    let level = query.text("level").map(route::level).transpose()?;
    let after = query.txid("after")?.unwrap_or_default();
    let limit = query.number("limit", 1..=MAX_PAGE)?.unwrap_or(MAX_PAGE);
    // Before the listing: what the position promises, the listing holds.
    let position = heads::read(store).await?.position;
    let page = Listing::new(store, level, after, Times::Told)
        .page(query.text("cursor"), limit)
        .await?;
    let body = Segments {
        segments: page.segments,
        next: page.next,
    };
    answer(&body, 200, position)
}

/// `GET /v1/{db}/plan?txid=|timestamp=&from=`
pub(super) async fn plan(request: &Request, store: &R2Store) -> Result<Response, Failure> {
    let query = Query::of(request, &["txid", "timestamp", "from"])?;
    let target = match (query.txid("txid")?, query.time("timestamp")?) {
        (None, None) => Target::Latest,
        (Some(txid), None) => Target::Txid(txid),
        (None, Some(time)) => Target::Time(time),
        (Some(_), Some(_)) => {
            let message = "Give txid or timestamp, not both.";
            return Err(Failure::bad_request("ambiguous_target", message));
        }
    };
    let from = query.txid("from")?.unwrap_or_default();
    let head = heads::read(store).await?.position;
    check_from(from, head)?;
    let times = if let Target::Time(_) = target {
        Times::Told
    } else {
        Times::Untold
    };
    let mut segments = Listing::new(store, None, from, times).all().await?;
    if times == Times::Told {
        tell_times(store, &mut segments).await?;
    }
    let plan = replica::plan(&segments, target, from).map_err(|error| {
        Failure::new(
            404,
            "no_plan",
            format!("There is no way to restore that: {error}."),
        )
    })?;
    answer(&plan, 200, head)
}

/// Reads the times that metadata do not tell from the segments themselves, if they are not too many.
async fn tell_times(store: &R2Store, segments: &mut [SegmentInfo]) -> Result<(), Failure> {
    let untold = segments.iter_mut().filter(|segment| segment.timestamp.is_none());
    let mut reads = stream::iter(untold.take(MAX_TIMES_READ).map(async |segment| {
        segment.timestamp = Some(store.header(segment.id).await?.timestamp);
        Ok::<_, Failure>(())
    }))
    .buffer_unordered(PARALLEL);
    while let Some(read) = reads.next().await {
        read?;
    }
    Ok(())
}

/// A state beyond the head is of another history: "nothing newer" would be a lie.
fn check_from(from: Txid, head: Position) -> Result<(), Failure> {
    if from > head.txid {
        return Err(Failure::position_mismatch(
            head,
            format_args!("transaction {from} is beyond that"),
        ));
    }
    Ok(())
}
