//! One database of a fleet: followed, and followed again after it failed.

use std::cell::{OnceCell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::{Wishes, drill};
use crate::native::config::Database;
use crate::native::replicate::{self, Environment, Error, Options, Replica, ReplicaOptions, SyncRequest};
use crate::native::sqlite;
use crate::native::status::{DatabaseStatus, ReplicaStatus};
use crate::native::store::{Destination, Impatient};
use crate::store::Store;

/// The first wait after a failure; it doubles up to [`LONGEST_WAIT`], and starts over after so long without one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A start that takes longer does not hold up those that wait for their turn: its destination may be away.
const LONGEST_START: Duration = Duration::from_secs(2);
const START_LOOK: Duration = Duration::from_millis(20);

/// How a database came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Arguments or the configuration name it.
    Named,
    /// It is in a folder: it goes when the file goes.
    Folder,
    /// Somebody asked for it while the fleet ran.
    Registered,
}

/// A database, and what is known of it.
pub(super) struct Member {
    database: Database,
    origin: Origin,
    status: Rc<DatabaseStatus>,
    /// Its destinations, once they are open: what was asked of them is counted over all restarts.
    stores: OnceCell<Vec<Rc<dyn Store>>>,
    requests: RefCell<Option<mpsc::Sender<SyncRequest>>>,
    /// Since when it is to end.
    stop: watch::Sender<Option<Instant>>,
}

impl Member {
    pub(super) fn new(database: Database, origin: Origin) -> Self {
        let replicas = database.replicas.iter().map(|replica| {
            let destination = &replica.destination;
            ReplicaStatus::new(destination.to_string(), destination.kind())
        });
        Self {
            status: DatabaseStatus::new(database.path.clone(), replicas.collect()),
            database,
            origin,
            stores: OnceCell::new(),
            requests: RefCell::default(),
            stop: watch::Sender::new(None),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.database.path
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    pub(super) fn is_scanned(&self) -> bool {
        self.origin == Origin::Folder
    }

    pub(super) fn status(&self) -> &Rc<DatabaseStatus> {
        &self.status
    }

    /// The way to ask its engine, while it runs.
    pub(super) fn requests(&self) -> Option<mpsc::Sender<SyncRequest>> {
        self.requests.borrow().clone()
    }

    /// Ships what is committed, and ends.
    pub(super) fn stop(&self) {
        self.stop
            .send_if_modified(|stop| stop.is_none() && stop.replace(Instant::now()).is_none());
    }

    async fn stopped(&self) {
        // The sender lives as long as this does.
        let _ = self.stop.subscribe().wait_for(Option::is_some).await;
    }

    /// Follows until it is stopped, or has failed where that is the end of it.
    pub(super) async fn follow(
        &self,
        environment: &Environment,
        wishes: &Wishes,
        starts: &Semaphore,
    ) -> Result<(), Error> {
        let db = self.path().display();
        let mut wait = FIRST_WAIT;
        let mut was_late = false;
        loop {
            if !wishes.strict && !self.there(environment).await {
                return Ok(());
            }
            let began = Instant::now();
            let Err(error) = self.follow_once(environment, wishes, starts).await else {
                return Ok(());
            };
            // The last request of a process that was killed may land after we have asked where the replica stands.
            let is_late = matches!(&error, Error::Moved { .. }) && !was_late && self.has_shipped_nothing();
            if is_late && self.stop.borrow().is_none() {
                tracing::warn!(%db, "{error}; asking once more: nothing has been shipped since the start");
                was_late = true;
                continue;
            }
            // What was lost of a WAL is found by comparing pages, which is how it starts.
            let moved = matches!(&error, Error::Database(error) if error.class() == sqlite::Class::Moved);
            if (wishes.strict || wishes.once) && !moved || self.stop.borrow().is_some() {
                // What was deleted on purpose is not a failure of ours.
                let gone = self.is_scanned() && !self.path().exists();
                return if gone { Ok(()) } else { Err(error) };
            }
            if began.elapsed() > LONGEST_WAIT {
                wait = FIRST_WAIT;
            }
            self.status.failure.replace(Some(error.to_string()));
            match self.remedy(&error) {
                Remedy::None => {
                    tracing::error!(%db, "given up until walferry is started again: {error}");
                    self.stopped().await;
                    return Err(error);
                }
                Remedy::NewFile => tracing::warn!(%db, "{error}"),
                Remedy::Write | Remedy::Time => {
                    tracing::error!(%db, retry_in = ?wait, "{error}");
                    tokio::select! {
                        () = self.until(self.remedy(&error), wait, environment) => {}
                        () = self.stopped() => return Err(error),
                    }
                    wait = wait.saturating_mul(2).min(LONGEST_WAIT);
                }
            }
        }
    }

    fn has_shipped_nothing(&self) -> bool {
        let mut replicas = self.status.replicas.iter();
        replicas.all(|replica| replica.segments.get() == 0)
    }

    async fn follow_once(
        &self,
        environment: &Environment,
        wishes: &Wishes,
        starts: &Semaphore,
    ) -> Result<(), Error> {
        let too_late = async {
            self.stopped().await;
            sleep(wishes.shutdown_timeout).await;
        };
        let turn = tokio::select! {
            turn = starts.acquire() => turn,
            () = too_late => return Err(Error::Unshipped("its turn to start did not come in time".to_owned())),
        };
        let stopping = self.stop.borrow().map_or(Duration::ZERO, |since| since.elapsed());
        let stores = self.stores()?;
        let mut replicas = Vec::new();
        let described = self.database.replicas.iter().zip(&self.status.replicas);
        for ((replica, status), store) in described.zip(stores) {
            let mut store = Rc::clone(store);
            if wishes.once {
                store = Rc::new(Impatient::new(store));
            }
            let is_worker = matches!(replica.destination, Destination::Worker(_));
            replicas.push(Replica {
                store,
                options: ReplicaOptions {
                    sync_interval: replica.sync_interval,
                    upkeep: (!is_worker).then(|| replica.policy.clone()),
                    self_kept: is_worker,
                    ..ReplicaOptions::new(replica.codec)
                },
                status: Rc::clone(status),
            });
        }
        let (sender, receiver) = mpsc::channel(8);
        self.requests.replace(Some(sender));
        let usual = Options::new(self.path().to_owned());
        let treatment = &self.database.treatment;
        let options = Options {
            state: treatment.state_of(self.path()),
            set_wal: treatment.set_wal,
            checkpoint_frames: treatment.checkpoint_frames.unwrap_or(usual.checkpoint_frames),
            wal_limit: treatment.wal_limit.unwrap_or(usual.wal_limit),
            once: wishes.once,
            takeover: wishes.takeover,
            shutdown_timeout: wishes.shutdown_timeout.saturating_sub(stopping),
            requests: Some(receiver),
            ..usual
        };
        let status = Rc::clone(&self.status);
        let mut engine = std::pin::pin!(replicate::run(
            options,
            replicas,
            status,
            environment,
            self.stopped()
        ));
        let started = async {
            // The turn is given back when the first copy is there.
            let _ = timeout(LONGEST_START, self.first_copies()).await;
            drop(turn);
            self.status.failure.replace(None);
            drill::run(&self.database.replicas, stores, &self.status, environment).await
        };
        let result = tokio::select! {
            result = &mut engine => result,
            never = started => match never {},
        };
        self.requests.replace(None);
        result
    }

    fn stores(&self) -> Result<&[Rc<dyn Store>], Error> {
        if let Some(stores) = self.stores.get() {
            return Ok(stores);
        }
        let mut stores: Vec<Rc<dyn Store>> = Vec::new();
        for (replica, status) in self.database.replicas.iter().zip(&self.status.replicas) {
            let store = replica.destination.open(&replica.access)?;
            let _ = status.meter.set(Arc::clone(store.meter()));
            stores.push(store);
        }
        Ok(self.stores.get_or_init(|| stores))
    }

    /// Every replica has answered, one way or the other. Looked at for a moment, while starting.
    async fn first_copies(&self) {
        let answered = |status: &Rc<ReplicaStatus>| {
            status.last_success.get().is_some() || status.failure.borrow().is_some()
        };
        while !self.status.replicas.iter().all(answered) {
            sleep(START_LOOK).await;
        }
    }

    /// Waits until there is something to follow; false if it was stopped before. What an application has made in its
    /// last moment is something.
    async fn there(&self, environment: &Environment) -> bool {
        let mut told = false;
        loop {
            let is_there = self.path().metadata().map(|metadata| metadata.len() > 0);
            let db = self.path().display();
            match is_there {
                Ok(true) => return true,
                // An application is about to fill it.
                Ok(false) => {}
                Err(_) if told => {}
                Err(error) => {
                    told = true;
                    self.status
                        .failure
                        .replace(Some(format!("the database is not there yet: {error}")));
                    tracing::warn!(%db, "it is not there yet, and followed as soon as it is: {error}");
                }
            }
            tokio::select! {
                () = self.until(Remedy::Write, Duration::ZERO, environment) => {}
                () = self.stopped() => return self.path().metadata().is_ok_and(|metadata| metadata.len() > 0),
            }
        }
    }

    /// What may make it better.
    fn remedy(&self, error: &Error) -> Remedy {
        match error {
            Error::Replaced(_) => Remedy::NewFile,
            // Whoever it is may end.
            Error::InUse(_) => Remedy::Time,
            Error::Database(error) if error.class() == sqlite::Class::Input => Remedy::Write,
            error if error.may_pass() => Remedy::Time,
            _ => Remedy::None,
        }
    }

    async fn until(&self, remedy: Remedy, wait: Duration, environment: &Environment) {
        if remedy == Remedy::Write {
            let (path, hub) = (self.path(), &environment.hub);
            if path.exists() {
                // The file alone: it may have no WAL.
                let mut watcher = hub.watch(path, path);
                watcher.wait().await;
            } else {
                let mut folders = hub.watch_folders();
                folders.add(path.parent().unwrap_or(path));
                while !path.exists() {
                    folders.changed().await;
                }
            }
        }
        sleep(wait).await;
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// What may make a failure better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// Nothing that happens here.
    None,
    /// There is another file already.
    NewFile,
    /// Somebody writes to the database, or makes it.
    Write,
    /// The destination answers again, somebody else is done.
    Time,
}
