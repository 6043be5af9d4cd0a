//! The body of an upload, read piece by piece while it is sent.

use std::convert::Infallible;
use std::ops::Range;

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::http::SILENCE;
use crate::store::{Body, Error, Result};

/// A body up to this size is sent in one piece.
pub(super) const SMALL: u64 = 256 * 1024;
/// A longer one is sent in parts of this length: what one request may send ends soon after, and less is sent again.
pub(super) const WHOLE: u64 = 64 << 20;
pub(super) const PART: u64 = 32 << 20;

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
    /// Feeds a range of `body`, or until the request has ended: its answer says why. After an error the body stays
    /// shorter than its Content-Length, which breaks the request off.
    pub(super) async fn pump(self, body: &dyn Body, range: Range<u64>) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let end = at.saturating_add(SMALL).min(range.end);
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
