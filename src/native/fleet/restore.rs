//! Databases that are not there yet are restored before anybody may create them.

use std::cmp::Reverse;
use std::path::Path;
use std::rc::Rc;

use crate::native::config::{Database, Replica};
use crate::native::restore::{self, Error, Options, Reach, reach, v3};
use crate::native::store::{Destination, Patient};
use crate::replica::Target;
use crate::store::Store;

/// Restores a database from that of its replicas that leads furthest, or from the next where that one fails. Nothing
/// happens if there is a file, or if no replica has anything: then it is a new database.
pub async fn restore_missing(database: &Database) -> Result<(), Error> {
    if database.path.exists() {
        return Ok(());
    }
    let db = database.path.display();
    let mut failure = None;
    let mut found = Vec::new();
    for replica in &database.replicas {
        let from = &replica.destination;
        match look(replica).await {
            Ok(Some((reach, store))) => found.push((reach, from, store)),
            Ok(None) => tracing::info!(%db, %from, "nothing to restore: the replica is empty"),
            Err(error) => {
                tracing::error!(%db, %from, "cannot look what there is to restore: {error}");
                failure.get_or_insert(error);
            }
        }
    }
    // Of equals the first that the configuration names.
    found.sort_by_key(|(reach, ..)| Reverse(*reach));
    for (_, from, store) in found {
        match restore_one(from, &store, &database.path).await {
            Ok(state) => {
                tracing::info!(%db, %from, "restored: {state}");
                return Ok(());
            }
            Err(error) => {
                tracing::error!(%db, %from, "cannot restore: {error}");
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// How far a replica leads, and the way to it; `None` where it is empty.
async fn look(replica: &Replica) -> Result<Option<(Reach, Patient)>, Error> {
    let store: Rc<dyn Store> = replica
        .destination
        .open(&replica.access)
        .map_err(crate::restore::Error::from)?;
    let store = Patient::new(store);
    let reach = reach(&replica.destination, &store, Target::Latest).await?;
    Ok(reach.map(|reach| (reach, store)))
}

/// Says which state it was.
async fn restore_one(from: &Destination, store: &Patient, output: &Path) -> Result<String, Error> {
    let options = Options::new(Target::Latest, output.to_owned());
    if let Some(old) = v3::find(from, store, options.target).await? {
        let summary = old.restore(store, &options, |_, _| {}).await?;
        let generation = summary.generation;
        return Ok(format!(
            "generation {generation}, in the layout of Litestream 0.3"
        ));
    }
    let summary = restore::run(store, &options, |_, _| {}).await?;
    Ok(format!("transaction {}", summary.txid))
}
