//! Which merges are done, as long as doing one again would be in haste.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::replica::SegmentId;

/// Keeps a fault of ours from becoming an endless run of requests that someone pays for: no merge is done twice within
/// the interval of its level, whatever the plan says.
#[derive(Debug, Default)]
pub(super) struct Brake {
    until: BTreeMap<SegmentId, Instant>,
}

impl Brake {
    /// Whether this was made so recently that it is not to be made again.
    pub(super) fn holds(&self, id: SegmentId) -> bool {
        self.until.get(&id).is_some_and(|until| Instant::now() < *until)
    }

    /// Notes what was made.
    pub(super) fn made(&mut self, id: SegmentId, interval: Duration) {
        let now = Instant::now();
        self.until.retain(|_, until| now < *until);
        if let Some(until) = now.checked_add(interval) {
            self.until.insert(id, until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ltx::Txid;
    use crate::replica::Level;

    #[tokio::test(start_paused = true)]
    async fn a_merge_is_held_for_its_interval_and_forgotten_after() {
        let merge = |min| SegmentId::new(Level::new(1).unwrap(), Txid(min), Txid(9)).unwrap();
        let interval = Duration::from_secs(30);
        let mut brake = Brake::default();
        assert!(!brake.holds(merge(2)));
        brake.made(merge(2), interval);
        tokio::time::advance(interval - Duration::from_millis(1)).await;
        assert!(brake.holds(merge(2)) && !brake.holds(merge(3)));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!brake.holds(merge(2)));
        brake.made(merge(3), interval);
        assert_eq!(brake.until.len(), 1);
    }
}
