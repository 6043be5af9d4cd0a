//! The restore drill: restores a point into a temporary file, looks at it as SQLite does, and throws it away.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use serde::Serialize;

use super::{Error, IntegrityCheck, Options, Summary, reach, v3};
use crate::ltx::Txid;
use crate::native::store::{Destination, Patient};
use crate::replica::{Level, PlanError, Target};
use crate::restore::{listing, members};
use crate::store::Store;

/// A drill.
#[derive(Clone, Debug, Default)]
pub struct Drill {
    /// Which point.
    pub point: Point,
    /// Where the temporary file goes; it needs as much room as the database. The system's place for temporary
    /// files if not said.
    pub folder: Option<PathBuf>,
    /// How many reads run at once; the default of [`Options`] if not said.
    pub parallelism: Option<usize>,
}

/// Which state a drill restores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Point {
    /// The newest.
    #[default]
    Newest,
    /// Any that can be restored.
    Random,
    /// This one.
    At(Target),
}

/// What a drill has proven.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was restored.
    #[serde(flatten)]
    pub restored: Restored,
    /// How long SQLite's `integrity_check` took, which found nothing. It is not a part of what a recovery takes.
    pub integrity_seconds: f64,
}

/// What a drill has restored, by the layout that it was in.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Restored {
    /// Of segments, and what of the replica had to be replaced.
    Segments(Summary),
    /// What Litestream 0.3 left.
    Old(v3::Summary),
}

/// Restores, checks, removes. An error means that the replica does not give this state.
///
/// May run in the background of other work on the same thread; dropped, it leaves nothing behind.
pub async fn verify(
    destination: &Destination,
    store: Rc<dyn Store>,
    drill: &Drill,
    progress: impl FnMut(u64, u64),
) -> Result<Report, Error> {
    let store = Patient::new(store);
    let parent = drill.folder.clone().unwrap_or_else(std::env::temp_dir);
    if !parent.is_dir() {
        return Err(Error::NoFolder(parent));
    }
    let target = match drill.point {
        Point::Newest => Target::Latest,
        Point::At(target) => target,
        Point::Random => random(destination, &store).await?,
    };
    let folder = tempfile::Builder::new()
        .prefix(".walferry-verify-")
        .tempdir_in(&parent);
    let folder = folder.map_err(|source| Error::Output { path: parent, source })?;
    let output = folder.path().join("restored.db");
    let mut options = Options::new(target, output.clone());
    options.parallelism = drill.parallelism.unwrap_or(options.parallelism);
    let restored = match v3::find(destination, &store, target).await? {
        Some(old) => Restored::Old(old.restore(&store, &options, progress).await?),
        None => Restored::Segments(super::run(&store, &options, progress).await?),
    };
    let start = Instant::now();
    super::blocking(move || super::integrity::check(&output, IntegrityCheck::Full)).await?;
    Ok(Report {
        restored,
        integrity_seconds: start.elapsed().as_secs_f64(),
    })
}

/// One of the states that the replica's listing promises, in either layout.
async fn random(destination: &Destination, store: &Patient) -> Result<Target, Error> {
    let segments = listing(store, Txid::ZERO).await?;
    let mut txids: Vec<Txid> = segments.iter().map(|segment| segment.id.max).collect();
    // A time between the levels: that of a bundle that is drawn.
    let bundles = store
        .list(Level::HISTORY, Txid::ZERO)
        .await
        .map_err(crate::restore::Error::from)?;
    let drawn = usize::try_from(RandomState::new().hash_one(1) % (bundles.len().max(1) as u64));
    if let Some(bundle) = bundles.get(drawn.unwrap_or_default()) {
        let found = members(store, *bundle).await?;
        txids.extend(found.iter().map(|member| member.id.max));
    }
    txids.sort_unstable();
    txids.dedup();
    let times = v3::times(destination, store).await?;
    let times = times.into_iter().map(Target::Time);
    let mut points: Vec<Target> = txids.into_iter().map(Target::Txid).chain(times).collect();
    while !points.is_empty() {
        // Each start of a hasher is another one.
        let drawn = RandomState::new().hash_one(0);
        let count = u64::try_from(points.len()).unwrap_or(u64::MAX);
        let at = usize::try_from(drawn.checked_rem(count).unwrap_or_default()).unwrap_or_default();
        let point = points.swap_remove(at);
        // What retention has left without its snapshot is no point any more.
        match reach(destination, store, point).await {
            Ok(_) => return Ok(point),
            Err(Error::Replica(crate::restore::Error::Plan(_)) | Error::Old(v3::Error::NoSnapshot)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(crate::restore::Error::Plan(PlanError::Empty).into())
}
