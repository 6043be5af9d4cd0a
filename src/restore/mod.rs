//! Turns a replica in a store back into a database, and proves the result.
//!
//! The same code in all three builds: [`Restore::prepare`] chooses the segments and reads their indexes,
//! [`Restore::chunks`] fetches only the newest version of each page, in large ranged reads, and whoever asked
//! decodes the [`Chunk`]s where it likes (on threads, or one after the other) and puts the pages where they
//! belong. The sum of all pages' CRCs is what [`Restore::prove`] holds against the promise of the last segment.
//! Until it says yes, nothing that was written may be used.
//!
//! Segments without that promise (Litestream's) are read whole instead, and their file checksums verified: each chunk
//! leaves the hash of its frames in a ledger, so that this too can be done in any order and on any thread.
//!
//! Memory is bounded whatever the size of the database: a bit a page, and a window of index entries.

mod chunk;
mod cursor;
mod damage;
mod error;
mod fetching;
mod history;
mod ledger;
mod mapped;
mod opened;
mod ordered;
mod planned;
mod times;
mod walk;

pub use chunk::{Chunk, Scratch};
pub use damage::{Damage, check};
pub use error::Error;
pub use history::members;
pub use mapped::map;
pub use ordered::Piece;
pub use times::time_of;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};

use crate::ltx::{DbSum, PageSize, Timestamp, Txid};
use crate::replica::{PageSet, Plan, PlanError, Position, SegmentId, SegmentInfo, Target, plan};
use crate::store::{Source, Store};
use ledger::Ledger;
use opened::{Opened, Room};
use planned::Planned;
use walk::{Mode, Walk};

/// The result of a restore.
pub type Result<T> = std::result::Result<T, Error>;

/// How many requests run at once.
const PARALLEL: usize = 8;
/// The length of a read where nobody wants another, and about what a chunk holds.
const READ: u64 = 1024 * 1024;

/// Everything there is in a replica beyond `after`, at every level.
pub async fn listing(store: &dyn Store, after: Txid) -> Result<Vec<SegmentInfo>> {
    Ok(store.list_all(after).await?)
}

/// Lists the replica and chooses segments that lead from the state at `from` to `target`, without those that are known
/// to be damaged. Where the wanted state may be one that the history has lost, there is no plan.
pub async fn plan_without(store: &dyn Store, target: Target, from: Txid, damage: &Damage) -> Result<Plan> {
    // The segment that ends at `from` is asked for too: it tells that the replica still reaches there.
    let after = Txid(from.0.saturating_sub(1));
    let mut segments = listing(store, after).await?;
    if from > Txid::ZERO && segments.is_empty() {
        return Err(PlanError::Behind { from }.into());
    }
    segments.retain(|segment| !damage.includes(segment.id));
    let mut timeless: BTreeSet<SegmentId> = BTreeSet::new();
    let without = segments.iter().filter(|segment| segment.timestamp.is_none());
    timeless.extend(without.map(|segment| segment.id));
    let history = history::toward(store, &mut segments, target, after, damage).await?;
    let found = plan(&segments, target, from);
    if let Some(after) = history.hole(&segments, target, damage) {
        return Err(PlanError::Hole { after }.into());
    }
    let (mut plan, mut bundled) = (found?, history.places);
    // Each reaches further than the one before.
    let in_plan = |max| plan.segments.binary_search_by_key(&max, |segment| segment.id.max);
    bundled.retain(|id, _| {
        in_plan(id.max).is_ok_and(|at| plan.segments.get(at).is_some_and(|found| found.id == *id))
    });
    plan.bundled = bundled;
    for segment in &mut plan.segments {
        // What was told to choose by was no exact time.
        segment.timestamp = segment.timestamp.filter(|_| !timeless.contains(&segment.id));
    }
    Ok(plan)
}

/// A restore that is ready to fetch pages.
pub struct Restore<'a> {
    source: Planned<'a>,
    plan: Plan,
    mode: Mode,
    parallelism: usize,
    /// The length of a read.
    read: u64,
    /// The newest segment first, one at least; those that hold no wanted page may be missing at the end.
    opened: Vec<Opened>,
    newest: Opened,
    /// Pages that need not be brought.
    have: PageSet,
    survey: Survey,
    ledger: RefCell<Arc<Ledger>>,
}

/// What the indexes tell, all of them.
#[derive(Debug)]
struct Survey {
    pages: u64,
    bytes: u64,
    last_missing: u32,
}

impl std::fmt::Debug for Restore<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Restore")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl<'a> Restore<'a> {
    /// Lists the replica and prepares the way from `from` to `target`. `None` if `from` is there already.
    pub async fn prepare(store: &'a dyn Store, target: Target, from: Position) -> Result<Option<Self>> {
        Self::prepare_without(store, target, from, &Damage::default(), PARALLEL).await
    }

    /// Prepares the plan that [`plan_without`] found.
    pub async fn prepare_without(
        store: &'a dyn Store,
        target: Target,
        from: Position,
        damage: &Damage,
        parallelism: usize,
    ) -> Result<Option<Self>> {
        let plan = plan_without(store, target, from.txid, damage).await?;
        let restore = Self::from_plan_with(store, plan, from, parallelism).await?;
        match restore {
            Some(restore) => restore.at_or_before(target).map(Some),
            None => Ok(None),
        }
    }

    /// Holds the time of the state against the one that was asked for: a listing may be wrong about it.
    pub fn at_or_before(self, target: Target) -> Result<Self> {
        match target {
            Target::Time(time) if self.timestamp() > time => Err(Error::Times(self.newest().id)),
            _ => Ok(self),
        }
    }

    /// Prepares a plan that someone else made, the Worker for instance.
    pub async fn from_plan(source: &'a dyn Source, plan: Plan, from: Position) -> Result<Option<Self>> {
        Self::from_plan_with(source, plan, from, PARALLEL).await
    }

    /// The same, with so many requests at once.
    pub async fn from_plan_with(
        source: &'a dyn Source,
        plan: Plan,
        from: Position,
        parallelism: usize,
    ) -> Result<Option<Self>> {
        Self::from_plan_in(source, plan, from, parallelism, READ).await
    }

    /// The same, each for `read` bytes at most.
    pub async fn from_plan_in(
        source: &'a dyn Source,
        plan: Plan,
        from: Position,
        parallelism: usize,
        read: u64,
    ) -> Result<Option<Self>> {
        let source = Planned::new(source, &plan);
        let opened = open(&source, &plan, parallelism, Room::default()).await?;
        let (Some(newest), Some(oldest)) = (opened.first().cloned(), opened.last()) else {
            return Ok(None);
        };
        oldest.continues(from)?;
        let mode = match newest.header.sums {
            Some(_) => Mode::Newest,
            None => Mode::Whole,
        };
        let survey = survey(&source, &opened, mode, read).await?;
        // What is missing must have been there all along: a page that was cut off is another when it comes back.
        let commits = opened.iter().map(|opened| opened.header.commit);
        let cut = survey.last_missing > commits.min().unwrap_or_default();
        if cut || (from.txid == Txid::ZERO && survey.last_missing > 0) {
            return Err(Error::Incomplete(newest.segment.id));
        }
        Ok(Some(Self {
            source,
            plan,
            mode,
            parallelism,
            read,
            opened,
            newest,
            have: PageSet::default(),
            survey,
            ledger: RefCell::default(),
        }))
    }

    /// Without pages that are there already as this restore would bring them. Whoever has them knows their sum.
    #[must_use]
    pub fn without(mut self, have: PageSet) -> Self {
        self.have = have;
        self
    }

    /// Where it starts from a state at hand: checks that this state, of `commit` pages, has every page that the
    /// restore does not bring. To be asked before anything is written.
    pub fn applies_to(&self, page_size: PageSize, commit: u32) -> Result<()> {
        if self.page_size() != page_size {
            return Err(Error::OtherDatabase {
                have: page_size.get(),
                want: self.page_size().get(),
            });
        }
        if self.survey.last_missing > commit {
            return Err(Error::Incomplete(self.newest.segment.id));
        }
        Ok(())
    }

    /// The segments that it reads.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Size of every page.
    pub fn page_size(&self) -> PageSize {
        self.newest.header.page_size
    }

    /// Size of the database in pages.
    pub fn commit(&self) -> u32 {
        self.newest.header.commit
    }

    /// The state that it leads to: the sum is the promise of the newest segment, `None` where it makes none.
    pub fn position(&self) -> Position {
        Position {
            txid: self.newest.segment.id.max,
            sum: self.newest.header.sums.map(|sums| sums.after),
        }
    }

    /// When that state was seen.
    pub fn timestamp(&self) -> Timestamp {
        self.newest.header.timestamp
    }

    /// How many pages it will bring.
    pub fn pages(&self) -> u64 {
        self.survey.pages
    }

    /// How many bytes of pages it will fetch from now on: the sum of what the chunks say they fetched.
    pub fn bytes(&self) -> u64 {
        self.survey.bytes
    }

    /// The newest version of each page, in no particular order, each once. All of them must be taken and decoded.
    pub fn chunks(&self) -> stream::LocalBoxStream<'_, Result<Chunk>> {
        let ledger = Arc::<Ledger>::default();
        *self.ledger.borrow_mut() = Arc::clone(&ledger);
        self.fetch_all(ledger)
    }

    /// Holds the sum of the database that came out against the promise. Where there is none, every segment is held
    /// against its file checksum, and the sum is taken as it is.
    pub fn prove(&self, computed: DbSum) -> Result<Position> {
        let position = self.position();
        if self.mode == Mode::Whole {
            let ledger = self.ledger.borrow();
            self.opened.iter().try_for_each(|opened| ledger.check(opened))?;
        }
        match position.sum {
            Some(promised) if promised != computed => {
                let error = crate::ltx::Error::DbSum {
                    txid: position.txid,
                    promised,
                    computed,
                };
                Err(Error::Damaged {
                    segment: self.newest().id,
                    error,
                })
            }
            _ => Ok(Position {
                sum: Some(computed),
                ..position
            }),
        }
    }

    fn newest(&self) -> SegmentInfo {
        self.newest.segment
    }
}

/// Opens the segments of a plan, the newest first, until one holds the whole database.
async fn open(source: &dyn Source, plan: &Plan, parallelism: usize, mut room: Room) -> Result<Vec<Opened>> {
    let newest_first = plan.segments.iter().rev();
    let opening = newest_first.map(|segment| Opened::open(source, *segment));
    let mut opening = stream::iter(opening).buffered(parallelism);
    let mut opened: Vec<Opened> = Vec::with_capacity(plan.segments.len());
    let mut is_whole = false;
    while let Some(segment) = opening.next().await {
        let mut segment = segment?;
        if let Some(newer) = opened.last() {
            segment.leads_to(newer)?;
        }
        if is_whole {
            // Nothing of it is needed, but a segment that holds a whole database must still be of this history.
            break;
        }
        segment.settle(source, &mut room).await?;
        is_whole = segment.is_whole()?;
        opened.push(segment);
    }
    Ok(opened)
}

/// Goes through all indexes once: what is wrong with them or missing is known before anything is written.
async fn survey(source: &dyn Source, opened: &[Opened], mode: Mode, read: u64) -> Result<Survey> {
    let mut survey = Survey {
        pages: 0,
        bytes: 0,
        last_missing: 0,
    };
    let Some(mut walk) = Walk::new(source, opened, mode, PageSet::default())? else {
        return Ok(survey);
    };
    while let Some(part) = walk.next().await? {
        survey.pages = survey.pages.saturating_add(part.pages());
        if opened
            .get(part.segment)
            .is_some_and(|opened| opened.cached.is_none())
        {
            let bytes = part.reads(read).map(|(fetch, _)| fetch.len).sum();
            survey.bytes = survey.bytes.saturating_add(bytes);
        }
    }
    survey.last_missing = walk.map().last_missing();
    Ok(survey)
}
