//! What the engine's end and the task of an upkeep have in common, and the task's loop.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::brake::Brake;
use super::error::Error;
use super::recent::Recent;
use crate::ltx::Timestamp;
use crate::native::clock::Clock;
use crate::native::status::ReplicaStatus;
use crate::replica::{Catalog, Next, Policy, next_chore, snapshot_due};
use crate::store::Store;

/// The first pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

pub(super) struct Shared {
    pub(super) store: Rc<dyn Store>,
    pub(super) policy: Policy,
    pub(super) folder: PathBuf,
    pub(super) clock: Clock,
    pub(super) status: Rc<ReplicaStatus>,
    pub(super) catalog: RefCell<Catalog>,
    pub(super) recent: RefCell<Recent>,
    pub(super) brake: RefCell<Brake>,
    /// When the task looks again by itself.
    pub(super) alarm: Cell<Option<Timestamp>>,
    /// Something has come that is due before the alarm.
    pub(super) wake: Notify,
    pub(super) is_snapshot_due: Cell<bool>,
    pub(super) snapshot_due: Rc<Notify>,
}

impl Shared {
    /// Does what is due, waits for what will be.
    pub(super) async fn run(&self) {
        let mut failures = 0u32;
        let mut has_learnt = false;
        loop {
            match self.work(&mut has_learnt).await {
                Ok(()) => {
                    failures = 0;
                    self.wait().await;
                }
                Err(error) => {
                    self.fail(&error);
                    let pause = FIRST_PAUSE
                        .saturating_mul(1 << failures.min(16))
                        .min(LONGEST_PAUSE);
                    failures = failures.saturating_add(1);
                    sleep(pause).await;
                }
            }
        }
    }

    /// Until nothing is due.
    async fn work(&self, has_learnt: &mut bool) -> Result<(), Error> {
        loop {
            let next = next_chore(&self.catalog.borrow(), &self.policy, self.clock.now());
            let alarm = match next {
                Next::Now(_) if !*has_learnt => {
                    self.learn().await?;
                    *has_learnt = true;
                    continue;
                }
                Next::Now(chore) => {
                    let errors = self.status.upkeep_errors.get();
                    self.perform(chore).await?;
                    if self.status.upkeep_errors.get() == errors {
                        // What failed before has passed.
                        self.status.upkeep_failure.take();
                    }
                    continue;
                }
                Next::At(time) => Some(time),
                Next::Never => None,
            };
            self.alarm.set(self.with_snapshot(alarm));
            return Ok(());
        }
    }

    /// Tells the engine when a snapshot is due; until then, it is something to wait for.
    fn with_snapshot(&self, alarm: Option<Timestamp>) -> Option<Timestamp> {
        if self.is_snapshot_due.get() {
            return alarm;
        }
        match snapshot_due(&self.catalog.borrow(), &self.policy) {
            Some(due) if due <= self.clock.now() => {
                self.is_snapshot_due.set(true);
                self.snapshot_due.notify_one();
                alarm
            }
            Some(due) => Some(alarm.map_or(due, |alarm| alarm.min(due))),
            None => alarm,
        }
    }

    /// For the alarm, if there is one, or for what comes before it.
    async fn wait(&self) {
        let Some(alarm) = self.alarm.get() else {
            return self.wake.notified().await;
        };
        let millis = alarm.0.saturating_sub(self.clock.now().0).max(1);
        tokio::select! {
            () = sleep(Duration::from_millis(u64::try_from(millis).unwrap_or(1))) => {}
            () = self.wake.notified() => {}
        }
    }

    pub(super) fn fail(&self, error: &Error) {
        tracing::warn!(replica = self.status.name, "its upkeep waits: {error}");
        self.status.upkeep_errors.set(self.status.upkeep_errors.get() + 1);
        *self.status.upkeep_failure.borrow_mut() = Some(error.to_string());
    }
}
