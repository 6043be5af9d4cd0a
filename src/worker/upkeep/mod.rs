//! Keeps a replica in order next to its bytes: merges segments into levels, bundles the raw ones, makes snapshots, deletes
//! what no one may want any more. What there is to do is for [`crate::replica::next_chore`] to say, as for the native
//! replicator.
//!
//! It is driven by the object's alarm, and there is an alarm only while something is due. An alarm works for a *slice*: so
//! many requests to R2 and so many bytes. What is not done by then waits in memory for the next alarm, which is set at
//! once; if the object dies meanwhile, the chore is begun again, and finds out what of it was done.
//!
//! Before a slice begins, the alarm after it is set, later with every failure: whatever becomes of the slice, the object
//! wakes again, and what fails over and over costs less and less.

mod budget;
mod chores;
mod output;
mod settings;

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, poll_fn};
use serde::Serialize;
use worker::{Date, Env, Storage, console_error};

use super::failure::Failure;
use super::ledger::{Ledger, State};
use super::replica::Replica;
use crate::json::{FromJson, Json};
use crate::ltx::{Timestamp, Txid};
use crate::replica::{Next, Policy, next_chore};
use budget::Budget;

/// The first pause after a failure; it doubles up to [`LONGEST_PAUSE`]. Tests have no hours.
const FIRST_PAUSE: u64 = if cfg!(feature = "fault-points") { 20 } else { 1000 };
const LONGEST_PAUSE: u64 = if cfg!(feature = "fault-points") {
    500
} else {
    3_600_000
};

/// The notes of a ledger: that bundles must be read again, what keeps upkeep from being done.
const LEARN: &str = "learn";
const TROUBLE: &str = "trouble";

/// The upkeep of one database.
pub(super) struct Upkeep {
    env: Env,
    storage: Storage,
    policy: OnceCell<Result<Rc<Policy>, String>>,
    /// What the last slice has not come to the end of.
    rest: RefCell<Option<Work>>,
    budget: Rc<Budget>,
    alarm: Cell<Alarm>,
    /// A slice has failed: the alarm is a pause.
    is_waiting: Cell<bool>,
}

type Work = LocalBoxFuture<'static, Result<Option<Timestamp>, Failure>>;

/// When the alarm is to ring, as far as this instance knows.
#[derive(Clone, Copy)]
enum Alarm {
    Unknown,
    None,
    At(u64),
}

/// What keeps upkeep from being done.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Trouble {
    /// How often in a row.
    pub(super) failures: u32,
    pub(super) error: String,
}

/// How far a slice came.
enum Slice {
    Rest,
    Done(Option<Timestamp>),
}

/// What keeps upkeep from being done, if something does.
pub(super) fn trouble(ledger: &Ledger) -> Result<Option<Trouble>, Failure> {
    let trouble = ledger.note::<Trouble>(TROUBLE)?;
    Ok(trouble.filter(|trouble| !trouble.error.is_empty()))
}

/// To be told when the ledger was filled from the bucket: what it does not tell must be learnt again.
pub(super) fn forgot(ledger: &Ledger) -> Result<(), Failure> {
    // Where nothing was found, there is nothing to learn.
    if ledger.is_blank()? {
        return Ok(());
    }
    ledger.set_note(LEARN, &true)
}

impl FromJson for Trouble {
    fn from_json(json: Json<'_>) -> Option<Self> {
        Some(Self {
            failures: json.get("failures")?,
            error: json.get("error")?,
        })
    }
}

impl std::fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upkeep").finish_non_exhaustive()
    }
}

impl Upkeep {
    pub(super) fn new(env: Env, storage: Storage) -> Self {
        Self {
            env,
            storage,
            policy: OnceCell::new(),
            rest: RefCell::default(),
            budget: Rc::default(),
            alarm: Cell::new(Alarm::Unknown),
            is_waiting: Cell::new(false),
        }
    }

    /// To be called when objects were added: nothing that comes is due before the smallest window closes.
    pub(super) async fn added(&self) -> Result<(), Failure> {
        let window = match self.policy() {
            Ok(policy) => {
                let windows = policy.levels.iter().chain([&policy.history_window]);
                windows.min().map_or(1, |window| window.as_millis().max(1) as u64)
            }
            // To say so.
            Err(_) => 1000,
        };
        let now = Date::now().as_millis();
        let end = now
            .saturating_sub(now.checked_rem(window).unwrap_or(0))
            .saturating_add(window);
        let known = match self.alarm.get() {
            Alarm::Unknown => self.storage.get_alarm().await?.map(|at| at.max(0) as u64),
            Alarm::None => None,
            Alarm::At(at) => Some(at),
        };
        match known {
            // One that waits after a failure is not to come sooner.
            Some(at) if at <= end || self.is_waiting.get() => self.alarm.set(Alarm::At(at)),
            _ => self.set(end).await?,
        }
        Ok(())
    }

    /// To be called when the object has woken: if its alarm was lost, it is set again.
    pub(super) async fn woken(&self, replica: &Replica) -> Result<(), Failure> {
        let alarm = self.storage.get_alarm().await?;
        self.alarm
            .set(alarm.map_or(Alarm::None, |at| Alarm::At(at.max(0) as u64)));
        let is_known = matches!(replica.ledger.open()?, State::Known(_, _, None));
        let Ok(policy) = self.policy() else {
            return Ok(());
        };
        if alarm.is_some() {
            return Ok(());
        }
        if !is_known {
            // If nothing comes of what is open, what is kept would wait for ever.
            let is_open = matches!(replica.ledger.open()?, State::Known(_, _, Some(_)));
            return if is_open { self.added().await } else { Ok(()) };
        }
        let catalog = replica.ledger.catalog()?;
        if catalog.newest() > Txid::ZERO && next_chore(&catalog, &policy, chores::now()) != Next::Never {
            self.added().await?;
        }
        Ok(())
    }

    /// Works for one slice, and sets the next alarm. Only storage that does not serve is an error: then the runtime calls
    /// again.
    pub(super) async fn ring(&self, replica: &Replica) -> worker::Result<()> {
        let ledger = &replica.ledger;
        let before = self.begin(ledger).await.map_err(to_runtime)?;
        let slice = async { self.slice(replica, self.policy()?).await };
        let done = match slice.await {
            Ok(slice) => slice,
            Err(failure) => {
                self.is_waiting.set(true);
                let error = failure.message().to_owned();
                console_error!("the upkeep of {} waits: {error}", replica.store.db());
                let failures = before.saturating_add(1);
                let trouble = Trouble { failures, error };
                return ledger.set_note(TROUBLE, &trouble).map_err(to_runtime);
            }
        };
        self.is_waiting.set(false);
        ledger.forget_note(TROUBLE).map_err(to_runtime)?;
        let now = Date::now().as_millis();
        match done {
            Slice::Rest => self.set(now).await,
            Slice::Done(Some(at)) => self.set((at.0.max(0) as u64).max(now)).await,
            Slice::Done(None) => {
                self.alarm.set(Alarm::None);
                self.storage.delete_alarm().await.map_err(Failure::from)
            }
        }
        .map_err(to_runtime)
    }

    /// Sets the alarm of a database that has no upkeep.
    pub(super) async fn wake_in(&self, milliseconds: u64) -> Result<(), Failure> {
        self.set(Date::now().as_millis().saturating_add(milliseconds))
            .await
    }

    /// When the alarm rings.
    #[cfg(feature = "fault-points")]
    pub(super) async fn alarm(&self) -> Result<Option<i64>, Failure> {
        Ok(self.storage.get_alarm().await?)
    }

    /// Counts the slice as failed, and sets the alarm after it. Returns how many have failed before.
    async fn begin(&self, ledger: &Ledger) -> Result<u32, Failure> {
        ledger.open()?;
        let mut trouble = ledger.note::<Trouble>(TROUBLE)?.unwrap_or_default();
        let before = trouble.failures;
        let pause = FIRST_PAUSE.saturating_mul(1 << before.min(32)).min(LONGEST_PAUSE);
        self.set(Date::now().as_millis().saturating_add(pause)).await?;
        trouble.failures = before.saturating_add(1);
        ledger.set_note(TROUBLE, &trouble)?;
        fault_point!("upkeep_begun");
        Ok(before)
    }

    async fn slice(&self, replica: &Replica, policy: Rc<Policy>) -> Result<Slice, Failure> {
        self.budget.refill();
        let rest = self.rest.borrow_mut().take();
        let mut work = rest.unwrap_or_else(|| {
            let (replica, budget) = (replica.clone(), Rc::clone(&self.budget));
            async move { chores::run(&replica, &policy, &budget).await }.boxed_local()
        });
        let step = poll_fn(|cx| match work.poll_unpin(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if self.budget.is_spent() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        match step.await {
            Some(done) => done.map(Slice::Done),
            None => {
                *self.rest.borrow_mut() = Some(work);
                Ok(Slice::Rest)
            }
        }
    }

    fn policy(&self) -> Result<Rc<Policy>, Failure> {
        let policy = self
            .policy
            .get_or_init(|| settings::policy(&self.env).map(Rc::new));
        policy
            .clone()
            .map_err(|message| Failure::new(500, "not_configured", message))
    }

    async fn set(&self, at: u64) -> Result<(), Failure> {
        count!("rows_written", 1);
        let now = Date::now().as_millis();
        let wait = Duration::from_millis(at.saturating_sub(now));
        self.storage.set_alarm(wait).await?;
        self.alarm.set(Alarm::At(at));
        Ok(())
    }
}

pub(super) fn to_runtime(failure: Failure) -> worker::Error {
    worker::Error::RustError(failure.message().to_owned())
}
