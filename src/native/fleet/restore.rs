//! Databases that are not there yet are restored before anybody may create them.

use std::path::Path;
use std::rc::Rc;

use crate::native::config::Database;
use crate::native::restore::{self, Error, Options, v3};
use crate::native::store::Patient;
use crate::replica::{PlanError, Target};
use crate::store::Store;

/// Restores a database from the first of its replicas that holds one. Nothing happens if there is a file, or if no
/// replica has anything: then it is a new database.
pub async fn restore_missing(database: &Database) -> Result<(), Error> {
    if database.path.exists() {
        return Ok(());
    }
    let db = database.path.display();
    let mut failure = None;
    for replica in &database.replicas {
        let from = &replica.destination;
        match restore_one(replica, &database.path).await {
            Ok(Some(state)) => {
                tracing::info!(%db, %from, "restored: {state}");
                return Ok(());
            }
            Ok(None) => tracing::info!(%db, %from, "nothing to restore: the replica is empty"),
            Err(error) => {
                tracing::error!(%db, %from, "cannot restore: {error}");
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Says which state it was.
async fn restore_one(
    replica: &crate::native::config::Replica,
    output: &Path,
) -> Result<Option<String>, Error> {
    let store: Rc<dyn Store> = replica
        .destination
        .open(&replica.access)
        .map_err(crate::restore::Error::from)?;
    let (store, options) = (
        Patient::new(store),
        Options::new(Target::Latest, output.to_owned()),
    );
    if let Some(old) = v3::find(&replica.destination, &store, options.target).await? {
        let summary = old.restore(&store, &options, |_, _| {}).await?;
        let generation = summary.generation;
        return Ok(Some(format!(
            "generation {generation}, in the layout of Litestream 0.3"
        )));
    }
    match restore::run(&store, &options, |_, _| {}).await {
        Ok(summary) => Ok(Some(format!("transaction {}", summary.txid))),
        Err(Error::Replica(crate::restore::Error::Plan(PlanError::Empty))) => Ok(None),
        Err(error) => Err(error),
    }
}
