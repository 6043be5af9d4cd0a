//! A week of a replica's life in some seconds: every moment within the retention restores exactly, by time and by
//! transaction, from few objects that took few requests; and an idle database costs nothing.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod segments;
mod upkeep;

use std::time::Duration;

use upkeep::{Kept, simulate};
use walferry::native::upkeep::Policy;

use walferry::ltx::Timestamp;
use walferry::replica::{Level, SegmentId};
use walferry::store::Store;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// One write a second for a day: 86,400 requests, and five in a hundred more at most.
#[test]
fn a_day_of_one_write_a_second_costs_few_requests_more() {
    simulate(async {
        let mut kept = Kept::start(Policy::default(), 5).await;
        // Settle first: what is counted is a day in the middle.
        kept.write_every(SECOND, HOUR).await;
        kept.requests.reset();
        kept.write_every(SECOND, DAY).await;
        let (requests, deletes) = kept.requests.take();
        println!("{requests} requests, {deletes} deletions, {:?}", kept.counts());
        assert!(requests <= 86_400 * 105 / 100, "{requests} requests");
        assert!(deletes < 86_400 / 10, "{deletes} deletions");
        kept.every_moment_restores(HOUR * 25, 150).await;
    });
}

/// Hours of load, days of a write now and then, restarts, and load again.
#[test]
fn a_week_is_kept_in_few_objects_and_forgotten_in_time() {
    simulate(async {
        let mut kept = Kept::start(Policy::default(), 7).await;
        kept.write_every(SECOND, HOUR * 5).await;
        kept.every_moment_restores(DAY * 3, 100).await;
        for hour in 0..24 * 6 {
            kept.write_every(MINUTE * 17 + SECOND, HOUR).await;
            if hour % 29 == 7 {
                kept.reopen().await;
            }
            if hour % 24 == 13 {
                kept.every_moment_restores(DAY * 3, 60).await;
                assert_nothing_expired_is_left(&kept).await;
            }
        }
        kept.write_every(SECOND, HOUR * 2).await;
        kept.every_moment_restores(DAY * 3, 150).await;
        assert_nothing_expired_is_left(&kept).await;
        let counts = kept.counts();
        let objects: usize = counts.iter().map(|(_, count)| count).sum();
        assert!(objects < 3000, "{counts:?}");
        assert_eq!(*kept.status.upkeep_failure.borrow(), None);
    });
}

/// After the last write the open windows close once, a snapshot is taken, what expires goes; then nothing, ever.
#[test]
fn an_idle_database_costs_nothing() {
    simulate(async {
        let mut kept = Kept::start(Policy::default(), 11).await;
        kept.idle(DAY).await;
        assert_eq!(kept.requests.take(), (0, 0), "nothing but the first copy");
        kept.write_every(SECOND, MINUTE * 10).await;
        kept.requests.reset();
        kept.idle(DAY * 2).await;
        let (requests, _) = kept.requests.take();
        // What is open at each level, a bundle, a snapshot and its sums.
        assert!(requests <= 8, "{requests}");
        kept.every_moment_restores(DAY * 2, 30).await;
        kept.idle(DAY * 3).await;
        assert_eq!(kept.requests.take().0, 0);
        assert_eq!(
            kept.counts(),
            [(9, 1), (11, 1)],
            "the last snapshot is all that is needed"
        );
        kept.idle(DAY * 30).await;
        assert_eq!(kept.requests.take(), (0, 0));
        kept.reopen().await;
        kept.idle(DAY * 30).await;
        assert_eq!(kept.requests.take(), (0, 0));
        kept.every_moment_restores(DAY, 4).await;
    });
}

/// Whoever is told to keep everything deletes nothing.
#[test]
fn nothing_is_deleted_where_retention_is_off() {
    simulate(async {
        let policy = Policy {
            retention_enabled: false,
            retention: HOUR,
            ..Policy::default()
        };
        let mut kept = Kept::start(policy, 3).await;
        kept.write_every(SECOND * 30, DAY * 2).await;
        assert_eq!(kept.requests.take().1, 0);
        kept.every_moment_restores(DAY * 2, 50).await;
    });
}

/// Of all that only states before the retention need, nothing is there.
async fn assert_nothing_expired_is_left(kept: &Kept) {
    let slack = kept.policy.retention + kept.policy.grace + MINUTE;
    let edge = Timestamp(kept.clock.now().0 - slack.as_millis() as i64);
    let time = |id: SegmentId| kept.states[id.max.0 as usize - 1].0;
    let mut all = kept.store.list_all(walferry::ltx::Txid::ZERO).await.unwrap();
    for shelf in [Level::HISTORY, Level::SUMS] {
        all.extend(kept.store.list(shelf, walferry::ltx::Txid::ZERO).await.unwrap());
    }
    let wholes = all
        .iter()
        .map(|info| info.id)
        .filter(|id| id.level == Level::SNAPSHOT);
    let Some(base) = wholes.filter(|id| time(*id) <= edge).max() else {
        return;
    };
    for info in all.iter().filter(|info| info.id != base) {
        let sums = info.id.level == Level::SUMS && info.id.max == base.max;
        assert!(info.id.max > base.max || sums, "{} is older than {base}", info.id);
    }
}
