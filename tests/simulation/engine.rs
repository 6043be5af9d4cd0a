//! The engine under test, as a task that can be ended at any of its steps.

use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use walferry::ltx::Codec;
use walferry::native::replicate::{self, Environment, Error, Options, Replica, ReplicaOptions, SyncRequest};
use walferry::native::status::{DatabaseStatus, ReplicaStatus};
use walferry::replica::Policy;

use super::random::Random;
use super::store::Faulty;

/// How it is set up, the same for every start of a seed.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) codec: Codec,
    pub(crate) sync_interval: Duration,
    pub(crate) checkpoint_frames: u32,
    pub(crate) wal_limit: u64,
    pub(crate) queue_segments: usize,
    pub(crate) queue_bytes: u64,
    pub(crate) upkeep: Option<Policy>,
}

impl Setup {
    pub(crate) fn draw(random: &mut Random) -> Self {
        Self {
            codec: random.pick(&Codec::ALL),
            sync_interval: Duration::from_millis(random.pick(&[1, 100, 1000, 10_000])),
            checkpoint_frames: random.pick(&[1, 20, 1000]),
            wal_limit: random.pick(&[32, 128, 1024]) * 1024,
            queue_segments: random.pick(&[1, 3, 32]),
            queue_bytes: random.pick(&[16, 256, 4096]) * 1024,
            upkeep: random.once_in(2).then(|| policy(random)),
        }
    }
}

/// Days of upkeep in hours.
fn policy(random: &mut Random) -> Policy {
    let seconds = Duration::from_secs;
    Policy {
        levels: vec![seconds(random.pick(&[5, 30])), seconds(300), seconds(3600)],
        snapshot_interval: seconds(random.pick(&[600, 7200])),
        retention: seconds(random.pick(&[3600, 3 * 3600])),
        raw_retention: seconds(random.pick(&[0, 60])),
        history_window: seconds(random.pick(&[10, 300])),
        bundle_bytes: random.pick(&[16, 1024]) * 1024,
        bundled_bytes: 1024 * 1024,
        grace: seconds(random.pick(&[60, 1800])),
        ..Policy::default()
    }
}

pub(crate) struct Engine {
    requests: mpsc::Sender<SyncRequest>,
    task: JoinHandle<Result<(), Error>>,
    shutdown: Option<oneshot::Sender<()>>,
    pub(crate) status: Rc<DatabaseStatus>,
}

impl Engine {
    pub(crate) fn start(
        database: &Path,
        stores: &[Rc<Faulty>],
        setup: &Setup,
        environment: &Environment,
    ) -> Self {
        let (requests, asked_for) = mpsc::channel(8);
        let options = Options {
            requests: Some(asked_for),
            checkpoint_frames: setup.checkpoint_frames,
            wal_limit: setup.wal_limit,
            queue_segments: setup.queue_segments,
            queue_bytes: setup.queue_bytes,
            ..Options::new(database.to_owned())
        };
        let replicas: Vec<Replica> = (0..)
            .zip(stores)
            .map(|(number, store)| Replica {
                store: Rc::clone(store) as Rc<dyn walferry::store::Store>,
                options: ReplicaOptions {
                    sync_interval: setup.sync_interval,
                    upkeep: setup.upkeep.clone(),
                    ..ReplicaOptions::new(setup.codec)
                },
                status: ReplicaStatus::new(format!("replica {number}"), "file"),
            })
            .collect();
        let statuses = replicas
            .iter()
            .map(|replica| Rc::clone(&replica.status))
            .collect();
        let status = DatabaseStatus::new(database.to_owned(), statuses);
        let (shutdown, asked) = oneshot::channel();
        let (environment, told) = (environment.clone(), Rc::clone(&status));
        let task = tokio::task::spawn_local(async move {
            let asked = async {
                // Dropped without a word, it is asked for nothing.
                if asked.await.is_err() {
                    std::future::pending().await
                }
            };
            replicate::run(options, replicas, told, &environment, asked).await
        });
        Self {
            task,
            requests,
            shutdown: Some(shutdown),
            status,
        }
    }

    /// The engine's own end, which nobody asked for: a failure.
    pub(crate) async fn unexpected_end(&mut self) -> String {
        match (&mut self.task).await {
            Ok(Ok(())) => "it ended without being asked to".into(),
            Ok(Err(error)) => format!("{error} ({error:?})"),
            Err(error) => format!("it panicked: {error}"),
        }
    }

    /// Asks that all be shipped now, and waits until every replica has it.
    pub(crate) async fn sync(&self) {
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(SyncRequest { reply })
            .await
            .expect("the engine takes requests");
        answer.await.expect("everything is shipped");
    }

    /// Ends it where it stands.
    pub(crate) async fn crash(mut self) {
        self.task.abort();
        (&mut self.task).await.ok();
    }

    /// Asks it to ship what is committed, and to end.
    pub(crate) async fn stop(mut self) -> Result<(), Error> {
        if let Some(shutdown) = self.shutdown.take() {
            shutdown.send(()).ok();
        }
        (&mut self.task).await.expect("the engine panicked")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Lets the engine take a few steps.
pub(crate) async fn steps(count: u64) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// Waits, but not for ever: virtual time costs nothing.
pub(crate) async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {limit:?} of virtual time for {what}"),
    }
}
