//! Sends one segment until it is confirmed.

use std::rc::Rc;
use std::time::Duration;

use super::cut::Segment;
use crate::store::{self, Store, create_or_confirm};

/// The first wait after a failure; it doubles up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(250);
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Tries again for as long as the fault may pass, and gives the segment back with how it ended.
pub(super) async fn upload(store: Rc<dyn Store>, segment: Segment) -> (Segment, store::Result<()>) {
    let mut patience = Patience::default();
    loop {
        match create_or_confirm(&*store, segment.id, &segment.body, segment.checksum).await {
            Err(error) if error.is_passing() => patience.wait("ship a segment", &error).await,
            result => {
                if result.is_ok() {
                    patience.end();
                }
                return (segment, result);
            }
        }
    }
}

/// Waits between attempts, longer each time, and says so.
#[derive(Debug, Default)]
pub(super) struct Patience {
    failures: u32,
}

impl Patience {
    pub(super) async fn wait(&mut self, what: &str, error: &(dyn std::error::Error + 'static)) {
        let wait = FIRST_WAIT
            .saturating_mul(1 << self.failures.min(16))
            .min(MAX_WAIT);
        self.failures = self.failures.saturating_add(1);
        tracing::warn!(failures = self.failures, retry_in = ?wait, "cannot {what} now: {error}");
        tokio::time::sleep(wait).await;
    }

    /// After the attempt that succeeded.
    pub(super) fn end(&self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "the destination answers again");
        }
    }
}
