//! The chores themselves. Each can be broken off anywhere: what is half done is done again, or is found to be done.

use std::collections::BTreeSet;
use std::rc::Rc;

use worker::Date;

use super::LEARN;
use super::budget::{Budget, Within};
use super::output::{Making, Output};
use crate::ltx::{Timestamp, Txid};
use crate::merge::{self, bundle, merge};
use crate::replica::{
    Catalog, Chore, Level, Next, Policy, SegmentId, SegmentInfo, Target, next_chore, plan, snapshot_due,
    sort_by_key,
};
use crate::restore::{self, members};
use crate::worker::failure::Failure;
use crate::worker::gate::{self, Permit};
use crate::worker::head::Head;
use crate::worker::ledger::State;
use crate::worker::r2::Found;
use crate::worker::replica::Replica;

/// What the inputs of a merge take together at most, as they are read.
const INPUTS: u64 = 8 << 20;
/// What the output takes at most: a part in wasm, and once more on its way to R2.
const OUTPUT: u64 = 12 << 20;
/// Whatever the plan says: no run makes more.
const MAX_CHORES: usize = 1000;

/// Until nothing is due; returns when something will be.
pub(super) async fn run(
    replica: &Replica,
    policy: &Policy,
    budget: &Rc<Budget>,
) -> Result<Option<Timestamp>, Failure> {
    replica.head().await?;
    let mut desk = Desk {
        replica,
        budget,
        generation: replica.ledger.generation(),
        made: BTreeSet::new(),
    };
    desk.settle().await?;
    desk.learn().await?;
    for _ in 0..MAX_CHORES {
        let catalog = replica.ledger.catalog()?;
        let now = now();
        let snapshot = snapshot_due(&catalog, policy);
        if snapshot.is_some_and(|due| due <= now)
            && let Some(inputs) = inputs_of_snapshot(&catalog)
        {
            desk.merge(Level::SNAPSHOT, &inputs).await?;
            continue;
        }
        let snapshot = snapshot.filter(|due| *due > now);
        match next_chore(&catalog, policy, now) {
            Next::Now(Chore::Compact { level, inputs }) => desk.merge(level, &inputs).await?,
            Next::Now(Chore::Bundle(members)) => desk.bundle(&members).await?,
            Next::Now(Chore::Delete(ids)) => desk.delete(ids).await?,
            Next::At(time) => return Ok(Some(snapshot.map_or(time, |due| due.min(time)))),
            Next::Never => return Ok(snapshot),
        }
    }
    Err(again("it does not come to an end"))
}

struct Desk<'a> {
    replica: &'a Replica,
    budget: &'a Rc<Budget>,
    /// Of the ledger, when the work began.
    generation: u64,
    /// No run makes the same twice.
    made: BTreeSet<SegmentId>,
}

impl Desk<'_> {
    /// Ends what a life before this one has begun.
    async fn settle(&self) -> Result<(), Failure> {
        let Replica { ledger, store, .. } = self.replica;
        if let Some(making) = Making::left(ledger)? {
            match making.settle(store, self.budget).await? {
                Some(found) => self.commit(&found, &[]).await?,
                None => Making::forget(ledger)?,
            }
        }
        self.sweep().await
    }

    /// Learns which raw segments are in bundles, after the bucket was read.
    async fn learn(&self) -> Result<(), Failure> {
        let ledger = &self.replica.ledger;
        if ledger.sure_note::<bool>(LEARN)?.is_none() {
            return Ok(());
        }
        let catalog = ledger.catalog()?;
        let has_raw = |id: SegmentId| {
            let from_there = catalog.beyond(Level::RAW, id.min).next();
            from_there.is_some_and(|(raw, _)| raw.max <= id.max)
        };
        for (id, entry) in catalog.level(Level::HISTORY).filter(|(id, _)| has_raw(*id)) {
            let bundle = SegmentInfo {
                id,
                size: entry.size,
                timestamp: None,
            };
            // A bundle that cannot be read holds nothing; what it held is bundled again.
            match members(&self.within(None), bundle).await {
                Ok(members) => {
                    for member in members {
                        ledger.set_bundled(member.id)?;
                    }
                }
                Err(restore::Error::Store(error)) if error.is_passing() => return Err(error.into()),
                Err(_) => ledger.set_damaged(id)?,
            }
        }
        self.check()?;
        ledger.forget_note(LEARN)
    }

    async fn merge(&mut self, level: Level, inputs: &[SegmentInfo]) -> Result<(), Failure> {
        let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else {
            return Ok(());
        };
        let id = SegmentId {
            level,
            min: first.id.min,
            max: last.id.max,
        };
        self.begin(id)?;
        let permit = self.permit(inputs)?;
        let output = Output::new(id, &self.replica.store, &self.replica.ledger, self.budget);
        match merge(&self.within(Some(&permit)), inputs, level, output).await {
            Ok(merged) => {
                let found = merged.out.finish().await?;
                self.commit(&found, &[]).await
            }
            Err(error) => self.failed(error).await,
        }
    }

    async fn bundle(&mut self, segments: &[SegmentInfo]) -> Result<(), Failure> {
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
            return Ok(());
        };
        let id = SegmentId {
            level: Level::HISTORY,
            min: first.id.min,
            max: last.id.max,
        };
        self.begin(id)?;
        let permit = self.permit(segments)?;
        let output = Output::new(id, &self.replica.store, &self.replica.ledger, self.budget);
        match bundle(&self.within(Some(&permit)), segments, output).await {
            Ok(bundled) => {
                let found = bundled.out.finish().await?;
                self.commit(&found, segments).await
            }
            Err(error) => self.failed(error).await,
        }
    }

    /// Leaves a segment aside that is of no use.
    async fn failed(&self, error: merge::Error) -> Result<(), Failure> {
        let ledger = &self.replica.ledger;
        if let Some(making) = Making::left(ledger)? {
            making.settle(&self.replica.store, self.budget).await?;
            Making::forget(ledger)?;
        }
        match error.damaged() {
            Some(damaged) => {
                worker::console_error!("{}: {error}; it is left aside", self.replica.store.db());
                ledger.set_damaged(damaged)
            }
            None => Err(Failure::passing("upkeep_failed", format!("{error}."))),
        }
    }

    /// Takes out of every answer, then out of the bucket.
    async fn delete(&self, mut ids: Vec<SegmentId>) -> Result<(), Failure> {
        // What is left at any moment goes on from something: those that lead to others go first.
        sort_by_key(&mut ids, |&id| id);
        let Replica { ledger, lock, .. } = self.replica;
        {
            let guard = lock.enter().await?;
            let mut head = self.replica.settled(&guard).await?;
            self.check()?;
            guard.check()?;
            for &id in &ids {
                ledger.leave(id)?;
            }
            if head.tip.is_some_and(|tip| ids.contains(&tip)) {
                let tip = ledger.end_at(head.position.txid)?;
                head.tip = Some(tip.ok_or_else(|| again("it would delete where the replica ends"))?);
            }
            (head.segments, head.bytes) = ledger.totals()?;
            ledger.set(&State::known(head, None))?;
            ledger.sync().await?;
        }
        fault_point!("upkeep_leaving");
        self.sweep().await
    }

    /// Deletes what is in no answer any more.
    async fn sweep(&self) -> Result<(), Failure> {
        let Replica { ledger, store, .. } = self.replica;
        loop {
            let ids = ledger.leaving()?;
            if ids.is_empty() {
                return Ok(());
            }
            self.budget.take(0).await;
            crate::store::Store::delete_all(store, &ids).await?;
            fault_point!("upkeep_deleted");
            for id in ids {
                ledger.remove(id)?;
            }
        }
    }

    /// Takes what was made into the replica; `members` are then in a bundle.
    async fn commit(&self, found: &Found, members: &[SegmentInfo]) -> Result<(), Failure> {
        let Replica { ledger, lock, .. } = self.replica;
        let guard = lock.enter().await?;
        let head = self.replica.settled(&guard).await?;
        self.check()?;
        guard.check()?;
        if !ledger.holds(found.info.id)? {
            ledger.add(found)?;
            let head = Head {
                segments: head.segments.saturating_add(1),
                bytes: head.bytes.saturating_add(found.info.size),
                ..head
            };
            ledger.set(&State::known(head, None))?;
        }
        for member in members {
            ledger.set_bundled(member.id)?;
        }
        Making::forget(ledger)?;
        drop(guard);
        fault_point!("upkeep_committed");
        Ok(())
    }

    fn begin(&mut self, id: SegmentId) -> Result<(), Failure> {
        if self.made.insert(id) {
            Ok(())
        } else {
            Err(again("it would make the same object twice"))
        }
    }

    /// Fails if the bucket was read again meanwhile: then the work begins again, too.
    fn check(&self) -> Result<(), Failure> {
        if self.generation == self.replica.ledger.generation() {
            return Ok(());
        }
        let message = "The bucket was read again meanwhile.";
        Err(Failure::passing("replica_contended", message))
    }

    fn within<'a>(&'a self, permit: Option<&'a Permit>) -> Within<'a> {
        Within {
            store: &self.replica.store,
            budget: self.budget,
            permit,
        }
    }

    /// Room in memory for inputs, output and its index.
    fn permit(&self, inputs: &[SegmentInfo]) -> Result<Permit, Failure> {
        let bytes = inputs
            .iter()
            .fold(0u64, |sum, input| sum.saturating_add(input.size));
        let index = match self.replica.ledger.open()? {
            State::Known(head, ..) => u64::from(head.commit).saturating_mul(9),
            State::Rebuilding(_) => 0,
        };
        let output = bytes.saturating_mul(2).min(OUTPUT);
        gate::enter(
            bytes
                .min(INPUTS)
                .saturating_add(output)
                .saturating_add(index.min(bytes)),
        )
    }
}

/// What becomes a snapshot: the newest whole database and what leads on from it, without what is damaged.
fn inputs_of_snapshot(catalog: &Catalog) -> Option<Vec<SegmentInfo>> {
    let levels = Level::all().flat_map(|level| catalog.level(level));
    let usable = levels.filter(|(_, entry)| !entry.damaged);
    let segments: Vec<SegmentInfo> = usable
        .map(|(id, entry)| SegmentInfo {
            id,
            size: entry.size,
            timestamp: entry.timestamp,
        })
        .collect();
    let mut inputs = plan(&segments, Target::Latest, Txid::ZERO).ok()?.segments;
    inputs.truncate(merge::MAX_INPUTS);
    (inputs.len() > 1).then_some(inputs)
}

pub(super) fn now() -> Timestamp {
    Timestamp(i64::try_from(Date::now().as_millis()).unwrap_or(i64::MAX))
}

fn again(why: &str) -> Failure {
    let message = format!("Upkeep waits, for {why}. This is a fault of walferry; please report it.");
    Failure::passing("upkeep_failed", message)
}
