//! A dead man's switch: a monitor elsewhere is asked for its URL as long as all is well, and alerts when that stops.

use std::time::Duration;

use reqwest::{Client, Url};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::health::{Health, MAX_LAG};
use crate::native::clock::Clock;
use crate::native::status::Databases;

/// How long the monitor may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often is looked whether the first copies are there.
const FIRST_LOOK: Duration = Duration::from_millis(500);

/// Where to, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Asked for by GET. It may hold a secret: messages name its host alone.
    pub url: Url,
    /// Between two of them.
    pub interval: Duration,
}

/// The beating, as long as it is kept.
#[derive(Debug)]
pub struct Heartbeat(JoinHandle<()>);

impl Heartbeat {
    /// Beats on this thread's [`LocalSet`](tokio::task::LocalSet): first when every replica has confirmed something,
    /// then in each interval while `/health` would say that all is well.
    pub fn start(pulse: Pulse, databases: Databases, clock: Clock) -> Result<Self, reqwest::Error> {
        let client = Client::builder().timeout(PATIENCE).build()?;
        Ok(Self(tokio::task::spawn_local(beat(
            pulse, client, databases, clock,
        ))))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn beat(pulse: Pulse, client: Client, databases: Databases, clock: Clock) {
    let host = pulse.url.host_str().unwrap_or_default().to_owned();
    while !has_begun(&databases) {
        sleep(FIRST_LOOK.min(pulse.interval)).await;
    }
    let mut fails = false;
    loop {
        let reasons = {
            let databases = databases.borrow();
            Health::of(databases.iter().map(AsRef::as_ref), MAX_LAG, clock.now()).reasons()
        };
        let failure = match reasons {
            Some(reasons) => Some(reasons),
            None => {
                let answer = client.get(pulse.url.clone()).send().await;
                let answer = answer.and_then(reqwest::Response::error_for_status);
                answer.err().map(|error| error.without_url().to_string())
            }
        };
        match &failure {
            Some(why) if !fails => tracing::warn!(host, "no heartbeat: {why}"),
            None if fails => tracing::info!(host, "the heart beats again"),
            _ => {}
        }
        fails = failure.is_some();
        sleep(pulse.interval).await;
    }
}

fn has_begun(databases: &Databases) -> bool {
    let databases = databases.borrow();
    let mut replicas = databases.iter().flat_map(|database| &database.replicas);
    replicas.all(|replica| replica.last_success.get().is_some())
}
