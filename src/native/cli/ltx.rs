//! `walferry ltx`

use std::fmt::Write;

use clap::Args;

use super::failure::{Class, Failure};
use super::output;
use super::signals::Signals;
use super::source::Source;
use super::values;
use crate::ltx::Txid;
use crate::native::store::Patient;
use crate::replica::{SegmentInfo, Target};
use crate::store::Store;

/// List the segments of a replica
#[derive(Debug, Args)]
#[command(
    alias = "wal",
    after_help = "\
Examples:
  walferry ltx s3://backups/app.db
  walferry ltx -config /etc/litestream.yml /srv/app.db
  walferry ltx -level 9 file:///mnt/backup/app
  walferry ltx --json https://ferry.example.workers.dev/v1/app"
)]
pub(super) struct Ltx {
    #[command(flatten)]
    source: Source,

    /// Print them, or the error, as JSON
    #[arg(long)]
    json: bool,

    /// Of this level only: 0 to 9, or all
    #[arg(long, value_name = "LEVEL", default_value = "all", value_parser = values::levels)]
    level: values::Levels,
}

pub(super) async fn run(arguments: Ltx, signals: Signals) -> Result<(), Failure> {
    let listing = async {
        let chosen = arguments.source.choose(Target::Latest).await?;
        chosen.destination.require()?;
        let store = Patient::new(chosen.store);
        let listed = match arguments.level.0 {
            Some(level) => store.list(level, Txid::ZERO).await,
            None => store.list_all(Txid::ZERO).await,
        };
        listed.map_err(Failure::from)
    };
    let segments = tokio::select! {
        segments = listing => segments?,
        signal = signals.first() => return Err(Failure::new(Class::Interrupted(signal), "broken off")),
    };
    if arguments.json {
        output::json(&segments)
    } else {
        output::text(&table(&segments))
    }
}

fn table(segments: &[SegmentInfo]) -> String {
    let mut table = format!(
        "{:5}  {:16}  {:16}  {:>12}  created\n",
        "level", "min_txid", "max_txid", "size"
    );
    for segment in segments {
        let time = segment
            .timestamp
            .and_then(|time| jiff::Timestamp::from_millisecond(time.0).ok());
        let time = time.map_or_else(|| "-".to_owned(), |time| format!("{time:.3}"));
        let (id, size) = (segment.id, segment.size);
        // Writing to a string does not fail.
        let _ = writeln!(
            table,
            "{:5}  {}  {}  {size:>12}  {time}",
            id.level.to_string(),
            id.min,
            id.max
        );
    }
    table
}
