//! The body of an upload, read piece by piece while it is sent.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::http::SILENCE;
use crate::store::{Body, Error, Result};

/// A body up to this size is sent in one piece.
pub(super) const SMALL: u64 = 256 * 1024;

/// A request body whose pieces come from a [`Feed`].
pub(super) fn streamed() -> (reqwest::Body, Feed) {
    // One piece under way, one waiting.
    let (sender, receiver) = mpsc::channel(1);
    let pieces = stream::unfold(receiver, async |mut receiver| {
        let piece: Bytes = receiver.recv().await?;
        Some((Ok::<_, Infallible>(piece), receiver))
    });
    (reqwest::Body::wrap_stream(pieces), Feed(sender))
}

/// Where the pieces are put in.
pub(super) struct Feed(mpsc::Sender<Bytes>);

impl Feed {
    /// Feeds all of `body`, or until the request has ended: its answer says why. After an error the body stays
    /// shorter than its Content-Length, which breaks the request off.
    pub(super) async fn pump(self, body: &dyn Body) -> Result<()> {
        let mut at = 0;
        while at < body.len() {
            let end = at.saturating_add(SMALL).min(body.len());
            let piece = body.read(at..end).await?;
            match timeout(SILENCE, self.0.send(piece)).await {
                Ok(Ok(())) => at = end,
                Ok(Err(_)) => break,
                Err(_) => {
                    let why = format!("the upload did not move for {} s", SILENCE.as_secs());
                    return Err(Error::Unavailable(why));
                }
            }
        }
        Ok(())
    }
}
