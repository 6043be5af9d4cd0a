//! Turns a replica in a store back into a database, and proves the result.
//!
//! The same code in all three builds: [`Restore::prepare`] chooses the segments and reads their indexes,
//! [`Restore::chunks`] fetches only the newest version of each page, in large ranged reads, and whoever asked
//! decodes the [`Chunk`]s where it likes (on threads, or one after the other) and puts the pages where they
//! belong. The sum of all pages' CRCs is what [`Restore::prove`] holds against the promise of the last segment.
//! Until it says yes, nothing that was written may be used.
//!
//! Segments without that promise (Litestream's) are read whole instead, and their file checksums verified.

mod chunk;
mod error;
mod fetching;
mod opened;
mod whole;

pub use chunk::{Chunk, Scratch};
pub use error::Error;

use futures_util::stream::{self, StreamExt};

use crate::ltx::{DbSum, PageSize, Timestamp, Txid};
use crate::replica::{PageMap, PageMapBuilder, Plan, PlanError, Position, SegmentInfo, Target, plan};
use crate::store::Store;
use opened::Opened;

/// The result of a restore.
pub type Result<T> = std::result::Result<T, Error>;

/// How many requests run at once.
const PARALLEL: usize = 8;
/// The length of a read, and about what a chunk holds.
const READ: u64 = 1024 * 1024;

/// Everything there is in a replica beyond `after`, at every level.
pub async fn listing(store: &dyn Store, after: Txid) -> Result<Vec<SegmentInfo>> {
    Ok(store.list_all(after).await?)
}

/// A restore that is ready to fetch pages.
pub struct Restore<'a> {
    store: &'a dyn Store,
    plan: Plan,
    map: PageMap,
    /// The newest segment first; those that hold no wanted page may be missing at the end.
    opened: Vec<Opened>,
    newest: Opened,
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
        // The segment that ends at `from` is asked for too: it tells that the replica still reaches there.
        let after = Txid(from.txid.0.saturating_sub(1));
        let segments = listing(store, after).await?;
        if from.txid > Txid::ZERO && segments.is_empty() {
            return Err(PlanError::Behind { from: from.txid }.into());
        }
        let restore = Self::from_plan(store, plan(&segments, target, from.txid)?, from).await?;
        match (&restore, target) {
            (Some(restore), Target::Time(time)) if restore.timestamp() > time => {
                Err(Error::Times(restore.newest.segment.id))
            }
            _ => Ok(restore),
        }
    }

    /// Prepares a plan that someone else made, the Worker for instance.
    pub async fn from_plan(store: &'a dyn Store, plan: Plan, from: Position) -> Result<Option<Self>> {
        let newest_first: Vec<SegmentInfo> = plan.segments.iter().rev().copied().collect();
        let mut opening = stream::iter(
            newest_first
                .into_iter()
                .map(|segment| Opened::open(store, segment)),
        )
        .buffered(PARALLEL);
        let mut opened: Vec<Opened> = Vec::with_capacity(plan.segments.len());
        let mut map: Option<PageMapBuilder> = None;
        let mut cached = 0;
        let mut complete = false;
        while let Some(segment) = opening.next().await {
            let mut segment = segment?;
            if let Some(newer) = opened.last() {
                segment.leads_to(newer)?;
            }
            if complete {
                // Nothing of it is needed, but a segment that holds a whole database must still be of this history.
                break;
            }
            segment.limit_cache(&mut cached);
            let entries = std::mem::take(&mut segment.entries);
            let header = &segment.header;
            let map = map.get_or_insert_with(|| PageMapBuilder::new(header.page_size, header.commit));
            map.older(header.commit, entries);
            opened.push(segment);
            complete = map.is_complete();
        }
        drop(opening);
        let (Some(map), Some(newest)) = (map, opened.first().cloned()) else {
            return Ok(None);
        };
        if let Some(oldest) = opened.last() {
            oldest.continues(from)?;
        }
        let incomplete = || Error::Incomplete(newest.segment.id);
        let map = map.finish(&plan).ok_or_else(incomplete)?;
        if from.txid == Txid::ZERO && map.last_missing > 0 {
            return Err(incomplete());
        }
        Ok(Some(Self {
            store,
            plan,
            map,
            opened,
            newest,
        }))
    }

    /// Where it starts from a state at hand: checks that this state, of `commit` pages, has every page that the
    /// restore does not bring. To be asked before anything is written.
    pub fn applies_to(&self, page_size: PageSize, commit: u32) -> Result<()> {
        if self.map.page_size != page_size {
            return Err(Error::OtherDatabase {
                have: page_size.get(),
                want: self.map.page_size.get(),
            });
        }
        if self.map.last_missing > commit {
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
        self.map.page_size
    }

    /// Size of the database in pages.
    pub fn commit(&self) -> u32 {
        self.map.commit
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
        self.map.pages()
    }

    /// How many bytes it will fetch from now on: the sum of what the chunks say they fetched.
    pub fn bytes(&self) -> u64 {
        if self.is_promised() {
            let reads = self.ranges().filter(|(opened, _)| opened.cached.is_none());
            reads.map(|(_, fetch)| fetch.len).sum()
        } else {
            let segments = self.opened.iter().filter(|opened| opened.cached.is_none());
            segments.map(|opened| opened.segment.size).sum()
        }
    }

    /// The newest version of each page, in no particular order, each once. All of them must be taken: where
    /// the result does not prove itself, the last chunk brings the proof of each segment.
    pub fn chunks(&self) -> stream::LocalBoxStream<'_, Result<Chunk>> {
        if self.is_promised() {
            self.ranged()
        } else {
            self.whole()
        }
    }

    /// Holds the sum of the database that came out against the promise. Where there is none, every segment has
    /// been verified by its file checksum by the time all chunks have been seen, and the sum is taken as it is.
    pub fn prove(&self, computed: DbSum) -> Result<Position> {
        let position = self.position();
        match position.sum {
            Some(promised) if promised != computed => {
                let error = crate::ltx::Error::DbSum {
                    txid: position.txid,
                    promised,
                    computed,
                };
                Err(Error::Damaged {
                    segment: self.newest.segment.id,
                    error,
                })
            }
            _ => Ok(Position {
                sum: Some(computed),
                ..position
            }),
        }
    }

    /// Whether the newest segment says what sum the database must have.
    fn is_promised(&self) -> bool {
        self.newest.header.sums.is_some()
    }
}
