//! Sends one segment until it is confirmed.

use std::time::Duration;

use super::Replica;
use super::cut::Segment;
use crate::native::status::ReplicaStatus;
use crate::store::{self, create_or_confirm};

/// The first wait after a failure; it doubles up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(250);
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Tries again for as long as the fault may pass.
pub(super) async fn upload(replica: &Replica, segment: &Segment) -> store::Result<()> {
    let mut patience = Patience::new(&replica.status);
    loop {
        match create_or_confirm(&*replica.store, segment.id, &*segment.body, segment.checksum).await {
            Err(error) if error.is_passing() => patience.wait("ship a segment", &error).await,
            result => {
                if result.is_ok() {
                    patience.end();
                }
                return result;
            }
        }
    }
}

/// Waits between attempts, longer each time, and says so.
#[derive(Debug)]
pub(super) struct Patience<'a> {
    status: &'a ReplicaStatus,
    failures: u32,
}

impl<'a> Patience<'a> {
    pub(super) fn new(status: &'a ReplicaStatus) -> Self {
        Self { status, failures: 0 }
    }

    pub(super) async fn wait(&mut self, what: &str, error: &(dyn std::error::Error + 'static)) {
        let wait = FIRST_WAIT
            .saturating_mul(1 << self.failures.min(16))
            .min(MAX_WAIT);
        self.failures = self.failures.saturating_add(1);
        self.status.errors.set(self.status.errors.get().saturating_add(1));
        self.status.failure.replace(Some(error.to_string()));
        tracing::warn!(replica = %self.status.name, failures = self.failures, retry_in = ?wait, "cannot {what} now: {error}");
        tokio::time::sleep(wait).await;
    }

    /// After the attempt that succeeded.
    pub(super) fn end(&self) {
        if self.failures > 0 {
            self.status.failure.replace(None);
            tracing::info!(replica = %self.status.name, failures = self.failures, "the destination answers again");
        }
    }
}
