//! Keeps a copy up to date that others read with SQLite meanwhile.
//!
//! What is new is fetched and proven first, beside the copy. Then it is applied as SQLite itself writes a transaction:
//! under SQLite's locks, with a rollback journal of SQLite's format. So a reader never sees a state in between, and
//! whoever opens the copy after a crash, SQLite or this, gets the state before. Each page 1 carries a new change
//! counter: connections that stay open notice.

mod changes;
mod copy;
mod journal;
mod locked_file;
mod state;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Error, Options, Summary, run};
use crate::ltx::{Timestamp, Txid};
use crate::native::store::Patient;
use crate::replica::{Level, Plan, Position, Target, plan};
use crate::restore::{self, Damage, Restore, plan_without};
use crate::store::Store;
use copy::Copy;
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

/// Restores what `options` say unless the output is such a copy already, then follows, polling about every
/// `interval`. Ends only by an error: what may pass is tried again.
///
/// Dropped, it leaves the copy in one state or the next.
pub async fn follow(
    store: &Patient,
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
    let mut pause = interval;
    let mut listed: Option<Instant> = None;
    loop {
        let everything = listed.is_none_or(|listed| listed.elapsed() > LEVEL_0_LASTS);
        let result = advance(store, options, copy, everything).await;
        pause = match result {
            Ok((same, applied)) => {
                copy = same;
                if everything {
                    listed = Some(Instant::now());
                }
                match applied {
                    Some(pages) => {
                        let state = copy.state();
                        let (txid, timestamp) = (state.txid, state.timestamp);
                        tell(Event::Applied {
                            txid,
                            timestamp,
                            pages,
                        });
                        // After a long absence what was listed may have been compacted since.
                        interval
                    }
                    None => pause
                        .saturating_mul(3)
                        .checked_div(2)
                        .unwrap_or(pause)
                        .min(interval.saturating_mul(MAX_INTERVALS))
                        .min(LONGEST_PAUSE)
                        .max(interval),
                }
            }
            Err((same, Error::Replica(restore::Error::Store(error)))) if error.is_passing() => {
                tracing::warn!("{error}; trying again");
                copy = same;
                LONGEST_PAUSE.min(pause.saturating_mul(2))
            }
            Err((_, error)) => return Err(error),
        };
        sleep(pause).await;
    }
}

/// Brings the copy to the newest state; how many pages changed, `None` if there is no news.
async fn advance(
    store: &Patient,
    options: &Options,
    copy: Copy,
    everything: bool,
) -> Result<(Copy, Option<usize>), (Copy, Error)> {
    let mut damage = Damage::default();
    let position = copy.state().position();
    for _ in 0..MAX_DETOURS {
        let plan = match news(store, position, everything, &damage).await {
            Ok(Some(plan)) => plan,
            Ok(None) => return Ok((copy, None)),
            Err(restore::Error::Plan(error)) => return Err((copy, damage.lost(error).into())),
            Err(error) => return Err((copy, error.into())),
        };
        let fetched = fetch(store, options, &copy, &plan).await;
        match fetched {
            Ok((changes, state)) => {
                let pages = changes.len();
                let moved = copy.apply(changes, state).await;
                return moved.map(|copy| (copy, Some(pages)));
            }
            Err(Error::Replica(error)) => {
                if let Err(error) = damage.learn(store, &plan, error).await {
                    return Err((copy, error.into()));
                }
            }
            Err(error) => return Err((copy, error)),
        }
    }
    let lost = damage.lost(crate::replica::PlanError::Behind { from: position.txid });
    Err((copy, lost.into()))
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
    store: &Patient,
    options: &Options,
    copy: &Copy,
    plan: &Plan,
) -> Result<(changes::Changes, State), Error> {
    let from = copy.state().position();
    let restore = Restore::from_plan_with(store, plan.clone(), from, options.parallelism).await?;
    let restore = restore.ok_or(restore::Error::Plan(crate::replica::PlanError::Empty))?;
    changes::collect(copy, &restore).await
}
