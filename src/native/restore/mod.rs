//! Restores a replica into a database file.
//!
//! Fetching is the core's; decoding runs on threads beside the event loop. Pages go straight to their places in
//! a temporary file, which gets its name only when the result is proven and on disk.

mod error;
mod integrity;
mod options;
mod placing;
mod verify;

pub use error::Error;
pub use integrity::IntegrityCheck;
pub use options::Options;
pub use verify::{Drill, Point, Report, verify};

use std::cell::RefCell;
use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;

use crate::ltx::{DbSum, PageSize, Timestamp, Txid};
use crate::native::store::Patient;
use crate::replica::{PlanError, Position};
use crate::restore::{Chunk, Restore};
use placing::{Failure, Memory, place};

/// Decoding threads: more than these would wait for the disk.
const MAX_THREADS: usize = 8;

/// What was restored.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Its transaction.
    pub txid: Txid,
    /// The sum of all its pages.
    pub sum: DbSum,
    /// When it was the newest state, in Unix milliseconds.
    pub timestamp: Timestamp,
    /// Size of a page.
    pub page_size: PageSize,
    /// Size of the database in pages.
    pub pages: u32,
    /// Size of the database in bytes.
    pub bytes: u64,
    /// Bytes that were read from the store.
    pub fetched: u64,
    /// Requests to the store.
    pub requests: u64,
    /// How long it took.
    pub seconds: f64,
}

/// Restores. `progress` is told how many bytes of pages are fetched, and about how many there will be.
///
/// Whenever it fails, or its future is dropped, nothing is left behind.
pub async fn run(
    store: &Patient,
    options: &Options,
    mut progress: impl FnMut(u64, u64),
) -> Result<Summary, Error> {
    let start = Instant::now();
    options.check()?;
    let restore = Restore::prepare(store, options.target, Position::EMPTY).await?;
    let restore = restore.ok_or(crate::restore::Error::Plan(PlanError::Empty))?;
    let bytes = restore.page_size().file_size(restore.commit());
    let file = options.start(bytes)?;

    let threads = Threads::new(file.file(), restore.page_size()).map_err(|error| options.failure(error))?;
    let mut placed = restore
        .chunks()
        .map(async |chunk| {
            let chunk = chunk?;
            let fetched = chunk.fetched();
            Ok((threads.place(chunk).await?, fetched))
        })
        .buffer_unordered(threads.count());
    let (mut sum, mut fetched) = (DbSum::EMPTY, 0u64);
    while let Some((part, len)) = placed.try_next().await.map_err(|failure| match failure {
        Failure::Replica(error) => Error::Replica(error),
        Failure::Output(source) => options.failure(source),
    })? {
        sum = sum.join(part);
        fetched = fetched.saturating_add(len);
        progress(fetched, restore.bytes());
    }
    restore.prove(sum)?;
    let (temporary, integrity) = (file.temporary_path().to_owned(), options.integrity);
    blocking(move || integrity::check(&temporary, integrity)).await?;
    options.publish(file).await?;

    Ok(Summary {
        txid: restore.position().txid,
        sum,
        timestamp: restore.timestamp(),
        page_size: restore.page_size(),
        pages: restore.commit(),
        bytes,
        fetched: store.fetched(),
        requests: store.requests(),
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Runs what takes long beside the event loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::Broken(error.to_string())))
}

/// Where chunks are decoded: the runtime's threads for blocking work, as many at once as there are cores.
struct Threads {
    file: Arc<File>,
    page_size: PageSize,
    /// Memory of decodings that are done.
    spare: RefCell<Vec<Memory>>,
}

impl Threads {
    fn new(file: &File, page_size: PageSize) -> std::io::Result<Self> {
        Ok(Self {
            // Its own handle: a decoding that is under way when all is given up must not keep the file's name.
            file: Arc::new(file.try_clone()?),
            page_size,
            spare: RefCell::default(),
        })
    }

    fn count(&self) -> usize {
        std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MAX_THREADS)
    }

    async fn place(&self, chunk: Chunk) -> Result<DbSum, Failure> {
        let mut memory = self.spare.borrow_mut().pop().unwrap_or_default();
        let (file, page_size) = (Arc::clone(&self.file), self.page_size);
        let work = move || (place(&chunk, &file, page_size, &mut memory), memory);
        let (sum, memory) = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Failure::Output(std::io::Error::other(error)))?;
        self.spare.borrow_mut().push(memory);
        sum
    }
}
