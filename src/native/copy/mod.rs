//! Copies a replica to another destination, with another codec if that is wanted.
//!
//! Every segment is decoded on its way, whole, so that what arrives was proven. What is at the destination already, and
//! is the same, is passed over: a copy that was broken off goes on. Segments are copied in the order of their
//! transactions; a replica that grows, or is compacted, meanwhile is looked at again at the end.

mod error;
mod recode;
mod same;

pub use error::Error;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use serde::Serialize;

use crate::ltx::{Codec, Txid};
use crate::replica::{Level, SegmentId, SegmentInfo, Target, plan};
use crate::store::{self, Store, create_or_confirm};
use recode::Made;

/// So often the source is listed: what comes after is for another copy.
const PASSES: usize = 3;
/// Segments that are copied at once.
const PARALLEL: usize = 4;
/// The pauses before further attempts to create an object.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
];

/// How a replica is copied.
#[derive(Clone, Debug)]
pub struct Options {
    /// How pages are packed; as they are where it is not said.
    pub codec: Option<Codec>,
    /// Where a large segment waits while it is made.
    pub folder: PathBuf,
    /// The destination keeps levels of its own: it gets what leads to the newest state, one after the other.
    pub chain_only: bool,
    /// Both have shelves beside their levels.
    pub shelves: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Summary {
    /// The newest transaction of the copy.
    pub txid: Txid,
    /// Objects that were copied.
    pub copied: u64,
    /// Objects that were there already.
    pub present: u64,
    /// Bytes that were read.
    pub read: u64,
    /// Bytes that were written.
    pub written: u64,
}

/// Copies what is not there. `progress` gets the bytes that are done and that there are in all.
pub async fn run(
    source: &dyn Store,
    target: &dyn Store,
    options: &Options,
    mut progress: impl FnMut(u64, u64),
) -> Result<Summary, Error> {
    let mut summary = Summary::default();
    let mut settled = BTreeSet::new();
    for _ in 0..PASSES {
        let listed = source.list_all(Txid::ZERO).await?;
        let newest = plan(&listed, Target::Latest, Txid::ZERO)?;
        summary.txid = newest.txid().unwrap_or(Txid::ZERO);
        let mut wanted = if options.chain_only {
            newest.segments
        } else {
            listed
        };
        wanted.sort_by_key(|object| (object.id.max, object.id.min, object.id.level));
        if options.shelves {
            for shelf in [Level::HISTORY, Level::SUMS] {
                wanted.append(&mut source.list(shelf, Txid::ZERO).await?);
            }
        }
        wanted.retain(|object| !settled.contains(&object.id));
        if wanted.is_empty() {
            break;
        }
        let there = objects(target, options).await?;
        let total = wanted.iter().map(|object| object.size).sum();
        let mut done = 0;
        let parallel = if options.chain_only { 1 } else { PARALLEL };
        let mut copies = stream::iter(wanted)
            .map(|object| {
                let found = there.get(&place(object.id, options)).copied();
                let copy = one(source, target, object, found, options);
                async move { (object, copy.await) }
            })
            .buffered(parallel);
        while let Some((object, outcome)) = copies.next().await {
            match outcome {
                Ok(Outcome::Copied(written)) => {
                    summary.copied = summary.copied.saturating_add(1);
                    summary.read = summary.read.saturating_add(object.size);
                    summary.written = summary.written.saturating_add(written);
                }
                Ok(Outcome::Present) => summary.present = summary.present.saturating_add(1),
                // Compacted or expired meanwhile: what stands for it is found in the next pass.
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error),
            }
            settled.insert(object.id);
            done = u64::saturating_add(done, object.size);
            progress(done, total);
        }
    }
    let copied = plan(&target.list_all(Txid::ZERO).await?, Target::Latest, Txid::ZERO)?;
    if copied.txid() < Some(summary.txid) {
        return Err(Error::Incomplete {
            reached: copied.txid().unwrap_or(Txid::ZERO),
            wanted: summary.txid,
        });
    }
    Ok(summary)
}

enum Outcome {
    Present,
    /// With so many bytes.
    Copied(u64),
}

async fn objects(target: &dyn Store, options: &Options) -> Result<BTreeMap<SegmentId, SegmentInfo>, Error> {
    let mut found = target.list_all(Txid::ZERO).await?;
    if options.shelves {
        for shelf in [Level::HISTORY, Level::SUMS] {
            found.append(&mut target.list(shelf, Txid::ZERO).await?);
        }
    }
    Ok(found.into_iter().map(|object| (object.id, object)).collect())
}

/// Where an object of the source goes.
fn place(id: SegmentId, options: &Options) -> SegmentId {
    if options.chain_only {
        SegmentId {
            level: Level::RAW,
            ..id
        }
    } else {
        id
    }
}

async fn one(
    source: &dyn Store,
    target: &dyn Store,
    object: SegmentInfo,
    found: Option<SegmentInfo>,
    options: &Options,
) -> Result<Outcome, Error> {
    let to = place(object.id, options);
    if let Some(found) = found {
        return if same::is_same(source, object, target, found, options.codec).await? {
            Ok(Outcome::Present)
        } else {
            Err(Error::Differs(to))
        };
    }
    let made = recode::recode(source, object, options).await?;
    create(target, to, &made).await.map_err(|error| match error {
        store::Error::Exists(_) => Error::Differs(to),
        error => error.into(),
    })?;
    Ok(Outcome::Copied(store::Body::len(&made.body)))
}

/// Creates an object; a fault that may pass is waited for.
async fn create(target: &dyn Store, id: SegmentId, made: &Made) -> store::Result<()> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let created = match made.checksum {
            Some(checksum) => create_or_confirm(target, id, &made.body, checksum).await,
            None => match target.create(id, &made.body).await {
                // By an earlier attempt of ours, whose answer was lost.
                Err(store::Error::Exists(_)) => Ok(()),
                result => result,
            },
        };
        match (created, pauses.next()) {
            (Err(store::Error::Unavailable(why)), Some(pause)) => {
                tracing::warn!("{why}; trying again in {pause:?}");
                tokio::time::sleep(pause).await;
            }
            (created, _) => return created,
        }
    }
}
