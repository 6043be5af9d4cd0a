//! Reading one's own writes: a request may say which transaction it wants to see.

use std::time::Duration;

use worker::{Date, Delay, Request};

use super::failure::Failure;
use super::head::Head;
use super::replica::Replica;
use crate::ltx::Txid;

/// The header of a request that is answered when the replica stands at this TXID, or beyond.
pub(super) const AT_LEAST: &str = "Walferry-At-Least";
/// Who has not seen it by then is told to come again.
const PATIENCE_MS: u64 = 10_000;
const LOOK_AGAIN_MS: u64 = 10;

/// The head, once it is where the request wants it.
pub(super) async fn head(request: &Request, replica: &Replica) -> Result<Head, Failure> {
    let wanted = wanted(request)?;
    let start = Date::now().as_millis();
    loop {
        let head = replica.head().await?;
        if head.position.txid >= wanted {
            return Ok(head);
        }
        let waited = Date::now().as_millis().saturating_sub(start);
        if waited >= PATIENCE_MS {
            return Err(Failure::not_yet(head.position, wanted));
        }
        // What takes long is looked for less often: there may be many who wait.
        Delay::from(Duration::from_millis(LOOK_AGAIN_MS.saturating_add(waited / 20))).await;
    }
}

fn wanted(request: &Request) -> Result<Txid, Failure> {
    let Some(text) = request.headers().get(AT_LEAST)? else {
        return Ok(Txid::ZERO);
    };
    text.parse().map_err(|why| {
        Failure::bad_request(
            "invalid_txid",
            format!("The header {AT_LEAST} is no TXID: {why}."),
        )
    })
}
