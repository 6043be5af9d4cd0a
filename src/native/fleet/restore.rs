//! Databases that are not there yet are restored before anybody may create them.

use std::path::Path;
use std::rc::Rc;

use crate::native::config::Database;
use crate::native::restore::{self, Error, Options};
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
            Ok(Some(txid)) => {
                tracing::info!(%db, %from, %txid, "restored");
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

async fn restore_one(
    replica: &crate::native::config::Replica,
    output: &Path,
) -> Result<Option<crate::ltx::Txid>, Error> {
    let store: Rc<dyn Store> = replica
        .destination
        .open(&replica.access)
        .map_err(crate::restore::Error::from)?;
    let options = Options::new(Target::Latest, output.to_owned());
    match restore::run(&Patient::new(store), &options, |_, _| {}).await {
        Ok(summary) => Ok(Some(summary.txid)),
        Err(Error::Replica(crate::restore::Error::Plan(PlanError::Empty))) => Ok(None),
        Err(error) => Err(error),
    }
}
