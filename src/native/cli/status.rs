//! `walferry status`

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use clap::Args;
use serde::Serialize;

use super::failure::{Class, Failure};
use super::output;
use super::signals::Signals;
use crate::ltx::Timestamp;
use crate::native::metrics::{Address, scrape};
use crate::native::prices::{self, Prices};
use crate::native::store::{Access, Destination, Kind, Patient};
use crate::native::survey::{Moment, Survey, survey};

/// How much later than the newest segment a file may have been written and still be in it: a segment's time is that
/// of the look at the WAL, which comes after the write.
const SAME_TIME: Duration = Duration::from_millis(50);

/// Ask a replica how it is
///
/// Its newest and its oldest state, its size by level, and what it costs a month. With the database, how far the
/// replica is behind it. With the address of the running walferry's metrics, the requests that it has counted, and
/// what they come to in a month.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry status s3://my-app-backups/app.db
  walferry status --json -db /srv/app.db s3://my-app-backups/app.db
  walferry status -addr :9090 -db /srv/app.db s3://my-app-backups/app.db")]
pub(super) struct Status {
    #[command(flatten)]
    replica: super::args::Replica,

    /// The database that is replicated there
    #[arg(long, value_name = "DB")]
    db: Option<PathBuf>,

    /// Where the walferry that runs tells its metrics
    #[arg(long, value_name = "ADDRESS")]
    addr: Option<Address>,

    /// Print it, or the error, as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    replica: String,
    kind: &'static str,
    #[serde(flatten)]
    survey: Survey,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<Local>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: Option<Counted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
}

/// The database against its replica.
#[derive(Debug, Serialize)]
struct Local {
    database: PathBuf,
    /// When it was written last.
    written: Timestamp,
    /// How much later that is than the newest state of the replica; 0 where it is not.
    behind_seconds: f64,
}

/// What the running walferry has counted.
#[derive(Debug, Serialize)]
struct Counted {
    seconds: f64,
    put: f64,
    get: f64,
    list: f64,
    head: f64,
    delete: f64,
}

/// In US dollars a month.
#[derive(Debug, Serialize)]
struct Cost {
    provider: &'static str,
    source: &'static str,
    storage: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<f64>,
}

pub(super) async fn run(arguments: Status, signals: Signals) -> Result<(), Failure> {
    let report = tokio::select! {
        report = report(&arguments) => report?,
        signal = signals.first() => return Err(Failure::new(Class::Interrupted(signal), "broken off")),
    };
    if arguments.json {
        output::json(&report)
    } else {
        output::text(&report.text())
    }
}

async fn report(arguments: &Status) -> Result<Report, Failure> {
    let destination = Destination::parse(&arguments.replica.url, arguments.replica.insecure)?;
    destination.require()?;
    let store = Patient::new(destination.open(&Access::from_environment())?);
    let survey = survey(&store)
        .await
        .map_err(|error| Failure::from(error).while_doing(format!("{destination} cannot be looked at")))?;
    let counted = match &arguments.addr {
        Some(address) => Some(counted(address, &destination).await?),
        None => None,
    };
    let local = arguments
        .db
        .as_deref()
        .map(|db| local(db, survey.newest))
        .transpose()?;
    let cost = prices::at(&destination).map(|prices| Cost {
        provider: prices.provider,
        source: prices.source,
        storage: prices.storage(survey.bytes),
        requests: counted.as_ref().map(|counted| counted.a_month(&prices)),
    });
    Ok(Report {
        replica: destination.to_string(),
        kind: destination.kind(),
        survey,
        local,
        counted,
        cost,
    })
}

/// When the database was written last: its WAL where there is one, for a checkpoint writes the file, too.
fn local(database: &Path, newest: Moment) -> Result<Local, Failure> {
    let mut wal = database.as_os_str().to_owned();
    wal.push("-wal");
    let metadata = std::fs::metadata(&wal).ok().filter(|metadata| metadata.len() > 0);
    let metadata = metadata.map_or_else(|| std::fs::metadata(database), Ok);
    let written = metadata
        .and_then(|metadata| metadata.modified())
        .map_err(|error| {
            Failure::new(
                Class::Input,
                format!("cannot look at {}: {error}", database.display()),
            )
        })?;
    let since = written.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let shipped = Duration::from_millis(u64::try_from(newest.time.0).unwrap_or_default());
    let behind = since.saturating_sub(shipped);
    Ok(Local {
        database: database.to_owned(),
        written: Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        behind_seconds: if behind > SAME_TIME {
            behind.as_secs_f64()
        } else {
            0.0
        },
    })
}

async fn counted(address: &Address, destination: &Destination) -> Result<Counted, Failure> {
    let page = scrape(address).await.map_err(|error| {
        Failure::new(
            Class::Unreachable,
            format!("no metrics at {address}: {error}; is walferry running there, with this addr?"),
        )
    })?;
    let name = destination.to_string();
    let of = |kind: Kind| {
        page.sum(
            "walferry_requests_total",
            &[("replica", &name), ("kind", kind.name())],
        )
    };
    let unknown = || {
        Failure::new(
            Class::Input,
            format!("the walferry at {address} has no replica {name}"),
        )
    };
    Ok(Counted {
        seconds: page.sum("walferry_uptime_seconds", &[]).unwrap_or_default(),
        put: of(Kind::Put).ok_or_else(unknown)?,
        get: of(Kind::Get).unwrap_or_default(),
        list: of(Kind::List).unwrap_or_default(),
        head: of(Kind::Head).unwrap_or_default(),
        delete: of(Kind::Delete).unwrap_or_default(),
    })
}

impl Counted {
    fn of(&self, kind: Kind) -> f64 {
        match kind {
            Kind::Put => self.put,
            Kind::Get => self.get,
            Kind::List => self.list,
            Kind::Head => self.head,
            Kind::Delete => self.delete,
        }
    }

    /// What it would come to if a month went on like this.
    fn a_month(&self, prices: &Prices) -> f64 {
        const MONTH: f64 = 30.0 * 86_400.0;
        prices.requests(|kind| self.of(kind)) * MONTH / self.seconds.max(1.0)
    }
}

impl Report {
    fn text(&self) -> String {
        let survey = &self.survey;
        let mut text = format!("{}\n", self.replica);
        // Writing to a string does not fail.
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<10} {value}");
        };
        line("newest", moment(survey.newest));
        line("oldest", moment(survey.oldest));
        line(
            "database",
            format!(
                "{}, pages of {} bytes",
                ByteSize(survey.database_bytes),
                survey.page_size
            ),
        );
        line(
            "replica",
            format!("{} in {} objects", ByteSize(survey.bytes), survey.objects),
        );
        for shelf in &survey.levels {
            let name = if shelf.level.len() == 1 {
                format!("level {}", shelf.level)
            } else {
                shelf.level.clone()
            };
            line(
                &format!("  {name}"),
                format!("{} in {}", ByteSize(shelf.bytes), shelf.objects),
            );
        }
        if let Some(local) = &self.local {
            let behind = if local.behind_seconds == 0.0 {
                "the replica has everything".to_owned()
            } else {
                format!(
                    "written {:.1} s after the newest state of the replica",
                    local.behind_seconds
                )
            };
            line("local", format!("{}: {behind}", local.database.display()));
        }
        if let Some(counted) = &self.counted {
            let Counted {
                seconds,
                put,
                get,
                list,
                head,
                delete,
            } = counted;
            line(
                "requests",
                format!(
                    "{put} PUT, {get} GET, {list} LIST, {head} HEAD, {delete} DELETE in {:.1} h",
                    seconds / 3600.0
                ),
            );
        }
        if let Some(cost) = &self.cost {
            let requests = cost.requests.map_or_else(String::new, |requests| {
                format!(" + ${requests:.2} for requests if they go on like this")
            });
            line(
                "a month",
                format!("${:.2} for storage{requests} ({})", cost.storage, cost.provider),
            );
        }
        text
    }
}

fn moment(moment: Moment) -> String {
    let time = jiff::Timestamp::from_millisecond(moment.time.0);
    let time = time.map_or_else(|_| "an unknown time".to_owned(), |time| format!("{time:.3}"));
    format!("{} of {time}", moment.txid)
}
