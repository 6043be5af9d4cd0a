//! From the bucket to a ledger: R2 is the truth, once it has what the ledger keeps.
//!
//! A large replica takes several requests; each goes on where the last one ended.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};

use worker::Data;

use super::chain;
use super::failure::Failure;
use super::head::Head;
use super::ledger::{Ledger, State};
use super::lock::Guard;
use super::r2::{Found, MAX_PAGE, R2Store};
use super::upkeep;
use crate::ltx::{Header, Trailer, Txid};
use crate::replica::{Layout, Level};

/// Requests to R2 that one of ours may make.
const MAX_REQUESTS: usize = 800;
/// As many as the runtime makes at once.
const PARALLEL: usize = 6;
/// After so many reads it is noted how far it came: the runtime may refuse the next one (on the free plan, the 51st).
const NOTED: usize = 12;

/// Reads the bucket on from `start`. What it holds is served only when all of it is known.
pub(super) async fn run(
    ledger: &Ledger,
    store: &R2Store,
    guard: &Guard<'_>,
    mut start: Option<String>,
) -> Result<Head, Failure> {
    if start.is_none() {
        give_away(ledger, store, guard).await?;
        ledger.clear()?;
    }
    let mut requests = 0usize;
    loop {
        let page = store.page(start.as_deref(), MAX_PAGE).await?;
        requests = requests.saturating_add(1);
        for group in group_by_reads(page.segments) {
            let last = group.last().map(|found| found.info.id.key(Layout::Bucket));
            let untold = group.iter().filter(|found| !found.is_told()).count();
            requests = requests.saturating_add(untold);
            let mut reads = stream::iter(group)
                .map(async |found| read_header(store, found).await)
                .buffer_unordered(PARALLEL);
            let mut all = Vec::new();
            while let Some(found) = reads.next().await {
                all.push(found?);
            }
            guard.renew()?;
            for found in &all {
                ledger.add(found)?;
            }
            if untold > 0 {
                ledger.set(&State::Rebuilding(last))?;
                fault_point!("objects_read");
                if requests > MAX_REQUESTS {
                    return Err(large());
                }
            }
        }
        start = page.next;
        guard.renew()?;
        ledger.set(&State::Rebuilding(start.clone()))?;
        fault_point!("bucket_listed");
        if start.is_none() {
            return finish(ledger, store, guard).await;
        }
        if requests > MAX_REQUESTS {
            return Err(large());
        }
    }
}

/// Puts what is kept here alone into the bucket, which is the whole truth then.
async fn give_away(ledger: &Ledger, store: &R2Store, guard: &Guard<'_>) -> Result<(), Failure> {
    let mut requests = 0usize;
    loop {
        let kept = ledger.all_kept()?;
        if kept.is_empty() {
            return Ok(());
        }
        for id in kept {
            let Some(bytes) = ledger.kept(id)? else {
                continue;
            };
            let header = bytes.first_chunk().and_then(|start| Header::parse(start).ok());
            let size = bytes.len() as u64;
            let end = bytes
                .last_chunk::<{ Trailer::LEN }>()
                .copied()
                .unwrap_or_default();
            let created = store.put(id, Data::Bytes(bytes), header.as_ref()).await?;
            if !created && !store.ends_so(id, size, &end).await? {
                let message = format!(
                    "An object {id} is in the bucket that is not the replica's segment of that name; delete it there."
                );
                return Err(Failure::new(409, "segment_in_the_way", message));
            }
            guard.renew()?;
            ledger.give_away(id)?;
            fault_point!("given_away");
            requests = requests.saturating_add(1);
            if requests > MAX_REQUESTS {
                return Err(large());
            }
        }
    }
}

/// Looks at a bucket that others fill, and takes in what is new since the last time; what has gone goes.
pub(super) async fn again(ledger: &Ledger, store: &R2Store, guard: &Guard<'_>) -> Result<Head, Failure> {
    let mut there = BTreeSet::new();
    let (mut start, mut reads): (Option<String>, usize) = (None, 0);
    loop {
        let page = store.page(start.as_deref(), MAX_PAGE).await?;
        for found in page.segments {
            let id = found.info.id;
            there.insert(id);
            if !ledger.holds(id)? {
                reads = reads.saturating_add(usize::from(!found.is_told()));
                ledger.add(&read_header(store, found).await?)?;
            }
        }
        guard.renew()?;
        start = page.next;
        if start.is_none() {
            break;
        }
        if reads > MAX_REQUESTS {
            return Err(large());
        }
    }
    let mut known: Vec<_> = ledger.steps()?.into_iter().map(|step| step.id).collect();
    for shelf in Level::shelves() {
        known.extend(
            ledger
                .all(Some(shelf), Txid::ZERO)?
                .into_iter()
                .map(|info| info.id),
        );
    }
    for id in known.into_iter().filter(|id| !there.contains(id)) {
        ledger.remove(id)?;
    }
    finish(ledger, store, guard).await
}

fn large() -> Failure {
    let message = "The replica has so many segments that reading them takes several requests; try again.";
    Failure::passing("replica_large", message)
}

/// Keeps what is one history, and finds where it ends. Bundles prove themselves to who reads them: all stay.
async fn finish(ledger: &Ledger, store: &R2Store, guard: &Guard<'_>) -> Result<Head, Failure> {
    let steps = ledger.steps()?;
    let chain = chain::follow(&steps, store.is_attached())?;
    let mut head = match chain.tip {
        None => Head::EMPTY,
        Some(tip) => match ledger.head_at(tip)? {
            Some(head) => head,
            None => Head::at(tip, &store.header(tip).await?),
        },
    };
    guard.check()?;
    for (step, belongs) in steps.iter().zip(chain.belongs) {
        if !belongs {
            ledger.remove(step.id)?;
        }
    }
    upkeep::forgot(ledger)?;
    (head.segments, head.bytes) = ledger.totals()?;
    ledger.set(&State::known(head, None))?;
    Ok(head)
}

/// In order, in groups of which few objects must be read.
fn group_by_reads(segments: Vec<Found>) -> Vec<Vec<Found>> {
    let mut groups: Vec<Vec<Found>> = Vec::new();
    let mut reads = NOTED;
    for found in segments {
        reads = reads.saturating_add(usize::from(!found.is_told()));
        match groups.last_mut() {
            Some(group) if reads <= NOTED => group.push(found),
            _ => {
                reads = usize::from(!found.is_told());
                groups.push(vec![found]);
            }
        }
    }
    groups
}

/// What the metadata do not tell, the object does: it may have been copied here from another bucket.
async fn read_header(store: &R2Store, mut found: Found) -> Result<Found, Failure> {
    if !found.is_told() {
        let header = store.own_header(found.info.id).await?;
        found.info.timestamp = found.info.timestamp.or(Some(header.timestamp));
        found.header = Some(header);
    }
    Ok(found)
}
