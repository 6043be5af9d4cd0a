//! `verify-interval`: replicas are restored now and then, to know that they can be.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::native::config::Replica;
use crate::native::replicate::Environment;
use crate::native::restore::{Drill, verify};
use crate::native::status::{DatabaseStatus, ReplicaStatus, Verified};
use crate::native::store::Destination;
use crate::store::Store;

/// Restores each replica in its interval, for as long as it is followed. Without intervals it only waits.
pub(super) async fn run(
    replicas: &[Replica],
    stores: &[Rc<dyn Store>],
    status: &DatabaseStatus,
    environment: &Environment,
) -> Infallible {
    let drills = replicas.iter().zip(stores).zip(&status.replicas);
    let drills = drills.filter_map(|((replica, store), status)| {
        let of = &replica.destination;
        Some(repeat(replica.verify_interval?, of, store, status, environment))
    });
    join_all(drills).await;
    std::future::pending().await
}

async fn repeat(
    interval: Duration,
    destination: &Destination,
    store: &Rc<dyn Store>,
    status: &ReplicaStatus,
    environment: &Environment,
) {
    loop {
        sleep(interval).await;
        let start = Instant::now();
        let result = verify(destination, Rc::clone(store), &Drill::default(), |_, _| {}).await;
        let seconds = start.elapsed().as_secs_f64();
        let failure = result.err().map(|error| error.to_string());
        match &failure {
            None => tracing::info!(
                replica = status.name,
                seconds,
                "the replica was restored and proven"
            ),
            Some(why) => tracing::error!(replica = status.name, "the replica cannot be restored: {why}"),
        }
        status.record_drill(Verified {
            at: environment.clock.now(),
            seconds,
            failure,
        });
    }
}
