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

const SECOND: Duration = Duration::from_secs(1);
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
        assert!(requests <= 86_400 * 105 / 100, "{requests} requests");
        assert!(deletes < 86_400 / 10, "{deletes} deletions");
        println!("{requests} requests, {deletes} deletions, {:?}", kept.counts());
        kept.every_moment_restores(HOUR * 25, 150).await;
    });
}
