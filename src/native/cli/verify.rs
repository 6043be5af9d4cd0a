//! `walferry verify`

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;

use super::failure::{Class, Failure};
use super::progress::Progress;
use super::signals::Signals;
use super::source::Source;
use super::{output, values};
use crate::ltx::{Timestamp, Txid};
use crate::native::restore::{Drill, Point, Report, Restored, Summary, v3, verify};
use crate::native::store::Destination;
use crate::replica::Target;

/// Prove that a replica can be restored, by restoring it
///
/// The restore drill: restores into a temporary file, checks every sum on the way, has SQLite run its
/// integrity_check, says how long a recovery takes, and removes the file. Exit code 7: it cannot be restored.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry verify file:///mnt/backup/app
  walferry verify --random --json s3://my-app-backups/app.db
  walferry verify --dir /mnt/scratch --timestamp '2 days ago' file:///mnt/backup/app
  walferry verify -config /etc/litestream.yml /data/app.db")]
pub(super) struct Verify {
    #[command(flatten)]
    source: Source,

    /// Any of the states that the replica promises, instead of the newest
    #[arg(long, conflicts_with_all = ["txid", "timestamp"])]
    random: bool,

    /// The state after this transaction (16 hexadecimal digits) instead of the newest
    #[arg(long, value_name = "HEX16", conflicts_with = "timestamp")]
    txid: Option<Txid>,

    /// The newest state at or before this time: RFC 3339, or "30m ago"
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    timestamp: Option<Timestamp>,

    /// Where the temporary file goes, which is as large as the database (default: TMPDIR, or /tmp)
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,

    /// How many reads run at once
    #[arg(long, value_name = "N", default_value = "8", value_parser = values::parallelism)]
    parallelism: usize,

    /// Print the report, or the error, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Verify, signals: Signals) -> Result<(), Failure> {
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
    let target = match drill.point {
        Point::At(target) => target,
        Point::Newest | Point::Random => Target::Latest,
    };
    let work = async {
        let chosen = arguments.source.choose(target).await?;
        let destination = &chosen.destination;
        destination.require()?;
        let mut progress = Progress::new();
        let report = verify(destination, chosen.store.clone(), &drill, |done, total| {
            progress.at(done, total)
        })
        .await;
        drop(progress);
        let report = report
            .map_err(|error| Failure::from(error).while_doing(format!("{destination} was not proven")))?;
        if arguments.json {
            output::json(&report)
        } else {
            output::text(&told(destination, &report))
        }
    };
    tokio::select! {
        done = work => done,
        signal = signals.first() => {
            Err(Failure::new(Class::Interrupted(signal), "broken off; nothing was left behind"))
        }
    }
}

fn told(destination: &Destination, report: &Report) -> String {
    let integrity = report.integrity_seconds;
    let (proven, recovery) = match &report.restored {
        Restored::Segments(restored) => told_of_segments(restored),
        Restored::Old(restored) => told_of_old(restored),
    };
    format!(
        "{destination} can be restored.\n\
         {proven}\
         integrity:  SQLite's integrity_check found nothing, in {integrity:.2} s\n\
         {recovery}",
    )
}

fn told_of_segments(restored: &Summary) -> (String, String) {
    let proven = format!(
        "state:      transaction {}, of {}\n\
         proven:     all {} pages ({}), database sum {}\n",
        restored.txid,
        time(restored.timestamp),
        restored.pages,
        ByteSize(restored.bytes),
        restored.sum,
    );
    let mut recovery = format!(
        "recovery:   {:.2} s, {} in {} requests\n",
        restored.seconds,
        ByteSize(restored.fetched),
        restored.requests,
    );
    for segment in &restored.replaced {
        recovery.push_str(&format!("replaced:   {}: {}\n", segment.segment, segment.why));
    }
    (proven, recovery)
}

fn told_of_old(restored: &v3::Summary) -> (String, String) {
    let proven = format!(
        "state:      generation {} in the layout of Litestream 0.3, up to WAL {:08x}, of {}\n\
         proven:     each checksum of its WAL ({}); it has none of the whole database\n",
        restored.generation,
        restored.index,
        time(restored.timestamp),
        ByteSize(restored.bytes.unwrap_or_default()),
    );
    let recovery = format!(
        "recovery:   {:.2} s, {} in {} files\n",
        restored.seconds,
        ByteSize(restored.fetched),
        restored.files,
    );
    (proven, recovery)
}

fn time(timestamp: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(timestamp.0);
    time.map_or_else(|_| "an unknown time".to_owned(), |time| format!("{time:.3}"))
}
