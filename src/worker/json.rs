//! Answers that are JSON.

use serde::Serialize;
use worker::Response;

use super::failure::Failure;
use crate::replica::Position;

/// Where the replica stood when the answer was made: `<txid>/<sum>`.
pub(super) const POSITION: &str = "Walferry-Position";

/// An answer about a moment: with the position, never from a cache.
pub(super) fn answer(body: &impl Serialize, status: u16, position: Position) -> Result<Response, Failure> {
    let mut response = Response::from_json(body)?.with_status(status);
    let headers = response.headers_mut();
    headers.set("Cache-Control", "no-store")?;
    headers.set(POSITION, &position.to_string())?;
    Ok(response)
}
