//! `walferry copy`

use bytesize::ByteSize;
use clap::Args;

use super::failure::{Class, Failure};
use super::output;
use super::progress::Progress;
use super::signals::Signals;
use crate::ltx::Codec;
use crate::native::copy::{self, Options};
use crate::native::store::{Access, Destination, Patient};

/// Copy a replica to another destination, or to another codec
///
/// Every segment is proven on its way and packed anew only where the codec differs. What is there already is passed over:
/// a copy that was broken off goes on with the same command. A Worker gets what leads to the newest state; other
/// destinations get all levels and the history. One token and one set of keys serve both sides, unless an s3:// URL names
/// a profile of ~/.aws/credentials: ?profile=NAME.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry copy s3://backups/app.db file:///mnt/backup/app
  walferry copy --codec lz4 https://ferry.example.workers.dev/v1/app file:///mnt/for-litestream
  walferry copy s3://old/app.db 's3://new/app.db?endpoint=https://ID.r2.cloudflarestorage.com&profile=r2'")]
pub(super) struct Copy {
    /// The replica to copy
    #[arg(value_name = "SRC")]
    source: String,

    /// Where to: an empty place, or one that an earlier copy was made to
    #[arg(value_name = "DST")]
    target: String,

    /// How pages are packed: lz4, lz4-frame, deflate, stored; as they are where it is not said
    #[arg(long, value_name = "CODEC")]
    codec: Option<Codec>,

    /// Allow plain http:// to other machines: token and data travel unencrypted
    #[arg(long)]
    insecure: bool,

    /// Print the result, or the error, as JSON
    #[arg(long)]
    json: bool,
}

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
