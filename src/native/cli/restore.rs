//! `walferry restore`

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::failure::{Class, Failure};
use super::progress::Progress;
use super::signals::Signals;
use super::source::{Chosen, Source};
use super::{output, values};
use crate::ltx::{Timestamp, Txid};
use crate::native::restore::{
    self, Error, Event, IntegrityCheck, Options, Preview, Summary, follow, preview, v3,
};
use crate::native::store::Patient;
use crate::replica::{PlanError, Target};
use crate::store;

/// Turn a replica back into a database
///
/// The result is proven before it appears under its name: every page, the sum of all pages, or the checksums of
/// all segments where Litestream wrote them. What is damaged or gone is replaced by another copy at another level, where
/// there is one, and named. An existing file is never overwritten.
///
/// Where the replica holds only what Litestream 0.3 wrote, or where that is newer, that is restored.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry restore -o copy.db file:///mnt/backup/app
  walferry restore -o before.db --timestamp '30m ago' s3://my-app-backups/app.db
  walferry restore -o before.db --timestamp 2026-01-31T12:00:00Z file:///mnt/backup/app
  walferry restore -o exact.db --txid 00000000000004d2 file:///mnt/backup/app
  walferry restore -if-db-not-exists -if-replica-exists -config /etc/litestream.yml /data/app.db
  walferry restore -f -o standby.db s3://my-app-backups/app.db       # until it is stopped
  WALFERRY_TOKEN=… walferry restore -o copy.db --json https://ferry.example.workers.dev/v1/app")]
pub(super) struct Restore {
    #[command(flatten)]
    source: Source,

    /// The database file to make (default: the database's own path, where the configuration names it)
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,

    /// The state after this transaction (16 hexadecimal digits) instead of the newest
    #[arg(long, value_name = "HEX16", conflicts_with = "timestamp")]
    txid: Option<Txid>,

    /// The newest state at or before this time: RFC 3339, or "30m ago"
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    timestamp: Option<Timestamp>,

    /// Where the output exists, do nothing and call it a success
    #[arg(long)]
    if_db_not_exists: bool,

    /// Where the replica holds nothing, do nothing and call it a success
    #[arg(long)]
    if_replica_exists: bool,

    /// How many reads run at once
    #[arg(long, value_name = "N", default_value = "8", value_parser = values::parallelism)]
    parallelism: usize,

    /// What SQLite is asked of the result before it gets its name. That the pages are those that were shipped is
    /// proven in any case
    #[arg(long, value_enum, value_name = "CHECK", default_value_t = Check::None)]
    integrity_check: Check,

    /// Say what would be read, and about how long it would take; write nothing
    #[arg(long, conflicts_with = "follow")]
    dry_run: bool,

    /// Go on: keep the output up to date, for readers only, until this is stopped
    #[arg(short, long, conflicts_with_all = ["txid", "timestamp"])]
    follow: bool,

    /// How often to look while there is news; up to ten times as long apart while there is none
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = values::interval, requires = "follow")]
    follow_interval: Duration,

    /// Print the result, or the error, as JSON
    #[arg(long)]
    json: bool,
}

/// How much SQLite looks at.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Check {
    None,
    Quick,
    Full,
}

pub(super) async fn run(arguments: Restore, signals: Signals) -> Result<(), Failure> {
    let options = options(&arguments)?;
    let exists = options.output.symlink_metadata().is_ok();
    if exists && arguments.if_db_not_exists {
        return skip(
            &arguments,
            &format!("{} exists already", options.output.display()),
        );
    }
    if !(arguments.dry_run || arguments.follow && exists) {
        options.check()?;
    }
    let work = async {
        let chosen = arguments.source.choose(options.target).await?;
        let restored = restore(&arguments, &options, &chosen).await;
        restored.map_err(|failure| {
            match failure {
                Stop::Empty => Failure::from(Error::from(crate::restore::Error::Plan(PlanError::Empty))),
                Stop::Failed(failure) => failure,
            }
            .while_doing(format!("cannot restore {}", chosen.destination))
        })
    };
    let told = "broken off; nothing was left behind";
    tokio::select! {
        done = work => done,
        signal = signals.first() => {
            // Whoever follows stops so.
            let told = if arguments.follow { "stopped" } else { told };
            Err(Failure::new(Class::Interrupted(signal), told))
        }
    }
}

/// Why it did not come to a restore.
enum Stop {
    Empty,
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            Error::Replica(crate::restore::Error::Plan(PlanError::Empty)) => Self::Empty,
            error => Self::Failed(error.into()),
        }
    }
}

async fn restore(arguments: &Restore, options: &Options, chosen: &Chosen) -> Result<(), Stop> {
    let nothing = || {
        let why = format!("{} holds nothing yet", chosen.destination);
        skip(arguments, &why).map_err(Stop::from)
    };
    match chosen.destination.require() {
        Err(store::Error::NotFound(_)) if arguments.if_replica_exists => return nothing(),
        required => required.map_err(Failure::from)?,
    }
    let store = Patient::new(chosen.store.clone());
    let old = v3::find(&chosen.destination, &store, options.target).await?;
    let result = if let Some(old) = old {
        return Ok(restore_old(arguments, options, chosen, &store, &old).await?);
    } else if arguments.dry_run {
        match preview(&store, options).await {
            Ok(preview) if arguments.json => Ok(output::json(&preview)?),
            Ok(preview) => Ok(output::text(&planned(&preview))?),
            Err(error) => Err(error),
        }
    } else if arguments.follow {
        followed(arguments, options, chosen, &store).await
    } else {
        let mut progress = Progress::new();
        let result = restore::run(&store, options, |done, total| progress.at(done, total)).await;
        drop(progress);
        match result {
            Ok(summary) => Ok(tell(arguments, &options.output, chosen, &summary)?),
            Err(error) => Err(error),
        }
    };
    match result.map_err(Stop::from) {
        Err(Stop::Empty) if arguments.if_replica_exists => nothing(),
        result => result,
    }
}

/// There is nothing to do, and that was said to be a success.
fn skip(arguments: &Restore, why: &str) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Skipped<'a> {
        skipped: &'a str,
    }
    if arguments.json {
        return output::json(&Skipped { skipped: why });
    }
    output::text(&format!("{why}: nothing to do\n"))
}

/// What Litestream 0.3 wrote.
async fn restore_old(
    arguments: &Restore,
    options: &Options,
    chosen: &Chosen,
    store: &Patient,
    old: &v3::Old,
) -> Result<(), Failure> {
    if arguments.follow {
        return Err(Error::from(v3::Error::NotFollowed).into());
    }
    let summary = if arguments.dry_run {
        old.preview()
    } else {
        let mut progress = Progress::new();
        old.restore(store, options, |done, total| progress.at(done, total))
            .await?
    };
    if arguments.json {
        return output::json(&summary);
    }
    let state = format!(
        "generation {} of {}, in the layout of Litestream 0.3, up to WAL {:08x}",
        summary.generation, chosen.destination, summary.index,
    );
    let (files, fetched) = (summary.files, ByteSize(summary.fetched));
    if arguments.dry_run {
        return output::text(&format!("{state}: {files} files, {fetched} to fetch\n"));
    }
    output::text(&format!(
        "{} is {state}: {}, {files} files, {fetched} fetched in {:.2} s\n",
        options.output.display(),
        ByteSize(summary.bytes.unwrap_or_default()),
        summary.seconds,
    ))
}

async fn followed(
    arguments: &Restore,
    options: &Options,
    chosen: &Chosen,
    store: &Patient,
) -> Result<(), Error> {
    let mut progress = Some(Progress::new());
    let path = options.output.display();
    let shown = std::cell::RefCell::new(progress.as_mut());
    let never = follow(
        store,
        chosen.live.as_ref(),
        options,
        arguments.follow_interval,
        |done, total| {
            if let Some(progress) = &mut *shown.borrow_mut() {
                progress.at(done, total);
            }
        },
        |event| match event {
            Event::Restored(summary) => {
                shown.borrow_mut().take();
                // Who reads stdout may have gone: the copy is followed all the same.
                let _ = tell(arguments, &options.output, chosen, summary);
            }
            Event::Resumed(txid) => tracing::info!("{path} is at transaction {txid}; going on"),
            Event::Applied { txid, pages, .. } => tracing::info!(pages, "{path} is at transaction {txid}"),
        },
    )
    .await?;
    match never {}
}

fn options(arguments: &Restore) -> Result<Options, Failure> {
    let target = match (arguments.txid, arguments.timestamp) {
        (Some(txid), _) => Target::Txid(txid),
        (None, Some(time)) => Target::Time(time),
        (None, None) => Target::Latest,
    };
    let output = match (&arguments.output, arguments.source.database()) {
        (Some(output), _) => output.clone(),
        (None, Some(database)) => database.to_owned(),
        (None, None) if arguments.dry_run => PathBuf::from("restored.db"),
        (None, None) => return Err(Failure::new(Class::Usage, "say where to restore to: -o OUT")),
    };
    let mut options = Options::new(target, output);
    options.parallelism = arguments.parallelism;
    options.integrity = match arguments.integrity_check {
        Check::None => IntegrityCheck::None,
        Check::Quick => IntegrityCheck::Quick,
        Check::Full => IntegrityCheck::Full,
    };
    Ok(options)
}

fn tell(arguments: &Restore, path: &Path, chosen: &Chosen, summary: &Summary) -> Result<(), Failure> {
    if arguments.json {
        return output::json(summary);
    }
    let mut text = format!(
        "{} is transaction {} of {}: {} pages, {}, {} fetched in {:.2} s\n",
        path.display(),
        summary.txid,
        chosen.destination,
        summary.pages,
        ByteSize(summary.bytes),
        ByteSize(summary.fetched),
        summary.seconds,
    );
    for replaced in &summary.replaced {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "another copy stood in for {}: {}",
            replaced.segment, replaced.why
        );
    }
    output::text(&text)
}

fn planned(preview: &Preview) -> String {
    let mut text = format!(
        "transaction {}: {} pages, {}, from {} segments:\n",
        preview.txid,
        preview.pages,
        ByteSize(preview.bytes),
        preview.segments.len(),
    );
    for segment in &preview.segments {
        let _ = writeln!(text, "  {}  {:>12}", segment.id, segment.size);
    }
    let _ = writeln!(
        text,
        "{} to fetch in about {} requests ($ {:.4} at S3's price), about {:.1} s",
        ByteSize(preview.fetch),
        preview.requests,
        preview.request_cost,
        preview.seconds,
    );
    text
}
