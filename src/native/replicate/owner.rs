//! Whose replica it is: two databases, or two machines, that fill one replica would destroy each other's history.
//!
//! A database has a random identity in its local state. A replica has records, never changed, the last of them in
//! force: `{id, database, host, since}` on the shelf [`Level::OWNER`], numbered from 1. Whoever finds another's record
//! does not write; who takes a replica over adds one.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Error;
use super::state::StateFolder;
use crate::ltx::{Timestamp, Txid};
use crate::replica::{Level, SegmentId};
use crate::store::{self, Store};

/// A record is small; nobody else's file is read to its end.
const LONGEST: u64 = 64 * 1024;

/// Who owns a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The identity of the database: 32 hexadecimal digits.
    id: String,
    database: PathBuf,
    host: String,
    /// Since when.
    since: Timestamp,
}

/// Who we are.
#[derive(Debug)]
pub(super) struct Identity {
    state: StateFolder,
    database: PathBuf,
    host: String,
    /// `None` while the local state is new, or was lost.
    id: RefCell<Option<String>>,
}

/// How a replica is claimed that has another's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Not at all.
    IfOurs,
    TakeOver,
}

impl Identity {
    pub(super) fn new(state: StateFolder, database: PathBuf) -> Rc<Self> {
        let id = RefCell::new(state.identity());
        Rc::new(Self {
            state,
            database,
            host: this_host(),
            id,
        })
    }

    /// The folder of the local state.
    pub(super) fn state(&self) -> &StateFolder {
        &self.state
    }

    fn id(&self) -> Option<String> {
        self.id.borrow().clone()
    }

    fn keep(&self, id: &str) -> Result<(), Error> {
        self.state.keep_identity(id)?;
        self.id.replace(Some(id.to_owned()));
        Ok(())
    }

    /// The identity, drawn now if there is none.
    fn id_or_new(&self) -> Result<String, Error> {
        if let Some(id) = self.id() {
            return Ok(id);
        }
        let id = draw_id()?;
        self.keep(&id)?;
        Ok(id)
    }

    /// Whether the record is of the database that is, or was, at this place.
    fn is_of_this_place(&self, record: &Record) -> bool {
        record.database == self.database && record.host == self.host
    }
}

/// Makes sure that the replica is ours: `Err` with the record of another database if it is not, before anything is
/// written. `is_remembered`: the local state knows this replica.
pub(super) async fn claim(
    store: &dyn Store,
    identity: &Identity,
    is_remembered: bool,
    how: Claim,
    now: Timestamp,
) -> Result<Result<(), Record>, Error> {
    loop {
        let last = newest(store).await?;
        let number = match &last {
            None => Txid::FIRST,
            Some((_, record)) if identity.id().as_ref() == Some(&record.id) => {
                if !is_copied(record, &identity.database, &identity.host) {
                    return Ok(Ok(()));
                }
                if how != Claim::TakeOver {
                    return Ok(Err(record.clone()));
                }
                // From here on the two are told apart.
                identity.keep(&draw_id()?)?;
                continue;
            }
            // The local state was lost; where another replica was asked first, there is a new identity already.
            Some((_, record)) if identity.is_of_this_place(record) && identity.id().is_none() => {
                identity.keep(&record.id)?;
                return Ok(Ok(()));
            }
            Some((number, record))
                if identity.is_of_this_place(record) && !is_remembered || how == Claim::TakeOver =>
            {
                number.next().unwrap_or(*number)
            }
            Some((_, record)) => return Ok(Err(record.clone())),
        };
        let record = Record {
            id: identity.id_or_new()?,
            database: identity.database.clone(),
            host: identity.host.clone(),
            since: now,
        };
        let text = serde_json::to_vec(&record).map_err(|error| store::Error::Protocol(error.to_string()))?;
        match store.create(id_of(number), &Bytes::from(text)).await {
            // Someone else was faster: read what they wrote.
            Err(store::Error::Exists(_)) => {}
            Err(error) => return Err(error.into()),
            Ok(()) => {
                if let Some((_, before)) = last {
                    tracing::warn!(owner = %before, "the replica is taken over");
                }
            }
        }
    }
}

/// Why a segment of ours met another of its name: the record of the new owner, if there is one.
pub(super) async fn newcomer(store: &dyn Store, identity: &Identity) -> Option<Record> {
    let (_, record) = newest(store).await.ok()??;
    (identity.id().as_ref() != Some(&record.id)).then_some(record)
}

/// Names the database that owns a replica, if it is another one than `database`, whose local state is in `state` or
/// beside it. Nothing is changed; while `database` is followed, too.
pub async fn other_owner(
    store: &dyn Store,
    database: &Path,
    state: Option<PathBuf>,
) -> Result<Option<String>, Error> {
    let Some((_, record)) = newest(store).await? else {
        return Ok(None);
    };
    let state = state.unwrap_or_else(|| StateFolder::beside(database));
    let host = this_host();
    let is_ours =
        StateFolder::identity_in(&state).as_ref() == Some(&record.id) && !is_copied(&record, database, &host);
    let is_of_this_place = record.database == database && record.host == host;
    Ok((!is_ours && !is_of_this_place).then(|| record.to_string()))
}

/// Whether the database of the record is still where it was, with the identity that is ours too: one of the two was
/// copied, its local state with it. What was moved has left its place.
fn is_copied(record: &Record, database: &Path, host: &str) -> bool {
    if record.host != host || record.database == database {
        return false;
    }
    let place = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    let theirs = place(&record.database);
    theirs.is_some()
        && theirs != place(database)
        && StateFolder::identity_in(&StateFolder::beside(&record.database)).as_ref() == Some(&record.id)
}

fn this_host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

async fn newest(store: &dyn Store) -> Result<Option<(Txid, Record)>, Error> {
    let records = store.list(Level::OWNER, Txid::ZERO).await?;
    let Some(last) = records.last() else {
        return Ok(None);
    };
    let bytes = store.read(last.id, 0..last.size.min(LONGEST)).await?;
    let unreadable = |error| {
        store::Error::Protocol(format!(
            "the record of the replica's owner, {}, cannot be read: {error}",
            last.id
        ))
    };
    let record = serde_json::from_slice(&bytes).map_err(unreadable)?;
    Ok(Some((last.id.max, record)))
}

fn id_of(number: Txid) -> SegmentId {
    SegmentId {
        level: Level::OWNER,
        min: number,
        max: number,
    }
}

fn draw_id() -> Result<String, Error> {
    draw().map_err(|source| Error::Io {
        what: "cannot read /dev/urandom".to_owned(),
        source,
    })
}

/// 128 random bits.
fn draw() -> std::io::Result<String> {
    use std::io::Read;
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Names the database.
impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {}", self.database.display(), self.host)?;
        match jiff::Timestamp::from_millisecond(self.since.0) {
            Ok(since) => write!(f, " (since {since:.0})"),
            Err(_) => Ok(()),
        }
    }
}
