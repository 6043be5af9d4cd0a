//! Restores a replica into a database file.
//!
//! Fetching is the core's; decoding runs on threads beside the event loop. Pages go straight to their places in
//! a temporary file, which gets its name only when the result is proven and on disk. Segments that turn out to be
//! damaged or gone on the way are left out of the next plan; what is written of the same state stays.

mod error;
mod follow;
mod integrity;
mod options;
mod output;
mod placing;
mod preview;
mod reach;
pub mod v3;
mod verify;

pub use error::Error;
pub use follow::{Event, follow};
pub use integrity::IntegrityCheck;
pub use options::Options;
pub use preview::{Preview, preview};
pub use reach::{Reach, reach};
pub use verify::{Drill, Point, Report, Restored, verify};

use std::time::Instant;

use serde::Serialize;

use crate::ltx::{DbSum, PageSize, Timestamp, Txid};
use crate::native::store::Patient;
use crate::replica::{Plan, PlanError, Position, SegmentId, Target};
use crate::restore::{self, Damage, Restore, plan_without};
use crate::store::Store;
use output::Output;
use placing::Failure;

/// A restore that finds its segments deleted so often gives up.
const MAX_DELETIONS: u32 = 8;

/// What was restored.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Its transaction.
    pub txid: Txid,
    /// The sum of all its pages.
    pub sum: DbSum,
    /// When it was the newest state, in Unix milliseconds.
    pub timestamp: Timestamp,
    /// Size of a page.
    pub page_size: PageSize,
    /// Size of the database in pages.
    pub pages: u32,
    /// Size of the database in bytes.
    pub bytes: u64,
    /// Segments that the state was made of.
    pub segments: usize,
    /// Bytes that were read from the store.
    pub fetched: u64,
    /// Requests to the store.
    pub requests: u64,
    /// How long it took.
    pub seconds: f64,
    /// Segments that were found damaged or gone, and were replaced by others.
    pub replaced: Vec<Replaced>,
}

/// A segment that another one stood in for.
#[derive(Clone, Debug, Serialize)]
pub struct Replaced {
    /// The segment.
    #[serde(flatten)]
    pub segment: SegmentId,
    /// What is wrong with it.
    pub why: String,
}

/// Restores. `progress` is told how many bytes of pages are fetched, and about how many there will be.
///
/// Whenever it fails, or its future is dropped, nothing is left behind.
pub async fn run(
    store: &Patient,
    options: &Options,
    mut progress: impl FnMut(u64, u64),
) -> Result<Summary, Error> {
    let start = Instant::now();
    options.check()?;
    let mut way = Way::new(options.target);
    let mut output: Option<Output> = None;
    loop {
        let plan = way.plan(store).await?;
        let attempt = attempt(store, options, &way, &plan, &mut output, &mut progress).await;
        match attempt {
            Ok(mut summary) => {
                summary.fetched = store.fetched();
                summary.requests = store.requests();
                summary.seconds = start.elapsed().as_secs_f64();
                return Ok(summary);
            }
            Err(Error::Replica(error)) => way.avoid(store, &plan, error).await?,
            Err(error) => return Err(error),
        }
    }
}

/// The way to a state, around what is damaged.
struct Way {
    wanted: Target,
    /// What the first plan leads to: no later one may lead elsewhere without a word.
    goal: Option<Txid>,
    damage: Damage,
    deletions: u32,
}

impl Way {
    fn new(wanted: Target) -> Self {
        Self {
            wanted,
            goal: None,
            damage: Damage::default(),
            deletions: 0,
        }
    }

    fn target(&self) -> Target {
        self.goal.map_or(self.wanted, Target::Txid)
    }

    async fn plan(&mut self, store: &dyn Store) -> Result<Plan, Error> {
        loop {
            let error = match plan_without(store, self.target(), Txid::ZERO, &self.damage).await {
                Ok(plan) => {
                    self.goal = plan.txid();
                    return Ok(plan);
                }
                Err(restore::Error::Plan(error)) => error,
                // Damage that shows before there is a plan: a bundle's index, or a header that a time was wanted of.
                Err(error) if error.segment().is_some_and(|found| !self.damage.includes(found)) => {
                    self.avoid(store, &Plan::default(), error).await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            // What was planned by has been deleted, because newer segments hold it: then they are what is wanted.
            if self.goal.is_some()
                && self.wanted == Target::Latest
                && self.damage.is_deletion()
                && self.deletions < MAX_DELETIONS
            {
                self.deletions = self.deletions.saturating_add(1);
                self.goal = None;
                continue;
            }
            return Err(std::mem::take(&mut self.damage).lost(error).into());
        }
    }

    /// Leaves out what a failure shows to be damaged.
    async fn avoid(&mut self, store: &dyn Store, plan: &Plan, error: restore::Error) -> Result<(), Error> {
        let known: Vec<SegmentId> = self.damage.iter().map(|(segment, _)| segment).collect();
        self.damage.learn(store, plan, error).await?;
        for (segment, error) in self.damage.iter().filter(|(segment, _)| !known.contains(segment)) {
            tracing::warn!("{error}; looking for another copy of what {segment} holds");
        }
        Ok(())
    }

    fn replaced(&self) -> Vec<Replaced> {
        let replaced = self.damage.iter().map(|(segment, error)| Replaced {
            segment,
            why: error.to_string(),
        });
        replaced.collect()
    }
}

async fn attempt(
    store: &dyn Store,
    options: &Options,
    way: &Way,
    plan: &Plan,
    output: &mut Option<Output>,
    progress: &mut impl FnMut(u64, u64),
) -> Result<Summary, Error> {
    let restore = Restore::from_plan_with(store, plan.clone(), Position::EMPTY, options.parallelism).await?;
    let restore = restore.ok_or(restore::Error::Plan(PlanError::Empty))?;
    let restore = restore.at_or_before(way.wanted)?;
    match output {
        Some(output) => output.go_on(&restore).map_err(|error| options.failure(error))?,
        None => *output = Some(Output::start(options, &restore)?),
    }
    let Some(made) = output else {
        return Err(Error::Broken("it has no output".to_owned()));
    };
    let restore = restore.without(made.have());
    made.fill(&restore, progress)
        .await
        .map_err(|failure| match failure {
            Failure::Replica(error) => Error::Replica(error),
            Failure::Output(source) => options.failure(source),
        })?;
    let proven = match restore.prove(made.sum()) {
        Ok(position) => position,
        Err(error) => {
            made.distrust();
            return Err(error.into());
        }
    };
    let summary = Summary {
        txid: proven.txid,
        sum: made.sum(),
        timestamp: restore.timestamp(),
        page_size: restore.page_size(),
        pages: restore.commit(),
        bytes: restore.page_size().file_size(restore.commit()),
        segments: plan.segments.len(),
        fetched: 0,
        requests: 0,
        seconds: 0.0,
        replaced: way.replaced(),
    };
    if let Some(made) = output.take() {
        made.publish(options, &summary).await?;
    }
    Ok(summary)
}

/// Runs what takes long beside the event loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::Broken(error.to_string())))
}
