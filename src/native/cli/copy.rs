//! `walferry copy`

use bytesize::ByteSize;

use super::args::Copy;
use super::failure::{Class, Failure};
use super::output;
use super::progress::Progress;
use super::signals::Signals;
use crate::native::copy::{self, Options};
use crate::native::store::{Access, Destination, Patient};

pub(super) async fn run(arguments: Copy, signals: Signals) -> Result<(), Failure> {
    let source = Destination::parse(&arguments.source, arguments.insecure)?;
    let target = Destination::parse(&arguments.target, arguments.insecure)?;
    if source.same_place(&target) || source.contains(&target) || target.contains(&source) {
        let why = format!("{source} and {target} are the same place: a copy needs another");
        return Err(Failure::new(Class::Usage, why));
    }
    source.require()?;
    let access = Access::from_environment();
    let (from, to) = (
        Patient::new(source.open(&access)?),
        Patient::new(target.open(&access)?),
    );
    let is_worker = |destination: &Destination| matches!(destination, Destination::Worker(_));
    let options = Options {
        codec: arguments.codec,
        folder: std::env::temp_dir(),
        chain_only: is_worker(&target),
        shelves: !is_worker(&source) && !is_worker(&target),
    };
    let mut progress = Progress::new();
    let summary = tokio::select! {
        summary = copy::run(&from, &to, &options, |done, total| progress.at(done, total)) => {
            summary.map_err(|error| Failure::from(error).while_doing(format!("cannot copy {source} to {target}")))?
        }
        signal = signals.first() => {
            let how = "broken off; what arrived is there, and the same command goes on";
            return Err(Failure::new(Class::Interrupted(signal), how));
        }
    };
    drop(progress);
    if arguments.json {
        return output::json(&summary);
    }
    output::text(&format!(
        "{target} is {source} up to transaction {}: {} objects copied ({} read, {} written), {} were there\n",
        summary.txid,
        summary.copied,
        ByteSize(summary.read),
        ByteSize(summary.written),
        summary.present,
    ))
}
