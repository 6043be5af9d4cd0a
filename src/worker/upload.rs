//! Takes in a segment: checks all of it, and creates its object or leaves nothing.

use serde::Serialize;
use worker::{Request, Response};

use super::body::Body;
use super::creation::{self, Creation};
use super::failure::Failure;
use super::gate;
use super::head::Head;
use super::intake::{Intake, Proven};
use super::json::answer;
use super::query::Query;
use super::replica::Replica;
use crate::ltx::{Header, Txid};
use crate::replica::{Level, Position, SegmentId};

/// What Cloudflare lets through on the plans that most have.
const MAX_SIZE: u64 = 100 << 20;

#[derive(Serialize)]
pub(super) struct Accepted {
    pub(super) position: Position,
}

/// `PUT /v1/{db}/ltx/{level}/{min}-{max}.ltx`
pub(super) async fn put(
    request: &Request,
    body: &mut Body,
    replica: &Replica,
    id: SegmentId,
) -> Result<Response, Failure> {
    check_level(id)?;
    Query::of(request, &[])?;
    let size = declared_size(request)?;
    body.expect(size, gate::enter(creation::memory(size))?);
    let mut intake = Intake::new(id);
    let mut start = Vec::new();
    let header = take_header(body, &mut intake, &mut start).await?;
    let head = replica.head().await?;
    let is_held = replica.ledger.holds(id)?;
    if is_held || head.is_after(id, &header) {
        while let Some(chunk) = body.next().await? {
            intake.push(&chunk)?;
        }
        let proven = intake.finish()?;
        return match is_held {
            true => confirm(replica, id, size, &proven, head).await,
            false => accepted(200, head.position),
        };
    }
    // Before all of it is sent; it is asked again under the lock.
    head.admits(id, &header)?;
    let creation = Creation {
        replica,
        id,
        header,
        start,
        intake,
    };
    match creation.create(body).await {
        (Ok(position), _) => accepted(201, position),
        // Another request moved the replica meanwhile: by the same segment, sent twice at once?
        (Err(_), Some(proven)) if replica.ledger.holds(id)? => {
            confirm(replica, id, size, &proven, replica.head().await?).await
        }
        (Err(failure), _) => Err(failure),
    }
}

/// Takes in so much of the body that its header is known.
pub(super) async fn take_header(
    body: &mut Body,
    intake: &mut Intake,
    start: &mut Vec<u8>,
) -> Result<Header, Failure> {
    loop {
        let Some(chunk) = body.next().await? else {
            intake.clone().finish()?;
            return Err(Failure::invalid_segment("it is empty"));
        };
        intake.push(&chunk)?;
        start.extend_from_slice(&chunk);
        if let Some(header) = intake.header() {
            return Ok(header.clone());
        }
    }
}

/// Succeeds if the segment that is there is what was sent.
pub(super) async fn confirm(
    replica: &Replica,
    id: SegmentId,
    size: u64,
    proven: &Proven,
    head: Head,
) -> Result<Response, Failure> {
    if replica.store.has(id, size, proven.checksum).await? {
        return accepted(200, head.position);
    }
    Err(Failure::position_mismatch(
        head.position,
        format_args!("it holds another segment {id}"),
    ))
}

pub(super) fn check_level(id: SegmentId) -> Result<(), Failure> {
    if id.level == Level::RAW || (id.level == Level::SNAPSHOT && id.min == Txid::FIRST) {
        return Ok(());
    }
    let message = "Segments are uploaded at level 0, and at level 9 if they start at the first transaction; \
                   the levels between are made here.";
    Err(Failure::bad_request("level_not_accepted", message))
}

pub(super) fn declared_size(request: &Request) -> Result<u64, Failure> {
    let Some(length) = request.headers().get("Content-Length")? else {
        let message = "The length of a segment must be known before it comes: send Content-Length.";
        return Err(Failure::new(411, "length_required", message));
    };
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    match length.parse() {
        Ok(size) if digits && size <= MAX_SIZE => Ok(size),
        _ if digits => Err(Failure::new(
            413,
            "too_large",
            format!(
                "One request may send {MAX_SIZE} bytes at most, this one has {length}: send it in parts."
            ),
        )),
        _ => Err(Failure::bad_request(
            "invalid_length",
            "Content-Length is not a number.",
        )),
    }
}

fn accepted(status: u16, position: Position) -> Result<Response, Failure> {
    answer(&Accepted { position }, status, position)
}
