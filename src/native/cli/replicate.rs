//! `walferry replicate`

use std::rc::Rc;

use super::args::Replicate;
use super::failure::Failure;
use super::signals::Signals;
use crate::native::replicate::{self, Environment, Options, Replica, ReplicaOptions};
use crate::native::status::{DatabaseStatus, ReplicaStatus};
use crate::native::store::{Access, Destination, Impatient};
use crate::store::Store;

pub(super) async fn run(arguments: Replicate, signals: Signals) -> Result<(), Failure> {
    let destination = Destination::parse(&arguments.replica.url, arguments.replica.insecure)?;
    let mut store: Rc<dyn Store> = destination.open(&Access::from_environment())?;
    if arguments.once {
        store = Rc::new(Impatient::new(store));
    }
    let codec = arguments.codec.unwrap_or(destination.default_codec());
    let options = Options {
        set_wal: arguments.set_wal,
        wal_limit: arguments.wal_limit,
        once: arguments.once,
        ..Options::new(arguments.database)
    };
    let replica = Replica {
        store,
        options: ReplicaOptions {
            sync_interval: arguments.sync_interval,
            self_kept: matches!(destination, Destination::Worker(_)),
            ..ReplicaOptions::new(codec)
        },
        status: ReplicaStatus::new(destination.to_string(), destination.kind()),
    };
    let status = DatabaseStatus::new(options.database.clone(), vec![Rc::clone(&replica.status)]);
    let shutdown = async {
        signals.first().await;
    };
    Ok(replicate::run(options, vec![replica], status, &Environment::system(), shutdown).await?)
}
