//! Restores what Litestream 0.3 left: generations, each with snapshots of the database file and the WAL that was written
//! after them, byte for byte.
//!
//! There is no sum of the whole database to prove the result by. What there is is verified: the checksums of the LZ4
//! frames, every checksum and salt of the WAL's frames, that nothing is missing between two files; and SQLite looks at
//! the result before it gets its name.

mod error;
mod name;
mod plan;
mod unpack;
mod wal;

pub use error::Error;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use self::plan::{Plan, Segment};
use super::{IntegrityCheck, Options, integrity};
use crate::ltx::{PageSize, Timestamp, Txid};
use crate::native::new_file;
use crate::native::store::{Destination, Keys, Object, Patient};
use crate::replica::{PlanError, Target};
use crate::restore::{Damage, plan_without, time_of};

/// The way to a state in the old layout.
#[derive(Debug)]
pub struct Old {
    keys: Keys,
    plan: Plan,
}

/// What was restored, or would be.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The layout.
    pub layout: &'static str,
    /// The generation.
    pub generation: String,
    /// The index of the last WAL, or of the snapshot if there is none.
    pub index: u64,
    /// When the last of it was written, in Unix milliseconds.
    pub timestamp: Timestamp,
    /// Files that were read: the snapshot and the pieces of WAL.
    pub files: usize,
    /// Bytes that were read.
    pub fetched: u64,
    /// Size of the database in bytes, once it is restored.
    pub bytes: Option<u64>,
    /// How long it took.
    pub seconds: f64,
}

/// Looks whether the wanted state is in the old layout: where the replica holds nothing else, or where what Litestream 0.3
/// wrote is newer than what was written since.
pub async fn find(
    destination: &Destination,
    store: &Patient,
    target: Target,
) -> Result<Option<Old>, super::Error> {
    let Some(keys) = destination.keys() else {
        return Ok(None);
    };
    let objects = listing(&keys, store).await?;
    if objects.is_empty() {
        return Ok(None);
    }
    let newer = newest(store, target).await?;
    let until = match target {
        Target::Latest => None,
        Target::Time(time) => Some(time),
        Target::Txid(_) if newer.is_some() => return Ok(None),
        Target::Txid(_) => return Err(Error::NoTxids.into()),
    };
    match (Plan::new(objects, until), newer) {
        (Ok(Some(plan)), newer) if newer.is_none_or(|newer| plan.time() > newer) => {
            Ok(Some(Old { keys, plan }))
        }
        (Err(error), None) => Err(error.into()),
        _ => Ok(None),
    }
}

/// When what is there of the old layout was written, each piece of it.
pub async fn times(destination: &Destination, store: &Patient) -> Result<Vec<Timestamp>, super::Error> {
    let Some(keys) = destination.keys() else {
        return Ok(Vec::new());
    };
    let objects = listing(&keys, store).await?;
    Ok(objects.iter().map(|object| object.time).collect())
}

/// All that is of the old layout.
async fn listing(keys: &Keys, store: &Patient) -> Result<Vec<Object>, super::Error> {
    let objects = store.again(async || keys.list(name::GENERATIONS).await).await;
    let mut objects = objects.map_err(crate::restore::Error::from)?;
    objects.retain(|object| name::parse(&object.key).is_some());
    Ok(objects)
}

/// When the wanted state was written, by a program that writes segments; `None` where there are none.
async fn newest(store: &Patient, target: Target) -> Result<Option<Timestamp>, super::Error> {
    // Numbers are of segments only: what is wrong with one is told by who restores it.
    let target_of_times = match target {
        Target::Txid(_) => Target::Latest,
        target => target,
    };
    match plan_without(store, target_of_times, Txid::ZERO, &Damage::default()).await {
        Ok(plan) => match plan.segments.last() {
            Some(&segment) => Ok(Some(time_of(store, segment).await?.unwrap_or_default())),
            None => Ok(None),
        },
        Err(crate::restore::Error::Plan(PlanError::Empty | PlanError::TooEarly)) => Ok(None),
        // There are segments: whoever restores them tells what is wrong, rather than give an older state.
        Err(crate::restore::Error::Plan(_)) => Ok(Some(Timestamp(i64::MAX))),
        Err(error) if error.segment().is_some() => Ok(Some(Timestamp(i64::MAX))),
        Err(error) => Err(error.into()),
    }
}

impl Old {
    /// When the last of the state was written.
    pub fn time(&self) -> Timestamp {
        self.plan.time()
    }

    /// What would be read.
    pub fn preview(&self) -> Summary {
        let last = self.plan.wal.last();
        Summary {
            layout: "litestream-0.3",
            generation: self.plan.generation.clone(),
            index: last.map_or(self.plan.index, |last| last.index),
            timestamp: self.time(),
            files: self.plan.wal.len().saturating_add(1),
            fetched: self.plan.size(),
            bytes: None,
            seconds: 0.0,
        }
    }

    /// Restores. Whenever it fails, or its future is dropped, nothing is left behind.
    pub async fn restore(
        &self,
        store: &Patient,
        options: &Options,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Summary, super::Error> {
        let start = Instant::now();
        options.check()?;
        let near = new_file::folder_of(&options.output);
        let output = options.start(0)?;
        let database = output
            .file()
            .try_clone()
            .map_err(|error| options.failure(error))?;
        let mut fetched = self.plan.snapshot.size;
        let packed = self.fetch(store, &self.plan.snapshot, near).await?;
        let page_size = blocking(&self.plan.snapshot.key, move || {
            unpack::unpack(packed, &database)?;
            page_size(&database)
        })
        .await?;
        progress(fetched, self.plan.size());
        for segments in self.plan.wal.chunk_by(|a, b| a.index == b.index) {
            let wal = self.gather(store, segments, options).await?;
            let database = output
                .file()
                .try_clone()
                .map_err(|error| options.failure(error))?;
            let key = segments.last().map_or("", |segment| segment.object.key.as_str());
            let applied = blocking(key, move || wal::apply(&wal, &database, page_size));
            applied.await?;
            let sizes = segments.iter().map(|segment| segment.object.size);
            fetched = sizes.fold(fetched, u64::saturating_add);
            progress(fetched, self.plan.size());
        }
        // Nothing else tells whether all pages are of one state.
        let check = match options.integrity {
            IntegrityCheck::None => IntegrityCheck::Quick,
            check => check,
        };
        let temporary = output.temporary_path().to_owned();
        super::blocking(move || integrity::check(&temporary, check)).await?;
        let metadata = output.file().metadata();
        let bytes = metadata.map_err(|error| options.failure(error))?.len();
        options.publish(output).await?;
        Ok(Summary {
            bytes: Some(bytes),
            seconds: start.elapsed().as_secs_f64(),
            ..self.preview()
        })
    }

    /// The bytes of one WAL.
    async fn gather(
        &self,
        store: &Patient,
        segments: &[Segment],
        options: &Options,
    ) -> Result<File, super::Error> {
        let near = new_file::folder_of(&options.output);
        let wal = tempfile::tempfile_in(near).map_err(|error| options.failure(error))?;
        let mut len = 0;
        for segment in segments {
            if segment.offset != len {
                return Err(self.plan.gap(segment.index, len, &segment.object.key).into());
            }
            let packed = self.fetch(store, &segment.object, near).await?;
            let file = wal.try_clone().map_err(|error| options.failure(error))?;
            let added = blocking(&segment.object.key, move || unpack::unpack(packed, &file)).await?;
            len = len.saturating_add(added);
        }
        Ok(wal)
    }

    async fn fetch(&self, store: &Patient, object: &Object, near: &Path) -> Result<File, super::Error> {
        let fetched = self.keys.fetch(&object.key, object.size, store, near).await;
        Ok(fetched.map_err(crate::restore::Error::from)?)
    }
}

/// The size that a database file names.
fn page_size(database: &File) -> io::Result<PageSize> {
    let mut header = [0; 18];
    database.read_exact_at(&mut header, 0)?;
    let no_database = || io::Error::new(io::ErrorKind::InvalidData, "it holds no SQLite database");
    let [magic @ .., high, low] = header;
    if &magic != b"SQLite format 3\0" {
        return Err(no_database());
    }
    let size = match u32::from(u16::from_be_bytes([high, low])) {
        1 => 65_536,
        size => size,
    };
    PageSize::new(size).map_err(|_| no_database())
}

/// Works beside the event loop on what a file holds; the disk's failures are not the file's.
async fn blocking<T: Send + 'static>(
    key: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, super::Error> {
    let done = tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
        .flatten();
    done.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::Other => Error::Damaged {
            key: key.to_owned(),
            why: error.to_string(),
        }
        .into(),
        _ => super::Error::Broken(error.to_string()),
    })
}
