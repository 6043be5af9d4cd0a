//! Serves the bytes of segments.

use worker::{Method, Request, Response, ResponseBody};

use super::failure::Failure;
use super::r2::{R2Store, timestamp_of};
use super::range::Wanted;
use super::route::Db;
use crate::ltx::{Header, Timestamp};
use crate::replica::SegmentId;
use crate::store;

/// The time of a segment's last transaction, in Unix milliseconds.
pub(super) const TIMESTAMP: &str = "Walferry-Timestamp";

/// The code of the refusal for a segment that is not there.
pub(super) const MISSING: &str = "segment_not_found";

/// A segment, whole or a range of it. The bytes go from R2 to the client without passing through wasm.
pub(super) async fn get(request: &Request, store: &R2Store, id: SegmentId) -> Result<Response, Failure> {
    if request.method() == Method::Head {
        let object = store.head(id).await?.ok_or_else(|| missing(store.db(), id))?;
        let mut response = Response::empty()?;
        describe(
            &mut response,
            &object.http_etag(),
            timestamp_of(&object),
            object.size(),
        )?;
        return Ok(response);
    }
    let wanted = wanted(request)?;
    let object = match store.get(id, wanted).await {
        Err(store::Error::OutOfRange(_)) => None,
        found => Some(found?.ok_or_else(|| missing(store.db(), id))?),
    };
    let Some(object) = object else {
        let size = store
            .head(id)
            .await?
            .ok_or_else(|| missing(store.db(), id))?
            .size();
        return Err(unsatisfiable(size));
    };
    let size = object.size();
    let part = match wanted {
        Some(wanted) => Some(wanted.within(size).ok_or_else(|| unsatisfiable(size))?),
        None => None,
    };
    let body = match object.body() {
        Some(body) => body.response_body()?,
        None => ResponseBody::Empty,
    };
    let mut response = Response::from_body(body)?;
    let length = part.map_or(size, |(first, last)| last.saturating_sub(first).saturating_add(1));
    describe(&mut response, &object.http_etag(), timestamp_of(&object), length)?;
    partial(response, part, size)
}

/// The same of a segment that is at hand.
pub(super) fn kept(request: &Request, bytes: &[u8]) -> Result<Response, Failure> {
    let size = bytes.len() as u64;
    let is_head = request.method() == Method::Head;
    let wanted = if is_head { None } else { wanted(request)? };
    let part = match wanted {
        Some(wanted) => Some(wanted.within(size).ok_or_else(|| unsatisfiable(size))?),
        None => None,
    };
    let range = part.map_or(0..bytes.len(), |(first, last)| {
        usize::try_from(first).unwrap_or(usize::MAX)
            ..usize::try_from(last.saturating_add(1)).unwrap_or(usize::MAX)
    });
    let sent = bytes.get(range).unwrap_or_default();
    let mut response = match is_head {
        true => Response::empty()?,
        false => Response::from_bytes(sent.to_vec())?,
    };
    // What a segment ends with is the checksum of all of it.
    let checksum = bytes.last_chunk::<8>().copied().unwrap_or_default();
    let etag = format!("\"{}\"", super::r2::hex(&checksum));
    let header = bytes.first_chunk().and_then(|start| Header::parse(start).ok());
    describe(
        &mut response,
        &etag,
        header.map(|header| header.timestamp),
        sent.len() as u64,
    )?;
    partial(response, part, size)
}

fn wanted(request: &Request) -> Result<Option<Wanted>, Failure> {
    let range = request.headers().get("Range")?;
    range.map(|header| Wanted::parse(&header)).transpose()
}

fn partial(mut response: Response, part: Option<(u64, u64)>, size: u64) -> Result<Response, Failure> {
    let Some((first, last)) = part else {
        return Ok(response);
    };
    let headers = response.headers_mut();
    headers.set("Content-Range", &format!("bytes {first}-{last}/{size}"))?;
    // A browser that has kept parts asks on its own for each stretch between them.
    headers.set("Cache-Control", "no-store")?;
    Ok(response.with_status(206))
}

fn describe(
    response: &mut Response,
    etag: &str,
    timestamp: Option<Timestamp>,
    length: u64,
) -> worker::Result<()> {
    let headers = response.headers_mut();
    headers.set("Content-Type", "application/octet-stream")?;
    headers.set("Content-Length", &length.to_string())?;
    headers.set("Accept-Ranges", "bytes")?;
    headers.set("ETag", etag)?;
    // Objects never change. Private, because the next who asks may have no token.
    headers.set("Cache-Control", "private, max-age=31536000, immutable")?;
    if let Some(timestamp) = timestamp {
        headers.set(TIMESTAMP, &timestamp.0.to_string())?;
    }
    Ok(())
}

pub(super) fn missing(db: &Db, id: SegmentId) -> Failure {
    Failure::new(404, MISSING, format!("There is no segment {id} of {db}."))
}

fn unsatisfiable(size: u64) -> Failure {
    let message = format!("The range is beyond the segment's {size} bytes.");
    Failure::new(416, "range_not_satisfiable", message)
        .with_header("Content-Range", format!("bytes */{size}"))
}
