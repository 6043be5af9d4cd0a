//! How far a replica leads: which of several to restore from.

use super::{Error, Way, v3};
use crate::ltx::{Timestamp, Txid};
use crate::native::store::{Destination, Patient};
use crate::replica::{PlanError, Target};
use crate::restore::time_of;

/// A state that a replica leads to. The later one is greater; where no time tells, the one with more transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reach {
    time: Timestamp,
    txid: Txid,
}

/// The state that a replica leads to, in either layout; `None` where it holds nothing. What is in its objects is not
/// looked at.
pub async fn reach(
    destination: &Destination,
    store: &Patient,
    target: Target,
) -> Result<Option<Reach>, Error> {
    if let Some(old) = v3::find(destination, store, target).await? {
        let (time, txid) = (old.time(), Txid::ZERO);
        return Ok(Some(Reach { time, txid }));
    }
    let plan = match Way::new(target).plan(store).await {
        Err(Error::Replica(crate::restore::Error::Plan(PlanError::Empty))) => return Ok(None),
        plan => plan?,
    };
    let Some(&newest) = plan.segments.last() else {
        return Ok(None);
    };
    let time = time_of(store, newest).await?.unwrap_or_default();
    let txid = newest.id.max;
    Ok(Some(Reach { time, txid }))
}
