//! Which objects of a bucket are one history, and where it ends. Pure.
//!
//! Segments are steps between states. Where they carry database sums (WFC1), a step goes on only from the state
//! that it names; those of Litestream name none, and are taken by their transactions alone.

use std::collections::BTreeMap;

use super::failure::Failure;
use crate::ltx::{DbSum, Sums, Txid};
use crate::replica::{Level, SegmentId, sort_by_key};

/// A segment as a step from one state to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) id: SegmentId,
    pub(super) sums: Option<Sums>,
}

/// One history.
#[derive(Debug)]
pub(super) struct Chain {
    /// A segment that ends at its newest state, one that tells the sum if there is one. `None` if it is empty.
    pub(super) tip: Option<SegmentId>,
    /// For each step, whether it belongs to it.
    pub(super) belongs: Vec<bool>,
}

/// Follows the steps from the empty database. Refuses to choose: two ways on, or segments that nothing leads to, are
/// for a person to decide about.
///
/// Not so where another Worker fills the bucket (`is_attached`, and the steps name their states): it may keep those between
/// in its object for a while.
pub(super) fn follow(steps: &[Step], is_attached: bool) -> Result<Chain, Failure> {
    let mut order: Vec<usize> = (0..steps.len()).collect();
    sort_by_key(&mut order, |&at| {
        steps
            .get(at)
            .map(|step| (step.id.min, step.id.level, step.id.max))
    });
    let in_order = || order.iter().filter_map(|&at| Some((at, *steps.get(at)?)));

    let mut states = States::default();
    states.add(Txid::ZERO, Some(DbSum::EMPTY), None)?;
    let mut belongs = vec![false; steps.len()];
    fn mark(belongs: &mut [bool], at: usize) {
        if let Some(flag) = belongs.get_mut(at) {
            *flag = true;
        }
    }
    let mut last_raw: Option<SegmentId> = None;
    for (at, Step { id, sums }) in in_order() {
        if !states.has(before(id), sums.map(|sums| sums.before)) && !states.straddles(id) {
            continue;
        }
        mark(&mut belongs, at);
        if id.level == Level::RAW {
            if let Some(last) = last_raw.filter(|last| id.min <= last.max) {
                return Err(forked(last, id));
            }
            last_raw = Some(id);
        }
        states.add(id.max, sums.map(|sums| sums.after), Some(id))?;
    }
    let tip = states.newest();
    // What is shipped next goes on from the last raw segment, and raw segments go only when a level holds them: a state
    // beyond it that no level leads to is of another history.
    let is_ahead =
        |id: SegmentId| is_attached && steps.iter().any(|step| step.id == id && step.sums.is_some());
    if let (Some(raw), Some(tip)) = (last_raw, tip.filter(|&tip| !is_ahead(tip))) {
        let steps = in_order().map(|(_, step)| step.id);
        let levels = steps.filter(|id| id.min > Txid::FIRST && id.level > Level::RAW);
        let reach = levels.fold(raw.max, |reach, id| {
            if before(id) <= reach {
                reach.max(id.max)
            } else {
                reach
            }
        });
        if reach < tip.max {
            return Err(forked(raw, tip));
        }
    }
    // What is left of the time before the oldest snapshot leads to states that are known.
    for (at, Step { id, sums }) in in_order().collect::<Vec<_>>().into_iter().rev() {
        if states.has(id.max, sums.map(|sums| sums.after)) {
            mark(&mut belongs, at);
            states.add(before(id), sums.map(|sums| sums.before), None)?;
        } else if id.level == Level::RAW && (!is_ahead(id) || states.0.contains_key(&before(id))) {
            // One that is too long for a bundle stays when those beside it have gone.
            let holds = |(at, step): (usize, Step)| {
                let is_held = step.id.min <= id.min && id.max <= step.id.max && step.id.level > Level::RAW;
                is_held && belongs.get(at) == Some(&true)
            };
            if !in_order().any(holds) {
                return Err(unlinked(id));
            }
            mark(&mut belongs, at);
        }
    }
    Ok(Chain { tip, belongs })
}

/// The states that are known, by transaction.
#[derive(Debug, Default)]
struct States(BTreeMap<Txid, State>);

#[derive(Clone, Copy, Debug)]
struct State {
    sum: Option<DbSum>,
    /// What leads there.
    by: Option<SegmentId>,
}

impl States {
    /// Whether there is such a state; an unknown sum is like any.
    fn has(&self, txid: Txid, sum: Option<DbSum>) -> bool {
        self.0
            .get(&txid)
            .is_some_and(|state| state.sum.is_none() || sum.is_none() || state.sum == sum)
    }

    /// Whether a segment of a level starts before all that is known and ends beyond: what it started from has expired.
    fn straddles(&self, id: SegmentId) -> bool {
        let start = before(id);
        let later = self.0.range(Txid(1)..).next().map(|(txid, _)| *txid);
        id.level > Level::RAW
            && later.is_some_and(|oldest| start < oldest && oldest < id.max)
            && start > Txid::ZERO
    }

    fn add(&mut self, txid: Txid, sum: Option<DbSum>, by: Option<SegmentId>) -> Result<(), Failure> {
        let state = self.0.entry(txid).or_insert(State { sum, by });
        match (state.sum, sum) {
            (Some(known), Some(sum)) if known != sum => match (state.by, by) {
                (Some(one), Some(other)) => return Err(forked(one, other)),
                _ => return Ok(()),
            },
            (None, Some(_)) => *state = State { sum, by },
            _ => state.by = state.by.or(by),
        }
        Ok(())
    }

    fn newest(&self) -> Option<SegmentId> {
        self.0.last_key_value().and_then(|(_, state)| state.by)
    }
}

fn before(id: SegmentId) -> Txid {
    Txid(id.min.0.saturating_sub(1))
}

fn forked(one: SegmentId, other: SegmentId) -> Failure {
    Failure::passing(
        "replica_forked",
        format!(
            "The replica has two histories: segments {one} and {other} cannot both be right. Delete the one that \
             is wrong from the bucket, and what follows it."
        ),
    )
}

fn unlinked(id: SegmentId) -> Failure {
    Failure::passing(
        "replica_broken",
        format!(
            "The replica has a gap: nothing leads to segment {id}. Bring back what is missing before it, or delete \
             it from the bucket, and what follows it."
        ),
    )
}
