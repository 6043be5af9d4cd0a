//! Questions about a replica: its head, its segments.

use serde::Serialize;
use worker::{Request, Response};

use super::download;
use super::failure::Failure;
use super::head::Head;
use super::json::answer;
use super::query::Query;
use super::r2::parse_key;
use super::replica::Replica;
use super::upkeep::{self, Trouble};
use super::{at_least, route};
use crate::replica::{Layout, SegmentId, SegmentInfo};

/// The most that one answer lists.
const MAX_PAGE: u32 = 1000;

/// `GET /v1/{db}`
pub(super) async fn head(request: &Request, replica: &Replica) -> Result<Response, Failure> {
    Query::of(request, &[])?;
    let head = at_least::head(request, replica).await?;
    let upkeep = upkeep::trouble(&replica.ledger)?;
    answer(&Standing { head, upkeep }, 200, head.position)
}

#[derive(Serialize)]
struct Standing {
    #[serde(flatten)]
    head: Head,
    /// What keeps upkeep from being done, if something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    upkeep: Option<Trouble>,
}

/// Whether a segment is committed, as the Worker asks before it serves one. One that is kept here is served here.
pub(super) async fn holds(request: &Request, replica: &Replica, id: SegmentId) -> Result<Response, Failure> {
    at_least::head(request, replica).await?;
    if !replica.ledger.holds(id)? {
        return Ok(Response::empty()?.with_status(404));
    }
    match replica.store.kept(id)? {
        Some(bytes) => download::kept(request, &bytes),
        None => Ok(Response::empty()?),
    }
}

/// `POST /v1/{db}/rebuild`
pub(super) async fn rebuild(request: &Request, replica: &Replica) -> Result<Response, Failure> {
    Query::of(request, &[])?;
    let head = replica.rebuild().await?;
    answer(&head, 200, head.position)
}

#[derive(Serialize)]
struct Segments {
    segments: Vec<SegmentInfo>,
    next: Option<String>,
}

/// `GET /v1/{db}/ltx?level=&after=&cursor=&limit=`
pub(super) async fn list(request: &Request, replica: &Replica) -> Result<Response, Failure> {
    let query = Query::of(request, &["level", "after", "cursor", "limit"])?;
    let level = query.text("level").map(route::level).transpose()?;
    let after = query.txid("after")?.unwrap_or_default();
    let limit = query.number("limit", 1..=MAX_PAGE)?.unwrap_or(MAX_PAGE);
    let cursor = query
        .text("cursor")
        .map(|key| {
            let message = "The parameter cursor must be what `next` said in the answer before.";
            parse_key(key).ok_or_else(|| Failure::bad_request("invalid_cursor", message))
        })
        .transpose()?;
    let position = at_least::head(request, replica).await?.position;
    let segments = replica.ledger.page(level, after, cursor, limit)?;
    let is_full = segments.len() >= limit as usize;
    let next = segments
        .last()
        .filter(|_| is_full)
        .map(|last| last.id.key(Layout::Bucket));
    answer(&Segments { segments, next }, 200, position)
}
