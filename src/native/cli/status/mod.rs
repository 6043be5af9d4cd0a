//! `walferry status`

mod report;
mod table;

use std::path::PathBuf;

use clap::Args;

use self::report::Report;
use self::table::Table;
use super::config_file::ConfigFile;
use super::failure::{Class, Failure};
use super::output;
use super::signals::Signals;
use crate::native::metrics::{Address, Page, scrape};
use crate::native::store::{Access, Destination};

/// Ask replicas how they are
///
/// One by its URL: its newest and its oldest state, its size by level, and what it costs a month. With the database,
/// how far the replica is behind it. With the address of the running walferry's metrics, the requests that it has
/// counted, what they come to in a month, and how the last restore drill went.
///
/// Without a URL, all replicas of a configuration in a table, or those of one of its databases. Exits with 0 when
/// all of them could be asked, and none is empty, damaged, or failed its last drill.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry status -config /etc/litestream.yml
  walferry status --json -config app.yml /srv/app.db
  walferry status s3://my-app-backups/app.db
  walferry status -addr :9090 -db /srv/app.db s3://my-app-backups/app.db")]
pub(super) struct Status {
    /// The replica: s3://bucket/path, gs://bucket/path, abs://account@container/path, file:///path, or
    /// https://host/v1/name with its token in WALFERRY_TOKEN; or a database of the configuration
    #[arg(value_name = "URL|DB")]
    of: Option<String>,

    #[command(flatten)]
    config: ConfigFile,

    /// Allow plain http:// to other machines: token and data travel unencrypted
    #[arg(long)]
    insecure: bool,

    /// The database that is replicated to the URL
    #[arg(long, value_name = "DB")]
    db: Option<PathBuf>,

    /// Where the walferry that runs tells its metrics [default: the configuration's addr, if it answers]
    #[arg(long, value_name = "ADDRESS")]
    addr: Option<Address>,

    /// Print it, or the error, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Status, signals: Signals) -> Result<(), Failure> {
    tokio::select! {
        done = tell(&arguments) => done,
        signal = signals.first() => Err(Failure::new(Class::Interrupted(signal), "broken off")),
    }
}

async fn tell(arguments: &Status) -> Result<(), Failure> {
    let url = arguments.of.as_deref().filter(|of| of.contains("://"));
    let Some(url) = url else {
        let table = table(arguments).await?;
        match arguments.json {
            true => output::json(&table)?,
            false => output::text(&table.text())?,
        }
        return table.failure().map_or(Ok(()), |class| Err(Failure::told(class)));
    };
    let destination = Destination::parse(url, arguments.insecure)?;
    let running = match &arguments.addr {
        Some(address) => Some(running(address).await?),
        None => None,
    };
    let access = Access::from_environment();
    let report = Report::ask(&destination, &access, arguments.db.as_deref(), running.as_ref()).await?;
    if let (Some(address), None) = (&arguments.addr, &report.counted) {
        return Err(Failure::new(
            Class::Input,
            format!("the walferry at {address} has no replica {destination}"),
        ));
    }
    match arguments.json {
        true => output::json(&report),
        false => output::text(&report.text()),
    }
}

async fn table(arguments: &Status) -> Result<Table, Failure> {
    if arguments.db.is_some() {
        return Err(Failure::new(
            Class::Usage,
            "--db goes with a URL; a database of the configuration needs no option",
        ));
    }
    let config = arguments.config.load()?;
    let running = match (&arguments.addr, &config.addr) {
        (Some(address), _) => Some(running(address).await?),
        (None, Some(address)) => running(address).await.ok(),
        (None, None) => None,
    };
    Table::ask(config, arguments.of.as_deref(), running.as_ref()).await
}

async fn running(address: &Address) -> Result<Page, Failure> {
    scrape(address).await.map_err(|error| {
        Failure::new(
            Class::Unreachable,
            format!("no metrics at {address}: {error}; is walferry running there, with this addr?"),
        )
    })
}
