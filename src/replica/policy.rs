//! How a replica is kept.

use std::time::Duration;

/// What a replica's housekeeping aims at. The defaults are Litestream's, and exact history besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The intervals of levels 1, 2, …: raw segments become one of level 1 whenever the first has passed, and so on.
    /// At most eight, ascending.
    pub levels: Vec<Duration>,
    /// How often a snapshot is taken of a database that changes.
    pub snapshot_interval: Duration,
    /// For how long every moment can be restored; [`Duration::MAX`] is for ever, though not every object stays.
    pub retention: Duration,
    /// Whether anything is deleted at all.
    pub retention_enabled: bool,
    /// How long raw segments stay after a level and a bundle hold what they hold.
    pub raw_retention: Duration,
    /// How much time a bundle of raw segments covers.
    pub history_window: Duration,
    /// A bundle is closed before its window ends when it has so many bytes.
    pub bundle_bytes: u64,
    /// Raw segments longer than this are not copied into bundles: they stay as they are for the whole retention.
    pub bundled_bytes: u64,
    /// For so long after it was planned, a restore finds what it planned to read, or the same elsewhere.
    pub grace: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        const HOUR: Duration = Duration::from_secs(60 * 60);
        Self {
            levels: vec![Duration::from_secs(30), MINUTE.saturating_mul(5), HOUR],
            snapshot_interval: HOUR.saturating_mul(24),
            retention: HOUR.saturating_mul(72),
            retention_enabled: true,
            raw_retention: MINUTE.saturating_mul(5),
            history_window: MINUTE.saturating_mul(5),
            bundle_bytes: 32 * 1024 * 1024,
            bundled_bytes: 4 * 1024 * 1024,
            grace: HOUR,
        }
    }
}
