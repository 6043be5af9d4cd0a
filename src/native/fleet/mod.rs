//! Many databases in one process, on one thread: each followed by an engine of its own, whatever happens to the others.
//!
//! ```text
//!  folders ──entries come and go──▶ Fleet ──starts, lets go──▶ Member ──engine──▶ its replicas
//!  control socket ──sync──────────────┘                          └─ fails: again after a while, the others run on
//! ```
//!
//! An idle fleet waits for the system to tell it of writes, and for nothing else.

pub mod control;
mod descriptors;
mod drill;
mod member;
mod restore;
mod scan;

pub use restore::restore_missing;
pub use scan::{Found, look};

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use self::member::Member;
use self::scan::Scanner;
use super::config::{Database, Folder};
use super::replicate::{self, Environment, SyncRequest};
use super::status::{DatabaseStatus, Databases};

/// First copies that are made at a time: each takes memory, requests and the disk.
const STARTS: usize = 16;

/// What is asked of a fleet.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// Ship what is committed now, then end.
    pub once: bool,
    /// Go on where someone else has moved a replica.
    pub takeover: bool,
    /// A database that fails ends: its failure is the fleet's. Otherwise it is tried again.
    pub strict: bool,
    /// How long a shutdown waits for the replicas.
    pub shutdown_timeout: Duration,
}

/// A database that could not be followed to the end.
#[derive(Debug)]
pub struct Lost {
    /// The database.
    pub database: PathBuf,
    /// Why.
    pub error: replicate::Error,
}

/// The databases of a process. A clone is the same fleet.
#[derive(Clone, Debug)]
pub struct Fleet(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    environment: Environment,
    wishes: Wishes,
    statuses: Databases,
    members: RefCell<BTreeMap<PathBuf, Rc<Member>>>,
    /// Where each of them goes: two that share a place would destroy each other's replica.
    taken: RefCell<BTreeMap<String, PathBuf>>,
    starts: Semaphore,
}

type Tasks = JoinSet<(PathBuf, Result<(), replicate::Error>)>;

impl Fleet {
    /// Without databases yet.
    pub fn new(environment: Environment, wishes: Wishes) -> Self {
        Self(Rc::new(Inner {
            environment,
            wishes,
            statuses: Databases::default(),
            members: RefCell::default(),
            taken: RefCell::default(),
            starts: Semaphore::new(STARTS),
        }))
    }

    /// How its databases stand; they come and go.
    pub fn databases(&self) -> Databases {
        Rc::clone(&self.0.statuses)
    }

    /// Follows until `shutdown`, then ships what is committed. Returns those that could not be followed: all that
    /// failed where that ends them, otherwise those that fail at the end.
    pub async fn run(
        &self,
        databases: Vec<Database>,
        folders: Vec<Folder>,
        shutdown: impl Future<Output = ()>,
    ) -> Vec<Lost> {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut tasks = Tasks::new();
        let mut lost = Vec::new();
        let mut scanner = Scanner::new(&self.0.environment.hub, folders);
        for database in databases {
            self.add(database, false, &mut tasks);
        }
        self.rescan(&mut scanner, &mut tasks);
        loop {
            if tasks.is_empty() && !scanner.watches() {
                break;
            }
            tokio::select! {
                () = &mut shutdown => break,
                () = scanner.changed(), if scanner.watches() => self.rescan(&mut scanner, &mut tasks),
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    self.ended(ended, &mut lost);
                    if scanner.watches() {
                        // What was let go may be back.
                        self.rescan(&mut scanner, &mut tasks);
                    }
                }
            }
        }
        if scanner.watches() {
            // What an application has made in its last moment.
            self.rescan(&mut scanner, &mut tasks);
        }
        for member in self.0.members.borrow().values() {
            member.stop();
        }
        while let Some(ended) = tasks.join_next().await {
            self.ended(ended, &mut lost);
        }
        lost
    }

    /// The way to ask the engine of a database; `None` where it is not followed now.
    fn requests(&self, database: &Path) -> Option<mpsc::Sender<SyncRequest>> {
        let members = self.0.members.borrow();
        members.get(database)?.requests()
    }

    fn status(&self, database: &Path) -> Option<Rc<DatabaseStatus>> {
        let members = self.0.members.borrow();
        Some(Rc::clone(members.get(database)?.status()))
    }

    fn add(&self, database: Database, is_scanned: bool, tasks: &mut Tasks) {
        let inner = &self.0;
        let path = database.path.clone();
        if let Some(why) = self.take_places(&database) {
            tracing::error!(db = %path.display(), "not replicated: {why}");
            return;
        }
        let member = Rc::new(Member::new(database, is_scanned));
        inner.statuses.borrow_mut().push(Rc::clone(member.status()));
        inner
            .members
            .borrow_mut()
            .insert(path.clone(), Rc::clone(&member));
        let inner = Rc::clone(inner);
        tasks.spawn_local(async move {
            let result = member
                .follow(&inner.environment, &inner.wishes, &inner.starts)
                .await;
            (path, result)
        });
    }

    /// Makes the places of its replicas its own; a sentence if one is somebody's already.
    fn take_places(&self, database: &Database) -> Option<String> {
        let mut taken = self.0.taken.borrow_mut();
        let places: Vec<String> = database
            .replicas
            .iter()
            .map(|replica| replica.destination.to_string())
            .collect();
        for place in &places {
            if let Some(other) = taken.get(place) {
                return Some(format!(
                    "its replica {place} is that of {} already",
                    other.display()
                ));
            }
        }
        taken.extend(places.into_iter().map(|place| (place, database.path.clone())));
        None
    }

    /// Starts what is new in the folders, and lets go of what is not there any more.
    fn rescan(&self, scanner: &mut Scanner, tasks: &mut Tasks) {
        let found = {
            let members = self.0.members.borrow();
            scanner.scan(|path| members.contains_key(path))
        };
        let members: Vec<Rc<Member>> = self.0.members.borrow().values().cloned().collect();
        for member in members {
            if member.is_scanned() && !found.contains_key(member.path()) && scanner.watches() {
                member.stop();
            }
        }
        for (path, database) in found {
            if self.0.members.borrow().contains_key(&path) {
                continue;
            }
            match database {
                Ok(database) => self.add(database, true, tasks),
                Err(why) => tracing::error!(db = %path.display(), "not replicated: {why}"),
            }
        }
        // Before they open anything: they have not run yet.
        descriptors::provide(self.0.members.borrow().len());
    }

    fn ended(
        &self,
        ended: Result<(PathBuf, Result<(), replicate::Error>), tokio::task::JoinError>,
        lost: &mut Vec<Lost>,
    ) {
        let (path, result) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!("following a database broke off: {error}");
                return;
            }
        };
        self.0.members.borrow_mut().remove(&path);
        self.0.taken.borrow_mut().retain(|_, owner| *owner != path);
        self.0.statuses.borrow_mut().retain(|status| status.path != path);
        if let Err(error) = result {
            lost.push(Lost {
                database: path,
                error,
            });
        }
    }
}
