//! A part of a bucket that another program fills, Litestream for instance, served as a database and never written to.
//!
//! The bucket is looked at when someone reads, and not again within some seconds. Only what is new of a listing is taken
//! into the ledger; what has gone goes. While there are followers, the object's alarm looks for them.

use worker::{Bucket, Date, Env};

use super::failure::Failure;
use super::head::Head;
use super::ledger::State;
use super::r2::R2Store;
use super::replica::Replica;
use super::route::Db;
use super::{bucket, rebuild};
use crate::replica::Position;

/// A variable: `name=BINDING/prefix` for each database that is attached, separated by commas.
const ATTACHED: &str = "WALFERRY_ATTACHED";
/// At most so often a bucket is looked at for those who read. Tests do not wait as long.
pub(super) const EVERY_MS: u64 = if cfg!(feature = "fault-points") {
    300
} else {
    10_000
};

/// Where a database's objects are, if it is attached: the bucket, and how their keys begin.
pub(super) fn place(env: &Env, db: &Db) -> Result<Option<(Bucket, String)>, Failure> {
    let Ok(list) = env.var(ATTACHED).map(|list| list.to_string()) else {
        return Ok(None);
    };
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    for entry in entries {
        let parts = entry.split_once('=').and_then(|(name, place)| {
            let (binding, prefix) = place.trim().split_once('/').unwrap_or((place.trim(), ""));
            Some((Db::parse(name.trim()).ok()?, binding, prefix.trim_matches('/')))
        });
        let (name, binding, prefix) = parts.ok_or_else(|| {
            let message = format!("{ATTACHED} has an entry {entry:?}; it must be name=BINDING/prefix.");
            Failure::new(500, "not_configured", message)
        })?;
        if name == *db {
            let root = if prefix.is_empty() {
                String::new()
            } else {
                format!("{prefix}/")
            };
            return Ok(Some((bucket(env, binding)?, root)));
        }
    }
    Ok(None)
}

/// Nothing is changed there.
pub(super) fn refusal(db: &Db) -> Failure {
    let message = format!("Another program fills {db}, and it is only read here. Ship to another name.");
    Failure::new(403, "attached", message)
}

/// Where it stands, as of some seconds ago.
pub(super) async fn head(replica: &Replica) -> Result<Head, Failure> {
    if let Some(head) = fresh(replica)? {
        return Ok(head);
    }
    let guard = replica.lock.enter().await?;
    // Whoever was before us may have looked.
    if let Some(head) = fresh(replica)? {
        return Ok(head);
    }
    let before = match replica.ledger.open()? {
        // What is open or kept here alone is of the database of this name: reading the other bucket would forget it.
        State::Known(_, _, Some(_)) => return Err(taken(&replica.store)),
        _ if !replica.ledger.all_kept()?.is_empty() => return Err(taken(&replica.store)),
        State::Known(head, ..) => head.position,
        State::Rebuilding(_) => Position::EMPTY,
    };
    let head = Box::pin(rebuild::again(&replica.ledger, &replica.store, &guard)).await?;
    replica.looked.set(Date::now().as_millis());
    if head.position != before {
        replica.followers.tell(head.position, None);
    }
    Ok(head)
}

/// Looks for those who follow; whether there is someone to look again for.
pub(super) async fn ring(replica: &Replica) -> bool {
    let has_followers = replica.followers.count() > 0;
    if has_followers && let Err(failure) = head(replica).await {
        worker::console_error!("{} was not looked at: {}", replica.store.db(), failure.message());
    }
    has_followers
}

fn taken(store: &R2Store) -> Failure {
    let db = store.db();
    let message = format!(
        "A database of our own has the name {db}, and segments that are in no bucket yet: attach under another name."
    );
    Failure::new(409, "name_taken", message)
}

fn fresh(replica: &Replica) -> Result<Option<Head>, Failure> {
    Ok(match replica.ledger.open()? {
        State::Known(head, ..) if replica.has_just_looked() => Some(head),
        _ => None,
    })
}
