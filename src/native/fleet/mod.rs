//! Many databases in one process, on one thread: each followed by an engine of its own, whatever happens to the others.
//!
//! ```text
//!  folders ──entries come and go──▶ Fleet ──starts, lets go──▶ Member ──engine──▶ its replicas
//!  control socket ──sync, orders──────┘                          └─ fails: again after a while, the others run on
//! ```
//!
//! An idle fleet waits for the system to tell it of writes, and for nothing else.

pub mod control;
mod descriptors;
mod drill;
mod member;
mod orders;
mod restore;
mod scan;

pub use restore::restore_missing;
pub use scan::{Found, look};

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use self::member::{Member, Origin};
use self::orders::Orders;
use self::scan::Scanner;
use super::config::{Database, Folder};
use super::replicate::{self, Environment, SyncRequest};
use super::status::{DatabaseStatus, Databases};
use super::store::Destination;

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
    orders: RefCell<Orders>,
    /// Somebody may ask for databases, also where there are none.
    takes_orders: Cell<bool>,
    /// The folders whose databases are followed, and where those go.
    folders: RefCell<Vec<(PathBuf, Vec<Destination>)>>,
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
            orders: RefCell::default(),
            takes_orders: Cell::default(),
            folders: RefCell::default(),
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
        let places = folders.iter().map(|folder| {
            let replicas = folder.replicas().iter();
            (
                folder.path.clone(),
                replicas.map(|replica| replica.destination.clone()).collect(),
            )
        });
        self.0.folders.replace(places.collect());
        let mut scanner = Scanner::new(&self.0.environment.hub, folders);
        let orders = self.0.orders.borrow_mut().receiver();
        // A database that is registered may come whenever it likes.
        let mut orders = orders.filter(|_| self.0.takes_orders.get());
        for database in databases {
            self.add(database, Origin::Named, &mut tasks);
        }
        self.rescan(&mut scanner, &mut tasks);
        loop {
            let is_lost = self.0.wishes.strict && !lost.is_empty();
            let waits = scanner.watches() || orders.is_some() && !is_lost;
            if tasks.is_empty() && !waits {
                break;
            }
            tokio::select! {
                () = &mut shutdown => break,
                () = scanner.changed(), if scanner.watches() => self.rescan(&mut scanner, &mut tasks),
                Some(order) = next(&mut orders) => self.carry_out(order, &mut tasks),
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    self.ended(ended, &mut lost);
                    if scanner.watches() {
                        // What was let go may be back.
                        self.rescan(&mut scanner, &mut tasks);
                    }
                }
            }
        }
        // Whoever asks from now on is told that this is the end.
        drop(orders);
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

    /// Runs on without databases: more may be asked for.
    fn take_orders(&self) {
        self.0.takes_orders.set(!self.0.wishes.once);
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

    fn add(&self, database: Database, origin: Origin, tasks: &mut Tasks) {
        let inner = &self.0;
        let path = database.path.clone();
        if let Some(why) = self.take_places(&database) {
            tracing::error!(db = %path.display(), "not replicated: {why}");
            return;
        }
        let member = Rc::new(Member::new(database, origin));
        inner.statuses.borrow_mut().push(Rc::clone(member.status()));
        inner
            .members
            .borrow_mut()
            .insert(path.clone(), Rc::clone(&member));
        let inner = Rc::clone(inner);
        let mut wishes = inner.wishes.clone();
        // One that comes later does not end the others.
        wishes.strict &= origin != Origin::Registered;
        tasks.spawn_local(async move {
            let result = member.follow(&inner.environment, &wishes, &inner.starts).await;
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
            if self.0.members.borrow().contains_key(&path) || self.0.orders.borrow().keeps_out(&path) {
                continue;
            }
            match database {
                Ok(database) => self.add(database, Origin::Folder, tasks),
                Err(why) => tracing::error!(db = %path.display(), "not replicated: {why}"),
            }
        }
        self.provide_descriptors();
    }

    /// Before those that were added open anything: they have not run yet.
    fn provide_descriptors(&self) {
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
        let member = self.0.members.borrow_mut().remove(&path);
        self.0.taken.borrow_mut().retain(|_, owner| *owner != path);
        self.0.statuses.borrow_mut().retain(|status| status.path != path);
        let failure = result.as_ref().err().map(ToString::to_string);
        if member.is_some_and(|member| self.has_left(&member, failure)) {
            return;
        }
        if let Err(error) = result {
            lost.push(Lost {
                database: path,
                error,
            });
        }
    }
}

/// Waits for ever where none can come.
async fn next(orders: &mut Option<mpsc::Receiver<orders::Order>>) -> Option<orders::Order> {
    match orders {
        Some(orders) => orders.recv().await,
        None => std::future::pending().await,
    }
}
