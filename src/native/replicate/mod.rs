//! Follows one live database and ships what it commits to one replica.
//!
//! ```text
//! -wal ──notification──▶ Engine ──cut──▶ Staged segment ──upload──▶ Store
//!                          │  ▲                                       │
//!              Source (pin, │  └───────────── confirmed ◀─────────────┘
//!              checkpoints)─┘      page-sum table and marks move
//! ```
//!
//! The WAL is the queue: frames stay in it, pinned, until the replica has confirmed them. One segment is on its
//! way at a time; what is committed meanwhile goes into the next.

mod cut;
mod engine;
mod error;
mod page_sums;
mod resume;
mod staged;
mod state;
mod stop;
mod upload;

pub use error::Error;

use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::ltx::Codec;
use crate::store::Store;
use engine::Engine;

/// How a database is followed.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database file.
    pub database: PathBuf,
    /// How pages are packed.
    pub codec: Codec,
    /// Switch the database to WAL mode if it is not.
    pub set_wal: bool,
    /// Under load, one segment in this time; the first write after a pause ships at once.
    pub sync_interval: Duration,
    /// From so many frames on, the WAL is copied back into the database whenever no one waits for it.
    pub checkpoint_frames: u32,
    /// From so many bytes of WAL on, the write lock is taken for the moment that it needs to start again.
    pub wal_limit: u64,
    /// Ship what is committed now, then end.
    pub once: bool,
    /// How long a shutdown waits for the replica to confirm what is committed.
    pub shutdown_timeout: Duration,
}

impl Options {
    /// The defaults, for a database.
    pub fn new(database: PathBuf, codec: Codec) -> Self {
        Self {
            database,
            codec,
            set_wal: false,
            sync_interval: Duration::from_secs(1),
            checkpoint_frames: 1000,
            wal_limit: 64 * 1024 * 1024,
            once: false,
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

/// Follows until `shutdown`, ships what is committed by then, and returns.
pub async fn run(
    options: Options,
    store: Rc<dyn Store>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut engine = Engine::open(options, store)?;
    engine.run(&mut shutdown).await
}
