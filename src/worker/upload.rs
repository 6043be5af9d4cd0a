//! Takes in a segment: checks all of it, and creates its object or leaves nothing.

use serde::Serialize;
use worker::{Request, Response};

use super::body::Body;
use super::creation::Creation;
use super::failure::Failure;
use super::gate;
use super::head::Head;
use super::heads;
use super::intake::Intake;
use super::json::answer;
use super::r2::R2Store;
use crate::ltx::{FileChecksum, Header, Trailer, Txid};
use crate::replica::{Level, Position, SegmentId};
use crate::store::Store;

/// What Cloudflare lets through on the plans that most have.
const MAX_SIZE: u64 = 100 << 20;

#[derive(Serialize)]
struct Accepted {
    position: Position,
}

/// `PUT /v1/{db}/ltx/{level}/{min}-{max}.ltx`
pub(super) async fn put(
    request: &Request,
    body: &mut Body,
    store: &R2Store,
    id: SegmentId,
) -> Result<Response, Failure> {
    check_level(id)?;
    let size = declared_size(request)?;
    body.expect(size, gate::enter(Creation::memory(size))?);
    let mut intake = Intake::new(id);
    let mut start = Vec::new();
    let header = loop {
        let Some(chunk) = body.next().await? else {
            intake.finish()?;
            return Err(Failure::invalid_segment("it is empty"));
        };
        intake.push(&chunk)?;
        start.extend_from_slice(&chunk);
        if let Some(header) = intake.header() {
            break header.clone();
        }
    };
    let head = match admit(store, id, &header).await? {
        Admission::Next(head) => head,
        Admission::Retry(head) => {
            while let Some(chunk) = body.next().await? {
                intake.push(&chunk)?;
            }
            let checksum = intake.finish()?.checksum;
            confirm_same(store, id, size, checksum, head.position).await?;
            return accepted(200, head.position);
        }
    };
    let creation = Creation::new(store, id, head);
    let (created, checksum) = creation.create(start, body, intake).await?;
    if created {
        accepted(201, creation.settle(&header).await?)
    } else {
        // Another request moved the replica meanwhile: by the same segment, sent twice at once?
        let head = heads::read(store).await?;
        confirm_same(store, id, size, checksum, head.position)
            .await
            .map_err(|other| head.admits(id, &header).err().unwrap_or(other))?;
        accepted(200, head.position)
    }
}

/// What a segment is to the replica.
enum Admission {
    /// It goes on from this head.
    Next(Head),
    /// There is one of its name.
    Retry(Head),
}

/// Decides by the header what a segment is. The remembered head will do if the segment goes on from it: if it
/// is out of date, the segment will be found to overlap another once it is created.
async fn admit(store: &R2Store, id: SegmentId, header: &Header) -> Result<Admission, Failure> {
    if let Some(head) = heads::hint(store.db())
        && head.admits(id, header).is_ok()
    {
        return Ok(Admission::Next(head));
    }
    let head = heads::read(store).await?;
    match head.admits(id, header) {
        Ok(()) => Ok(Admission::Next(head)),
        Err(_) if id.max <= head.position.txid && store.stat(id).await?.is_some() => {
            Ok(Admission::Retry(head))
        }
        Err(failure) => Err(failure),
    }
}

/// Succeeds if the object that exists is what was sent.
async fn confirm_same(
    store: &R2Store,
    id: SegmentId,
    size: u64,
    checksum: FileChecksum,
    head: Position,
) -> Result<(), Failure> {
    let other = || Failure::position_mismatch(head, format_args!("it holds another segment {id}"));
    let found = store.stat(id).await?.ok_or_else(other)?;
    if found.size != size {
        return Err(other());
    }
    let end = store
        .read(id, size.saturating_sub(Trailer::LEN as u64)..size)
        .await?;
    match end.first_chunk().map(Trailer::parse) {
        Some(Ok(trailer)) if trailer.file_checksum == checksum => Ok(()),
        _ => Err(other()),
    }
}

fn check_level(id: SegmentId) -> Result<(), Failure> {
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
            format!("A segment may have {MAX_SIZE} bytes at most, this one has {length}."),
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
