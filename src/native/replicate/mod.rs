//! Follows one live database and ships what it commits to its replicas.
//!
//! ```text
//! -wal ──notification──▶ Engine ──cut──▶ Shipper: queue of segments ──upload──▶ Store
//!                          │  ▲            │  ▲                                   │
//!              Source (pin, │  └── held ────┘  └──────────── confirmed ◀───────────┘
//!              checkpoints)─┘                  page-sum table and marks move
//! ```
//!
//! The WAL is the queue: frames stay in it, pinned, until every replica has confirmed them. One segment a replica is on
//! its way at a time; what is committed meanwhile goes into the next. When a replica is slow and the WAL must go on,
//! what it lacks is cut into segments that wait here, and when they are too many, remembered as a set of pages.

mod crc_list;
mod cut;
mod engine;
mod error;
mod frozen;
mod owner;
mod pace;
mod page_set;
mod page_sums;
mod prior;
mod reset;
mod resume;
mod saved_pages;
mod shipper;
mod snapshot;
mod state;
mod stop;
mod upload;
mod wishes;

pub use error::Error;
pub use owner::other_owner;
pub use reset::{local_state, reset};

use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::status::{DatabaseStatus, ReplicaStatus};
use super::upkeep::Policy;
use super::watch::Hub;
use crate::ltx::Codec;
use crate::replica::Position;
use crate::store::Store;
use engine::Engine;

/// How a database is followed.
#[derive(Debug)]
pub struct Options {
    /// The database file.
    pub database: PathBuf,
    /// The folder of the local state; `.<database>-walferry` next to the database if none is given.
    pub state: Option<PathBuf>,
    /// Switch the database to WAL mode if it is not.
    pub set_wal: bool,
    /// From so many frames on, the WAL is copied back into the database whenever no one waits for it.
    pub checkpoint_frames: u32,
    /// The WAL is to stay below so many bytes: from a quarter of them on, the write lock is taken for the moment that it
    /// needs to start again.
    pub wal_limit: u64,
    /// So many segments may wait here for a replica that is slow or away; beyond them only which pages changed is
    /// remembered.
    pub queue_segments: usize,
    /// And so many bytes.
    pub queue_bytes: u64,
    /// So many bytes of pages are read at a time before other databases have their turn.
    pub slice_bytes: usize,
    /// Ship what is committed now, then end.
    pub once: bool,
    /// Go on where someone else has moved a replica, or owns it.
    pub takeover: bool,
    /// How long a shutdown waits for the replicas to confirm what is committed.
    pub shutdown_timeout: Duration,
    /// Wishes that everything be shipped now.
    pub requests: Option<mpsc::Receiver<SyncRequest>>,
}

/// The wish that all that is committed now be shipped now, and to hear when every replica has confirmed it. If it
/// cannot be done, the sender is dropped.
#[derive(Debug)]
pub struct SyncRequest {
    /// Where to tell.
    pub reply: oneshot::Sender<Vec<Synced>>,
}

/// A replica that has everything that was committed when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The replica, as [`ReplicaStatus::name`] has it.
    pub replica: String,
    /// Where it stands.
    pub position: Position,
}

/// One destination of a database.
#[derive(Clone)]
pub struct Replica {
    /// Where its objects live.
    pub store: Rc<dyn Store>,
    /// How it is filled.
    pub options: ReplicaOptions,
    /// What is told about it.
    pub status: Rc<ReplicaStatus>,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("name", &self.status.name)
            .finish_non_exhaustive()
    }
}

/// How a replica is filled.
#[derive(Clone, Debug)]
pub struct ReplicaOptions {
    /// How pages are packed.
    pub codec: Codec,
    /// Under load, one segment in this time; the first write after a pause ships at once.
    pub sync_interval: Duration,
    /// What is merged, kept and deleted; `None` leaves all that to others.
    pub upkeep: Option<Policy>,
    /// The destination does its own housekeeping and takes nothing but raw segments, as a Worker does.
    pub self_kept: bool,
}

impl ReplicaOptions {
    /// The defaults, for a codec.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            sync_interval: Duration::from_secs(1),
            upkeep: None,
            self_kept: false,
        }
    }
}

/// What all databases of a process share.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Wakes who follows a database.
    pub hub: Hub,
    /// The time of day.
    pub clock: Clock,
}

impl Environment {
    /// The machine's. Within a runtime.
    pub fn system() -> Self {
        Self {
            hub: Hub::new(),
            clock: Clock::system(),
        }
    }
}

impl Options {
    /// The defaults, for a database.
    pub fn new(database: PathBuf) -> Self {
        Self {
            database,
            state: None,
            set_wal: false,
            checkpoint_frames: 1000,
            wal_limit: 64 * 1024 * 1024,
            queue_segments: 32,
            queue_bytes: 256 * 1024 * 1024,
            slice_bytes: 1024 * 1024,
            once: false,
            takeover: false,
            shutdown_timeout: Duration::from_secs(30),
            requests: None,
        }
    }
}

/// Follows until `shutdown`, ships what is committed by then, and returns.
pub async fn run(
    options: Options,
    replicas: Vec<Replica>,
    status: Rc<DatabaseStatus>,
    environment: &Environment,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut shutdown = std::pin::pin!(shutdown);
    let engine = Engine::open(options, replicas, status, environment)?;
    engine.run(&mut shutdown).await
}
