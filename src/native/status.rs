//! Where replication stands, as it stands: written by the engine, read by metrics, the control socket and health checks.
//!
//! All on one thread, so plain cells do; reading costs nothing and wakes no one.

use std::cell::{Cell, OnceCell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::ltx::Timestamp;
use crate::native::store::Meter;
use crate::replica::Position;

const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// The databases that this process follows; they come and go.
pub type Databases = Rc<RefCell<Vec<Rc<DatabaseStatus>>>>;

/// One database that is followed.
#[derive(Debug)]
pub struct DatabaseStatus {
    /// The database file.
    pub path: PathBuf,
    /// Size of the database in bytes.
    pub database_bytes: Cell<u64>,
    /// Size of its WAL up to the newest commit, in bytes.
    pub wal_bytes: Cell<u64>,
    /// Checkpoints so far.
    pub checkpoints: Cell<u64>,
    /// Time spent with the write lock held, in microseconds, in all.
    pub locked_micros: Cell<u64>,
    /// The longest single time with the write lock held, in microseconds.
    pub longest_lock_micros: Cell<u64>,
    /// Why following it has failed, while it has.
    pub failure: RefCell<Option<String>>,
    /// Its replicas.
    pub replicas: Vec<Rc<ReplicaStatus>>,
}

/// One replica of a database.
#[derive(Debug)]
pub struct ReplicaStatus {
    /// Its URL, without secrets.
    pub name: String,
    /// `file`, `s3`, `gs`, `abs` or `worker`.
    pub kind: &'static str,
    /// What the replica has confirmed.
    pub confirmed: Cell<Option<Position>>,
    /// When it last confirmed something, or was found to have everything.
    pub last_success: Cell<Option<Timestamp>>,
    /// Since when something is committed that it has not confirmed; `None` while it has everything. The lag is from
    /// then to now.
    pub behind_since: Cell<Option<Timestamp>>,
    /// Bytes of segments that wait here to be confirmed.
    pub waiting_bytes: Cell<u64>,
    /// Segments that it has confirmed since the start.
    pub segments: Cell<u64>,
    /// Attempts that failed since the start.
    pub errors: Cell<u64>,
    /// Failures of its upkeep since the start.
    pub upkeep_errors: Cell<u64>,
    /// What its upkeep waits for, or found damaged last, until it gets on.
    pub upkeep_failure: RefCell<Option<String>>,
    /// The last failure, while it lasts.
    pub failure: RefCell<Option<String>>,
    /// What was asked of its destination, once it is opened.
    pub meter: OnceCell<Arc<Meter>>,
    /// When its progress was last told.
    told: Cell<Option<Instant>>,
    /// Compactions since the start.
    pub compactions: Cell<u64>,
    /// Snapshots since the start.
    pub snapshots: Cell<u64>,
    /// How the last restore drill went.
    pub verified: RefCell<Option<Verified>>,
    /// When a drill last proved the replica.
    pub last_verified: Cell<Option<Timestamp>>,
}

/// How a restore drill (`walferry verify`) went.
#[derive(Clone, Debug)]
pub struct Verified {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took: about as long as a recovery takes.
    pub seconds: f64,
    /// What it found wrong.
    pub failure: Option<String>,
}

impl DatabaseStatus {
    /// Of a database that is about to be followed.
    pub fn new(path: PathBuf, replicas: Vec<Rc<ReplicaStatus>>) -> Rc<Self> {
        Rc::new(Self {
            path,
            database_bytes: Cell::default(),
            wal_bytes: Cell::default(),
            checkpoints: Cell::default(),
            locked_micros: Cell::default(),
            longest_lock_micros: Cell::default(),
            failure: RefCell::default(),
            replicas,
        })
    }
}

impl ReplicaStatus {
    /// How old the oldest commit is that it has not confirmed; zero while it has everything.
    pub fn lag(&self, now: Timestamp) -> Duration {
        let millis = self.behind_since.get().map(|since| now.0.saturating_sub(since.0));
        Duration::from_millis(
            millis
                .and_then(|millis| u64::try_from(millis).ok())
                .unwrap_or_default(),
        )
    }

    /// Whether its progress is to be told now: the first time, then once a minute at most. Else nobody could read it.
    pub fn tells_now(&self) -> bool {
        let is_due = self.told.get().is_none_or(|told| told.elapsed() >= BETWEEN_LINES);
        if is_due {
            self.told.set(Some(Instant::now()));
        }
        is_due
    }

    /// Records how a drill went.
    pub fn record_drill(&self, verified: Verified) {
        if verified.failure.is_none() {
            self.last_verified.set(Some(verified.at));
        }
        self.verified.replace(Some(verified));
    }

    /// Of a replica that nothing is known of yet.
    pub fn new(name: String, kind: &'static str) -> Rc<Self> {
        Rc::new(Self {
            name,
            kind,
            confirmed: Cell::default(),
            last_success: Cell::default(),
            behind_since: Cell::default(),
            waiting_bytes: Cell::default(),
            segments: Cell::default(),
            errors: Cell::default(),
            upkeep_errors: Cell::default(),
            upkeep_failure: RefCell::default(),
            failure: RefCell::default(),
            meter: OnceCell::default(),
            told: Cell::default(),
            compactions: Cell::default(),
            snapshots: Cell::default(),
            verified: RefCell::default(),
            last_verified: Cell::default(),
        })
    }
}
