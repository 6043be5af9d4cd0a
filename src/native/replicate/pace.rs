//! Pauses.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::native::sqlite::Committed;

/// The pin is not older than this while the database is written: a RESTART or TRUNCATE checkpoint of the application
/// waits for an older one, with the write lock in its hands, and nothing tells us. And it is not moved more often, see
/// [`Source::advance_after`](crate::native::sqlite::Source::advance_after).
pub(super) const PIN_AGE: Duration = Duration::from_millis(125);

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

/// How fast the WAL grows.
#[derive(Debug)]
pub(super) struct Growth {
    seen: Option<(Instant, Committed)>,
    frames_a_second: f64,
}

/// Between two looks at it at the least.
const SHORTEST_GROWTH: Duration = Duration::from_millis(2);

impl Growth {
    pub(super) fn new() -> Self {
        Self {
            seen: None,
            frames_a_second: 0.0,
        }
    }

    /// It is so long now.
    pub(super) fn see(&mut self, committed: &Committed) {
        let now = Instant::now();
        if let Some((then, before)) = &self.seen {
            let passed = now.saturating_duration_since(*then);
            if passed < SHORTEST_GROWTH {
                return;
            }
            let kept = match before.salts == committed.salts {
                true => before.mx_frame,
                false => 0,
            };
            let grown = committed.mx_frame.saturating_sub(kept);
            // While somebody copies back in its commit it does not grow, and right after that as fast as before.
            self.frames_a_second = (f64::from(grown) / passed.as_secs_f64()).max(self.frames_a_second / 2.0);
        }
        self.seen = Some((now, *committed));
    }

    /// When it will be so long, if it is not yet and that is soon.
    pub(super) fn reaches(&self, frames: u32, soon: Duration) -> Option<Instant> {
        let (then, seen) = self.seen.as_ref()?;
        let missing = frames.checked_sub(seen.mx_frame).filter(|missing| *missing > 0)?;
        let pause = Duration::try_from_secs_f64(f64::from(missing) / self.frames_a_second).ok()?;
        (pause < soon).then(|| *then + pause.max(SHORTEST_GROWTH))
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

/// When segments are cut: on the whole one in an interval, so that a day costs what it says. Who has been quiet has saved
/// up for a while of shorter intervals, in which less is lost if the machine dies. So has who starts.
#[derive(Debug)]
pub(super) struct Allowance {
    interval: Duration,
    saved: Duration,
    last: Instant,
    next: Instant,
}

/// So many intervals can be saved up.
const SAVED_INTERVALS: u32 = 300;

impl Allowance {
    pub(super) fn new(interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            interval,
            saved: interval.saturating_mul(SAVED_INTERVALS),
            last: now,
            next: now,
        }
    }

    /// When the next segment may be cut.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// The last one.
    pub(super) fn last(&self) -> Instant {
        self.last
    }

    /// One is cut.
    pub(super) fn spend(&mut self) {
        let now = Instant::now();
        let since = now.saturating_duration_since(self.last);
        let most = self.interval.saturating_mul(SAVED_INTERVALS);
        self.saved = self
            .saved
            .saturating_add(since)
            .min(most)
            .saturating_sub(self.interval);
        let pause = match self.saved >= self.interval {
            true => self.interval / 2,
            false => self.interval,
        };
        (self.last, self.next) = (now, now + pause);
    }

    /// The next one need not wait.
    pub(super) fn now(&mut self) {
        self.next = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many segments are cut in so many seconds of a steady load.
    async fn cut(allowance: &mut Allowance, seconds: u64) -> u32 {
        let (end, mut count) = (Instant::now() + Duration::from_secs(seconds), 0);
        loop {
            tokio::time::sleep_until(allowance.next()).await;
            if Instant::now() >= end {
                return count;
            }
            allowance.spend();
            count += 1;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_saved_is_spent_and_no_more() {
        let mut allowance = Allowance::new(Duration::from_secs(1));
        let first = cut(&mut allowance, 1000).await;
        assert!((1295..=1305).contains(&first), "{first}");
        tokio::time::sleep(Duration::from_secs(50)).await;
        let burst = cut(&mut allowance, 40).await;
        assert!((79..=81).contains(&burst), "{burst}");
        let after = cut(&mut allowance, 200).await;
        assert!((205..=215).contains(&after), "{after}");
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        let day = cut(&mut allowance, 86_400).await;
        assert!(day <= 86_400 + 301, "{day}");
    }
}
