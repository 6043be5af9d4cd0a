//! Databases that are taken up and let go while a fleet runs, because somebody asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::sync::{mpsc, oneshot};

use super::member::{Member, Origin};
use super::{Fleet, Tasks};
use crate::ltx::Txid;
use crate::native::config::Database;

/// How many may wait to be carried out.
const WAITING: usize = 16;

/// What is asked, and who wants to know.
#[derive(Debug)]
pub(super) struct Order {
    wish: Wish,
    reply: oneshot::Sender<Result<Outcome, Refused>>,
}

#[derive(Debug)]
enum Wish {
    Register(Box<Database>),
    Start(PathBuf),
    Leave { path: PathBuf, forget: bool },
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// It was so before.
    pub(super) already: bool,
    /// The least that its replicas have confirmed.
    pub(super) txid: Option<Txid>,
}

/// Why an order is not carried out.
#[derive(Debug)]
pub(super) enum Refused {
    /// No such database.
    Unknown,
    /// It cannot be done as things are.
    Conflict(String),
    /// It was tried.
    Failed(String),
}

/// Orders, and what they have changed for good.
#[derive(Debug)]
pub(super) struct Orders {
    sender: mpsc::Sender<Order>,
    receiver: Option<mpsc::Receiver<Order>>,
    /// Databases that are stopped.
    held: BTreeMap<PathBuf, Held>,
    /// Databases that are on their way out.
    leaving: BTreeMap<PathBuf, Leaving>,
    /// Files of watched folders that are not to be taken up again.
    left: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct Held {
    database: Database,
    origin: Origin,
    txid: Option<Txid>,
}

#[derive(Debug, Default)]
struct Leaving {
    forget: bool,
    replies: Vec<oneshot::Sender<Result<Outcome, Refused>>>,
}

impl Default for Orders {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self {
            sender,
            receiver: Some(receiver),
            held: BTreeMap::new(),
            leaving: BTreeMap::new(),
            left: BTreeSet::new(),
        }
    }
}

impl Orders {
    /// For who carries them out.
    pub(super) fn receiver(&mut self) -> Option<mpsc::Receiver<Order>> {
        self.receiver.take()
    }

    /// Whether a file of a watched folder stays as it is.
    pub(super) fn keeps_out(&self, path: &Path) -> bool {
        self.held.contains_key(path) || self.left.contains(path)
    }

    pub(super) fn is_leaving(&self, path: &Path) -> bool {
        self.leaving.contains_key(path)
    }
}

impl Fleet {
    /// Follows a database from now on.
    pub(super) async fn register(&self, database: Database) -> Result<Outcome, Refused> {
        self.order(Wish::Register(Box::new(database))).await
    }

    /// Follows one again that was stopped.
    pub(super) async fn start(&self, path: &Path) -> Result<Outcome, Refused> {
        self.order(Wish::Start(path.to_owned())).await
    }

    /// Ships what is committed and lets go of it, until it is started.
    pub(super) async fn stop(&self, path: &Path) -> Result<Outcome, Refused> {
        let path = path.to_owned();
        self.order(Wish::Leave { path, forget: false }).await
    }

    /// Ships what is committed and forgets it.
    pub(super) async fn unregister(&self, path: &Path) -> Result<Outcome, Refused> {
        let path = path.to_owned();
        self.order(Wish::Leave { path, forget: true }).await
    }

    /// Those that are stopped.
    pub(super) fn stopped(&self) -> Vec<PathBuf> {
        self.0.orders.borrow().held.keys().cloned().collect()
    }

    /// The transaction at which one is stopped.
    pub(super) fn stopped_at(&self, path: &Path) -> Option<Option<Txid>> {
        Some(self.0.orders.borrow().held.get(path)?.txid)
    }

    /// The least that all replicas of a database have confirmed.
    pub(super) fn confirmed(&self, path: &Path) -> Option<Txid> {
        confirmed(self.0.members.borrow().get(path)?)
    }

    async fn order(&self, wish: Wish) -> Result<Outcome, Refused> {
        let ending = || Refused::Conflict("walferry is about to end".to_owned());
        let (reply, answer) = oneshot::channel();
        let sender = self.0.orders.borrow().sender.clone();
        let sent = sender.send(Order { wish, reply }).await;
        sent.map_err(|_| ending())?;
        answer.await.unwrap_or_else(|_| Err(ending()))
    }

    pub(super) fn carry_out(&self, order: Order, tasks: &mut Tasks) {
        let Order { wish, reply } = order;
        let done = match wish {
            Wish::Register(database) => self.take_up(*database, Origin::Registered, tasks),
            Wish::Start(path) => self.start_again(&path, tasks),
            Wish::Leave { path, forget } => return self.leave(&path, forget, reply),
        };
        // Who asked may have gone.
        let _ = reply.send(done);
    }

    fn start_again(&self, path: &Path, tasks: &mut Tasks) -> Result<Outcome, Refused> {
        let held = self.0.orders.borrow_mut().held.remove(path);
        let Some(held) = held else {
            let known = self.0.members.borrow().contains_key(path);
            return match known {
                true => self.is_followed(path),
                false => Err(Refused::Unknown),
            };
        };
        let outcome = self.take_up(held.database.clone(), held.origin, tasks);
        if outcome.is_err() {
            self.0.orders.borrow_mut().held.insert(path.to_owned(), held);
            return outcome;
        }
        Ok(Outcome {
            already: false,
            txid: held.txid,
        })
    }

    fn take_up(&self, database: Database, origin: Origin, tasks: &mut Tasks) -> Result<Outcome, Refused> {
        let path = database.path.clone();
        if self.0.members.borrow().contains_key(&path) {
            return self.is_followed(&path);
        }
        if self.0.orders.borrow().held.contains_key(&path) {
            return Err(Refused::Conflict(format!(
                "{} is stopped: start it",
                path.display()
            )));
        }
        self.collision(&database)
            .map_or(Ok(()), |why| Err(Refused::Conflict(why)))?;
        self.0.orders.borrow_mut().left.remove(&path);
        self.add(database, origin, tasks);
        self.provide_descriptors();
        Ok(Outcome {
            already: false,
            txid: None,
        })
    }

    fn is_followed(&self, path: &Path) -> Result<Outcome, Refused> {
        if self.0.orders.borrow().is_leaving(path) {
            let db = path.display();
            return Err(Refused::Conflict(format!(
                "{db} is being let go: ask again when it is"
            )));
        }
        Ok(Outcome {
            already: true,
            txid: self.confirmed(path),
        })
    }

    /// Why the replicas of a database would destroy those of another, or it theirs.
    fn collision(&self, database: &Database) -> Option<String> {
        let orders = self.0.orders.borrow();
        let members = self.0.members.borrow();
        let followed = members.values().map(|member| member.database());
        let held = orders.held.values().map(|held| &held.database);
        let others = followed.chain(held).flat_map(|other| {
            let places = other.replicas.iter().map(|replica| &replica.destination);
            places.map(|place| (other.path.as_path(), place))
        });
        let folders = self.0.folders.borrow();
        let of_folders = folders
            .iter()
            .flat_map(|(path, places)| places.iter().map(|place| (path.as_path(), place)));
        let others: Vec<_> = others.chain(of_folders).collect();
        for replica in &database.replicas {
            let own = &replica.destination;
            for (path, other) in &others {
                if own.same_place(other) || own.contains(other) || other.contains(own) {
                    return Some(format!(
                        "the replica {own} would be in the way of {other}, which is for {} already: give each a place of \
                         its own",
                        path.display()
                    ));
                }
            }
        }
        None
    }

    fn leave(&self, path: &Path, forget: bool, reply: oneshot::Sender<Result<Outcome, Refused>>) {
        let member = self.0.members.borrow().get(path).cloned();
        let mut orders = self.0.orders.borrow_mut();
        if let Some(member) = member {
            let leaving = orders.leaving.entry(path.to_owned()).or_default();
            leaving.forget |= forget;
            leaving.replies.push(reply);
            member.stop();
            return;
        }
        let already = !forget || !orders.held.contains_key(path);
        let txid = orders.held.get(path).map(|held| held.txid);
        if forget && orders.held.remove(path).is_some() {
            orders.left.insert(path.to_owned());
        }
        let outcome = match txid {
            Some(txid) => Ok(Outcome { already, txid }),
            None if forget => Ok(Outcome { already, txid: None }),
            None => Err(Refused::Unknown),
        };
        let _ = reply.send(outcome);
    }

    /// Answers those who wanted it to go. `failure` is what could not be shipped; false if nobody did.
    pub(super) fn has_left(&self, member: &Rc<Member>, failure: Option<String>) -> bool {
        let path = member.path();
        let mut orders = self.0.orders.borrow_mut();
        let Some(leaving) = orders.leaving.remove(path) else {
            return false;
        };
        let txid = confirmed(member);
        if leaving.forget {
            orders.left.insert(path.to_owned());
        } else {
            let held = Held {
                database: member.database().clone(),
                origin: member.origin(),
                txid,
            };
            orders.held.insert(path.to_owned(), held);
        }
        let db = path.display();
        match &failure {
            None => tracing::info!(%db, "let go, because somebody asked for it"),
            Some(why) => tracing::error!(%db, "let go, because somebody asked for it: {why}"),
        }
        for reply in leaving.replies {
            let _ = reply.send(match &failure {
                None => Ok(Outcome { already: false, txid }),
                Some(why) => Err(Refused::Failed(format!("{db} is let go: {why}"))),
            });
        }
        true
    }
}

fn confirmed(member: &Rc<Member>) -> Option<Txid> {
    let replicas = member.status().replicas.iter();
    let confirmed: Option<Vec<Txid>> = replicas
        .map(|replica| replica.confirmed.get().map(|position| position.txid))
        .collect();
    confirmed?.into_iter().min()
}
