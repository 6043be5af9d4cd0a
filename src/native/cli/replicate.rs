//! `walferry replicate`

use std::rc::Rc;

use super::args::Replicate;
use super::failure::Failure;
use super::signals::Signals;
use crate::native::replicate::{self, Options};
use crate::native::store::{Access, Destination, Impatient};

pub(super) async fn run(arguments: Replicate, signals: Signals) -> Result<(), Failure> {
    let destination = Destination::parse(&arguments.replica.url, arguments.replica.insecure)?;
    let mut store = destination.open(&Access::from_environment())?;
    if arguments.once {
        store = Rc::new(Impatient::new(store));
    }
    let codec = arguments.codec.unwrap_or(destination.default_codec());
    let options = Options {
        set_wal: arguments.set_wal,
        sync_interval: arguments.sync_interval,
        wal_limit: arguments.wal_limit,
        once: arguments.once,
        ..Options::new(arguments.database, codec)
    };
    let shutdown = async {
        signals.first().await;
    };
    Ok(replicate::run(options, store, shutdown).await?)
}
