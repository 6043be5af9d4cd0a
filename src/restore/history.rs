//! The states between the levels: the raw segments of the past, as they lie in bundles.

use std::collections::BTreeMap;

use super::{Damage, Error, Result, times};
use crate::ltx::Txid;
use crate::replica::{
    BundleEnd, BundleWriter, InBundle, InvalidBundle, Level, Member, SegmentId, SegmentInfo, Target,
    bundle_end,
};
use crate::store::{self, Source, Store};

/// What the bundles have added to a listing.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Where the members lie that were added.
    pub(super) places: BTreeMap<SegmentId, InBundle>,
    /// All bundles, if they were looked at.
    bundles: Vec<SegmentInfo>,
    /// How far the segments lead, these members included.
    reach: Txid,
}

/// Adds to a listing those members of bundles that lead closer to `target` from the state after `after`. They are named by their transactions, at [`Level::HISTORY`].
///
/// The newest state is at the levels: no bundle is looked at for it, unless something else is damaged or gone.
pub(super) async fn toward(
    store: &dyn Store,
    segments: &mut Vec<SegmentInfo>,
    target: Target,
    after: Txid,
    damage: &Damage,
) -> Result<History> {
    if let Target::Time(time) = target {
        times::tell(store, segments, time).await?;
    }
    let goal = match target {
        Target::Latest => segments.iter().map(|segment| segment.id.max).max(),
        Target::Txid(txid) => Some(txid),
        Target::Time(_) => None,
    };
    let mut history = History {
        reach: reach(segments, target, after),
        ..History::default()
    };
    if segments.is_empty() || goal.is_some_and(|goal| history.reach >= goal) {
        return Ok(history);
    }
    history.bundles = store.list(Level::HISTORY, Txid::ZERO).await?;
    for &bundle in &history.bundles {
        let at = history.reach;
        if goal.is_some_and(|goal| bundle.id.min > goal || at >= goal) {
            break;
        }
        if bundle.id.max <= at || damage.includes(bundle.id) {
            continue;
        }
        let members = match members(store, bundle).await {
            Ok(members) => members,
            // Deleted while we look: what it held is expired.
            Err(Error::Store(store::Error::NotFound(_))) => continue,
            Err(error) => return Err(error),
        };
        let mut is_beyond = false;
        for member in members {
            let (level, timestamp) = (Level::HISTORY, Some(member.timestamp));
            let (id, size) = (SegmentId { level, ..member.id }, member.size);
            is_beyond |= matches!(target, Target::Time(time) if member.timestamp > time);
            if id.max > after && !damage.includes(id) {
                let offset = member.offset;
                history.places.insert(id, InBundle { bundle, offset, size });
                segments.push(SegmentInfo { id, size, timestamp });
            }
        }
        history.reach = reach(segments, target, after);
        if is_beyond || history.reach == at {
            break;
        }
    }
    Ok(history)
}

impl History {
    /// The state before a hole that the wanted one may be in: what was shipped next is known to have been there, and is
    /// neither in a bundle nor beside them.
    ///
    /// A part of the history that is older than all bundles is no hole: it has expired, or nobody kept it.
    pub(super) fn hole(&self, segments: &[SegmentInfo], target: Target, damage: &Damage) -> Option<Txid> {
        let (at, next) = (self.reach, self.reach.next()?);
        let is_reached = match target {
            Target::Latest => true,
            Target::Txid(wanted) => at >= wanted,
            Target::Time(_) => false,
        };
        let is_newest = segments.iter().all(|segment| segment.id.max <= at);
        if is_reached || is_newest || at == Txid::ZERO {
            return None;
        }
        // The state that it leads to is known, and is not the wanted one; or it is a sync of several transactions.
        let is_known = segments.iter().any(|segment| {
            let is_raw = [Level::RAW, Level::HISTORY].contains(&segment.id.level);
            segment.id.max == next || is_raw && (segment.id.min..=segment.id.max).contains(&next)
        });
        let is_kept = self.bundles.iter().any(|bundle| bundle.id.min <= at);
        (!is_known && (is_kept || damage.hides(next))).then_some(at)
    }
}

/// How far segments lead toward a target.
fn reach(segments: &[SegmentInfo], target: Target, after: Txid) -> Txid {
    let within = |segment: &&SegmentInfo| match target {
        Target::Latest => true,
        Target::Txid(txid) => segment.id.max <= txid,
        Target::Time(time) => segment.timestamp.is_some_and(|timestamp| timestamp <= time),
    };
    let mut usable: Vec<&SegmentInfo> = segments.iter().filter(within).collect();
    crate::replica::sort_by_key(&mut usable, |segment| segment.id.min);
    usable.iter().fold(after, |reach, segment| {
        let follows = reach.next().is_some_and(|next| segment.id.min <= next);
        if follows { reach.max(segment.id.max) } else { reach }
    })
}

/// What a bundle holds, from its last bytes.
pub async fn members(source: &dyn Source, bundle: SegmentInfo) -> Result<Vec<Member>> {
    let (id, size) = (bundle.id, bundle.size);
    let invalid = |error| Error::Bundle { bundle: id, error };
    let mut len = BundleWriter::TAIL;
    for _ in 0..2 {
        let tail = source.read(id, size.saturating_sub(len)..size).await;
        let tail = tail.map_err(|error| match error {
            store::Error::OutOfRange(_) => invalid(InvalidBundle("it is shorter than the listing says")),
            error => error.into(),
        })?;
        match bundle_end(&tail, id, size).map_err(invalid)? {
            BundleEnd::Members(members) => return Ok(members),
            BundleEnd::Need(need) => len = need,
        }
    }
    Err(invalid(InvalidBundle("its index has no end")))
}
