//! `walferry verify`

use bytesize::ByteSize;

use super::args::Verify;
use super::failure::{Class, Failure};
use super::output;
use super::progress::Progress;
use super::signals::Signals;
use crate::native::restore::{Drill, Point, Report, verify};
use crate::native::store::{Access, Destination};
use crate::replica::Target;

pub(super) async fn run(arguments: Verify, signals: Signals) -> Result<(), Failure> {
    let destination = Destination::parse(&arguments.replica.url, arguments.replica.insecure)?;
    destination.require()?;
    let store = destination.open(&Access::from_environment())?;
    let drill = Drill {
        point: match (arguments.random, arguments.txid, arguments.timestamp) {
            (true, ..) => Point::Random,
            (_, Some(txid), _) => Point::At(Target::Txid(txid)),
            (_, _, Some(time)) => Point::At(Target::Time(time)),
            _ => Point::Newest,
        },
        folder: arguments.dir,
        parallelism: Some(arguments.parallelism),
    };
    let mut progress = Progress::new();
    let report = tokio::select! {
        report = verify(store, &drill, |done, total| progress.at(done, total)) => report.map_err(|error| {
            Failure::from(error).while_doing(format!("{destination} was not proven"))
        })?,
        signal = signals.first() => {
            return Err(Failure::new(Class::Interrupted(signal), "broken off; nothing was left behind"));
        }
    };
    drop(progress);
    if arguments.json {
        return output::json(&report);
    }
    output::text(&told(&destination, &report))
}

fn told(destination: &Destination, report: &Report) -> String {
    let restored = &report.restored;
    let time = jiff::Timestamp::from_millisecond(restored.timestamp.0);
    let time = time.map_or_else(|_| "an unknown time".to_owned(), |time| format!("{time:.3}"));
    format!(
        "{destination} can be restored.\n\
         state:      transaction {}, of {time}\n\
         proven:     all {} pages ({}), database sum {}\n\
         integrity:  SQLite's integrity_check found nothing, in {:.2} s\n\
         recovery:   {:.2} s, {} in {} requests\n",
        restored.txid,
        restored.pages,
        ByteSize(restored.bytes),
        restored.sum,
        report.integrity_seconds,
        restored.seconds,
        ByteSize(restored.fetched),
        restored.requests,
    )
}
