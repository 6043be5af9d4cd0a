//! `walferry replicate`

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::args::Replicate;
use super::failure::{Class, Failure};
use super::signals::Signals;
use crate::native::clock::Clock;
use crate::native::metrics;
use crate::native::replicate::{self, Environment, Options, Replica, ReplicaOptions};
use crate::native::status::{DatabaseStatus, ReplicaStatus};
use crate::native::store::{Access, Destination, Impatient};
use crate::store::Store;

pub(super) async fn run(arguments: Replicate, signals: Signals) -> Result<(), Failure> {
    let destination = Destination::parse(&arguments.replica.url, arguments.replica.insecure)?;
    let opened = destination.open(&Access::from_environment())?;
    let meter = Arc::clone(opened.meter());
    let mut store: Rc<dyn Store> = opened;
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
    let _ = replica.status.meter.set(meter);
    let status = DatabaseStatus::new(options.database.clone(), vec![Rc::clone(&replica.status)]);
    let databases = Rc::new(RefCell::new(vec![Rc::clone(&status)]));
    let _metrics = match &arguments.addr {
        Some(address) => Some(
            metrics::serve(address, databases, Clock::system())
                .await
                .map_err(|error| {
                    Failure::new(Class::Unexpected, format!("cannot listen at {address}: {error}"))
                })?,
        ),
        None => None,
    };
    let shutdown = async {
        signals.first().await;
    };
    Ok(replicate::run(options, vec![replica], status, &Environment::system(), shutdown).await?)
}
