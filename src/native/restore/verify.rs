//! The restore drill: restores a point into a temporary file, looks at it as SQLite does, and throws it away.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use serde::Serialize;

use super::{Error, IntegrityCheck, Options, Summary};
use crate::ltx::Txid;
use crate::native::store::Patient;
use crate::replica::{Level, PlanError, Target};
use crate::restore::{Damage, listing, members, plan_without};
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
    /// What was restored, and what of the replica had to be replaced.
    #[serde(flatten)]
    pub restored: Summary,
    /// How long SQLite's `integrity_check` took, which found nothing; the rest of [`Summary::seconds`] is what a
    /// recovery takes.
    pub integrity_seconds: f64,
}

/// Restores, checks, removes. An error means that the replica does not give this state.
///
/// May run in the background of other work on the same thread; dropped, it leaves nothing behind.
pub async fn verify(
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
        Point::Random => random(&store).await?,
    };
    let folder = tempfile::Builder::new()
        .prefix(".walferry-verify-")
        .tempdir_in(&parent);
    let folder = folder.map_err(|source| Error::Output { path: parent, source })?;
    let output = folder.path().join("restored.db");
    let mut options = Options::new(target, output.clone());
    options.parallelism = drill.parallelism.unwrap_or(options.parallelism);
    let restored = super::run(&store, &options, progress).await?;
    let start = Instant::now();
    super::blocking(move || super::integrity::check(&output, IntegrityCheck::Full)).await?;
    Ok(Report {
        restored,
        integrity_seconds: start.elapsed().as_secs_f64(),
    })
}

/// One of the states that the replica's listing promises.
async fn random(store: &dyn Store) -> Result<Target, Error> {
    let segments = listing(store, Txid::ZERO).await?;
    let mut points: Vec<Txid> = segments.iter().map(|segment| segment.id.max).collect();
    // A time between the levels: that of a bundle that is drawn.
    let bundles = store
        .list(Level::HISTORY, Txid::ZERO)
        .await
        .map_err(crate::restore::Error::from)?;
    let drawn = usize::try_from(RandomState::new().hash_one(1) % (bundles.len().max(1) as u64));
    if let Some(bundle) = bundles.get(drawn.unwrap_or_default()) {
        let found = members(store, *bundle)
            .await
            .map_err(crate::restore::Error::from)?;
        points.extend(found.iter().map(|member| member.id.max));
    }
    points.sort_unstable();
    points.dedup();
    // Each start of a hasher is another one.
    let mut choice = RandomState::new().hash_one(0);
    while !points.is_empty() {
        let count = u64::try_from(points.len()).unwrap_or(u64::MAX);
        let at = usize::try_from(choice.checked_rem(count).unwrap_or_default()).unwrap_or_default();
        let point = points.swap_remove(at);
        // What retention has left without its snapshot is no point any more.
        let target = Target::Txid(point);
        match plan_without(store, target, Txid::ZERO, &Damage::default()).await {
            Ok(_) => return Ok(target),
            Err(crate::restore::Error::Plan(_)) => {}
            Err(error) => return Err(error.into()),
        }
        choice = choice.rotate_left(7) ^ point.0;
    }
    Err(crate::restore::Error::Plan(PlanError::Empty).into())
}
