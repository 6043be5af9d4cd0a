//! The states between the levels: the raw segments of the past, as they lie in bundles.

use std::collections::BTreeMap;

use super::{Damage, times};
use crate::ltx::Txid;
use crate::replica::{
    BundleEnd, BundleWriter, InBundle, Level, Member, SegmentId, SegmentInfo, Target, bundle_end,
};
use crate::store::{Error, Result, Store};

/// Adds to a listing those members of bundles that lead closer to `target` from the state after `after`, and returns
/// where they lie. They are named by their transactions, at [`Level::HISTORY`].
///
/// The newest state is at the levels: no bundle is looked at for it, unless something else is damaged or gone.
pub(super) async fn toward(
    store: &dyn Store,
    segments: &mut Vec<SegmentInfo>,
    target: Target,
    after: Txid,
    damage: &Damage,
) -> Result<BTreeMap<SegmentId, InBundle>> {
    if let Target::Time(time) = target {
        times::tell(store, segments, time).await?;
    }
    let mut places = BTreeMap::new();
    let goal = match target {
        Target::Latest => segments.iter().map(|segment| segment.id.max).max(),
        Target::Txid(txid) => Some(txid),
        Target::Time(_) => None,
    };
    let mut at = reach(segments, target, after);
    if segments.is_empty() || goal.is_some_and(|goal| at >= goal) {
        return Ok(places);
    }
    for bundle in store.list(Level::HISTORY, at).await? {
        if goal.is_some_and(|goal| bundle.id.min > goal || at >= goal) {
            break;
        }
        if bundle.id.max <= at {
            continue;
        }
        let members = match members(store, bundle).await {
            Ok(members) => members,
            // Deleted while we look: what it held is expired.
            Err(Error::NotFound(_)) => continue,
            Err(error) => return Err(error),
        };
        let mut is_beyond = false;
        for member in members {
            let (level, timestamp) = (Level::HISTORY, Some(member.timestamp));
            let (id, size) = (SegmentId { level, ..member.id }, member.size);
            is_beyond |= matches!(target, Target::Time(time) if member.timestamp > time);
            if id.max > after && !damage.includes(id) {
                let offset = member.offset;
                places.insert(id, InBundle { bundle, offset, size });
                segments.push(SegmentInfo { id, size, timestamp });
            }
        }
        let before = at;
        at = reach(segments, target, after);
        if is_beyond || at == before {
            break;
        }
    }
    Ok(places)
}

/// How far segments lead toward a target.
fn reach(segments: &[SegmentInfo], target: Target, after: Txid) -> Txid {
    let within = |segment: &&SegmentInfo| match target {
        Target::Latest => true,
        Target::Txid(txid) => segment.id.max <= txid,
        Target::Time(time) => segment.timestamp.is_some_and(|timestamp| timestamp <= time),
    };
    let mut usable: Vec<&SegmentInfo> = segments.iter().filter(within).collect();
    usable.sort_by_key(|segment| segment.id.min);
    usable.iter().fold(after, |reach, segment| {
        let follows = reach.next().is_some_and(|next| segment.id.min <= next);
        if follows { reach.max(segment.id.max) } else { reach }
    })
}

/// What a bundle holds, from its last bytes.
pub async fn members(store: &dyn Store, bundle: SegmentInfo) -> Result<Vec<Member>> {
    let (id, size) = (bundle.id, bundle.size);
    let invalid = |why: &dyn std::fmt::Display| Error::Protocol(format!("bundle {id}: {why}"));
    let mut len = BundleWriter::TAIL;
    for _ in 0..2 {
        let tail = store.read(id, size.saturating_sub(len)..size).await?;
        match bundle_end(&tail, id, size).map_err(|error| invalid(&error))? {
            BundleEnd::Members(members) => return Ok(members),
            BundleEnd::Need(need) => len = need,
        }
    }
    Err(invalid(&"its index has no end"))
}
