//! `walferry restore`

use bytesize::ByteSize;

use super::args::Restore;
use super::failure::{Class, Failure};
use super::output;
use super::progress::Progress;
use super::signals::Signals;
use crate::native::restore::{self, Options};
use crate::native::store::{Access, Destination, Patient};
use crate::replica::Target;

pub(super) async fn run(arguments: Restore, signals: Signals) -> Result<(), Failure> {
    let destination = Destination::parse(&arguments.replica.url, arguments.replica.insecure)?;
    let target = match (arguments.txid, arguments.timestamp) {
        (Some(txid), _) => Target::Txid(txid),
        (None, Some(time)) => Target::Time(time),
        (None, None) => Target::Latest,
    };
    let options = Options::new(target, arguments.output);
    options.check()?;
    destination.require()?;
    let store = Patient::new(destination.open(&Access::from_environment())?);
    let mut progress = Progress::new();
    let summary = tokio::select! {
        summary = restore::run(&store, &options, |done, total| progress.at(done, total)) => {
            summary.map_err(|error| Failure::from(error).while_doing(format!("cannot restore {destination}")))?
        }
        signal = signals.first() => {
            return Err(Failure::new(Class::Interrupted(signal), "broken off; nothing was left behind"));
        }
    };
    drop(progress);
    if arguments.json {
        return output::json(&summary);
    }
    output::text(&format!(
        "{} is transaction {} of {destination}: {} pages, {}, {} fetched in {:.2} s\n",
        options.output.display(),
        summary.txid,
        summary.pages,
        ByteSize(summary.bytes),
        ByteSize(summary.fetched),
        summary.seconds,
    ))
}
