//! Serves the bytes of segments.

use worker::{Method, Object, Request, Response, ResponseBody};

use super::failure::Failure;
use super::r2::{R2Store, timestamp_of};
use super::range::Wanted;
use super::route::Db;
use crate::replica::SegmentId;
use crate::store;

/// The time of a segment's last transaction, in Unix milliseconds.
pub(super) const TIMESTAMP: &str = "Walferry-Timestamp";

/// A segment, whole or a range of it. The bytes go from R2 to the client without passing through wasm.
pub(super) async fn get(request: &Request, store: &R2Store, id: SegmentId) -> Result<Response, Failure> {
    if request.method() == Method::Head {
        let object = store.head(id).await?.ok_or_else(|| missing(store.db(), id))?;
        let mut response = Response::empty()?;
        describe(&mut response, &object, object.size())?;
        return Ok(response);
    }
    let wanted = request
        .headers()
        .get("Range")?
        .map(|header| Wanted::parse(&header))
        .transpose()?;
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
    describe(&mut response, &object, length)?;
    if let Some((first, last)) = part {
        response
            .headers_mut()
            .set("Content-Range", &format!("bytes {first}-{last}/{size}"))?;
        return Ok(response.with_status(206));
    }
    Ok(response)
}

fn describe(response: &mut Response, object: &Object, length: u64) -> worker::Result<()> {
    let headers = response.headers_mut();
    headers.set("Content-Type", "application/octet-stream")?;
    headers.set("Content-Length", &length.to_string())?;
    headers.set("Accept-Ranges", "bytes")?;
    headers.set("ETag", &object.http_etag())?;
    // Objects never change. Private, because the next who asks may have no token.
    headers.set("Cache-Control", "private, max-age=31536000, immutable")?;
    if let Some(timestamp) = timestamp_of(object) {
        headers.set(TIMESTAMP, &timestamp.0.to_string())?;
    }
    Ok(())
}

pub(super) fn missing(db: &Db, id: SegmentId) -> Failure {
    Failure::new(
        404,
        "segment_not_found",
        format!("There is no segment {id} of {db}."),
    )
}

fn unsatisfiable(size: u64) -> Failure {
    let message = format!("The range is beyond the segment's {size} bytes.");
    Failure::new(416, "range_not_satisfiable", message)
        .with_header("Content-Range", format!("bytes */{size}"))
}
