//! Keeps a copy up to date that others read with SQLite meanwhile.
//!
//! What is new is fetched and proven first, beside the copy. Then it is applied as SQLite itself writes a transaction:
//! under SQLite's locks, with a rollback journal of SQLite's format. So a reader never sees a state in between, and
//! whoever opens the copy after a crash, SQLite or this, gets the state before. Each page 1 carries a new change
//! counter: connections that stay open notice.
//!
//! A Worker tells what lands as it lands; elsewhere, and while it cannot be heard, the replica is asked again and again.

mod changes;
mod copy;
mod ear;
mod journal;
mod locked_file;
mod state;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Error, Options, Summary, run};
use crate::ltx::{Timestamp, Txid};
use crate::native::store::{Live, Patient};
use crate::replica::{Level, Plan, PlanError, Position, Target, plan};
use crate::restore::{self, Damage, Restore, plan_without};
use crate::store::Store;
use changes::Changes;
use copy::Copy;
use ear::{Ear, Pushed};
pub(super) use state::State;

/// Without news, polls are up to so many intervals apart, but never longer than this.
const MAX_INTERVALS: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Level 0 tells all news, but only for minutes: compaction moves them up. After so long all levels are listed.
const LEVEL_0_LASTS: Duration = Duration::from_secs(240);
/// So often a segment that is damaged or gone is looked for elsewhere.
const MAX_DETOURS: usize = 8;

/// What happens.
#[derive(Debug)]
pub enum Event<'a> {
    /// The copy was restored for the first time.
    Restored(&'a Summary),
    /// A copy is there that was followed before.
    Resumed(Txid),
    /// It has moved on.
    Applied {
        /// To this transaction.
        txid: Txid,
        /// Of this time.
        timestamp: Timestamp,
        /// So many pages changed.
        pages: usize,
    },
}

/// Restores what `options` say unless the output is such a copy already, then follows: at once what `live` tells, where
/// there is one that can be joined, otherwise by polling about every `interval`. Ends only by an error: what may pass is
/// tried again.
///
/// Dropped, it leaves the copy in one state or the next.
pub async fn follow(
    store: &Patient,
    live: Option<&Live>,
    options: &Options,
    interval: Duration,
    progress: impl FnMut(u64, u64),
    mut tell: impl FnMut(Event<'_>),
) -> Result<std::convert::Infallible, Error> {
    let exists = options.output.symlink_metadata().is_ok();
    if !exists {
        let options = Options {
            followed: true,
            ..options.clone()
        };
        let summary = run(store, &options, progress).await?;
        tell(Event::Restored(&summary));
    }
    let path = std::path::absolute(&options.output).map_err(|error| options.failure(error))?;
    let mut copy = super::blocking(move || Copy::open(path)).await?;
    if exists {
        tell(Event::Resumed(copy.state().txid));
    }
    let mut ear = Ear::new(live);
    let mut pause = interval;
    let mut listed: Option<Instant> = None;
    let mut pushed: Option<Pushed> = None;
    loop {
        let mut step = None;
        if let Some(Pushed { plan, store, .. }) = pushed.take() {
            // It is held against the copy as anything else; what does not fit is asked for.
            match fetch(&store, options, &copy, &plan).await {
                Ok(taken) => step = Some(taken),
                Err(Error::Replica(error)) => tracing::warn!("{error}; what was pushed is asked for"),
                Err(error) => return Err(error),
            }
        }
        if step.is_none() {
            let everything = listed.is_none_or(|listed| listed.elapsed() > LEVEL_0_LASTS);
            match asked(store, options, &copy, everything).await {
                Ok(found) => {
                    if everything {
                        listed = Some(Instant::now());
                    }
                    step = found;
                }
                Err(Error::Replica(restore::Error::Store(error))) if error.is_passing() => {
                    tracing::warn!("{error}; trying again");
                    pause = LONGEST_PAUSE.min(pause.saturating_mul(2));
                    sleep(pause).await;
                    continue;
                }
                Err(error) => return Err(error),
            }
        }
        pause = match step {
            Some((changes, state)) => {
                let pages = changes.len();
                copy = copy.apply(changes, state).await?;
                let (txid, timestamp) = (copy.state().txid, copy.state().timestamp);
                tell(Event::Applied {
                    txid,
                    timestamp,
                    pages,
                });
                interval
            }
            None => longer(pause, interval),
        };
        pushed = ear.wait(copy.state().position(), pause).await;
    }
}

/// The pause after one that brought no news.
fn longer(pause: Duration, interval: Duration) -> Duration {
    let half = pause.checked_div(2).unwrap_or_default();
    let longest = interval.saturating_mul(MAX_INTERVALS).min(LONGEST_PAUSE);
    pause.saturating_add(half).min(longest).max(interval)
}

/// What leads to the newest state; `None` if the copy is there.
async fn asked(
    store: &Patient,
    options: &Options,
    copy: &Copy,
    everything: bool,
) -> Result<Option<(Changes, State)>, Error> {
    let mut damage = Damage::default();
    let position = copy.state().position();
    for _ in 0..MAX_DETOURS {
        let plan = match news(store, position, everything, &damage).await {
            Ok(Some(plan)) => plan,
            // Gone may be what newer segments hold, which the next listing tells.
            Ok(None) if damage.is_deletion() => return Ok(None),
            Ok(None) => return Err(damage.lost(behind(position)).into()),
            Err(restore::Error::Plan(error)) => return Err(damage.lost(error).into()),
            Err(error) => return Err(error.into()),
        };
        match fetch(store, options, copy, &plan).await {
            Ok(step) => return Ok(Some(step)),
            Err(Error::Replica(error)) => damage.learn(store, &plan, error).await?,
            Err(error) => return Err(error),
        }
    }
    Err(damage.lost(behind(position)).into())
}

/// Nothing leads on from where the copy is.
fn behind(position: Position) -> PlanError {
    PlanError::Gap {
        after: position.txid,
        next: position.txid.next().unwrap_or_default(),
    }
}

/// What leads on from a position. Level 0 is asked alone where it tells everything.
async fn news(
    store: &dyn Store,
    from: Position,
    everything: bool,
    damage: &Damage,
) -> restore::Result<Option<Plan>> {
    let mut found = None;
    if !everything && damage.is_empty() {
        let raw = store.list(Level::RAW, from.txid).await?;
        if raw.is_empty() {
            return Ok(None);
        }
        // Where there is a gap, other levels fill it.
        found = plan(&raw, Target::Latest, from.txid).ok();
    }
    let plan = match found {
        Some(plan) => plan,
        None => plan_without(store, Target::Latest, from.txid, damage).await?,
    };
    Ok(Some(plan).filter(|plan| !plan.segments.is_empty()))
}

/// The pages that differ, proven to make the new state of the copy.
async fn fetch(
    store: &dyn Store,
    options: &Options,
    copy: &Copy,
    plan: &Plan,
) -> Result<(Changes, State), Error> {
    let from = copy.state().position();
    let restore = Restore::from_plan_with(store, plan.clone(), from, options.parallelism).await?;
    let restore = restore.ok_or(restore::Error::Plan(PlanError::Empty))?;
    changes::collect(copy, &restore).await
}
