//! Pauses.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

/// Pauses that grow while a commit or a checkpoint is under way: its notification came before it was done.
#[derive(Debug, Default)]
pub(super) struct Look {
    pause: Duration,
}

impl Look {
    pub(super) fn next(&mut self, longest: Duration) -> Duration {
        self.pause = (self.pause * 2).clamp(Duration::from_micros(500), longest);
        self.pause
    }
}

pub(super) async fn pause_or_never(pause: Option<Duration>) {
    match pause {
        Some(pause) => sleep(pause).await,
        None => std::future::pending().await,
    }
}

pub(super) async fn at_or_never(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
