//! What `walferry status` says of one replica.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use serde::Serialize;

use super::super::failure::{Class, Failure};
use crate::ltx::Timestamp;
use crate::native::metrics::Page;
use crate::native::prices::{self, Prices};
use crate::native::store::{Access, Destination, Kind, Patient};
use crate::native::survey::{Moment, Survey, survey};

/// How much later than the newest segment a file may have been written and still be in it: a segment's time is that
/// of the look at the WAL, which comes after the write.
const SAME_TIME: Duration = Duration::from_millis(50);

/// A replica, as it was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) replica: String,
    kind: &'static str,
    #[serde(flatten)]
    pub(super) survey: Survey,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) local: Option<Local>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) counted: Option<Counted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) drill: Option<Drill>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cost: Option<Cost>,
}

/// The database against its replica.
#[derive(Debug, Serialize)]
pub(super) struct Local {
    database: PathBuf,
    /// When it was written last.
    written: Timestamp,
    /// How much later that is than the newest state of the replica; 0 where it is not.
    pub(super) behind_seconds: f64,
}

/// What the running walferry has counted.
#[derive(Debug, Serialize)]
pub(super) struct Counted {
    seconds: f64,
    put: f64,
    get: f64,
    list: f64,
    head: f64,
    delete: f64,
}

/// What restore drills found (`verify-interval`).
#[derive(Debug, Serialize)]
pub(super) struct Drill {
    /// Whether the last one proved the replica.
    pub(super) ok: bool,
    /// When one last did.
    proven: Option<Timestamp>,
}

/// In US dollars a month.
#[derive(Debug, Serialize)]
pub(super) struct Cost {
    provider: &'static str,
    source: &'static str,
    pub(super) storage: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requests: Option<f64>,
}

impl Report {
    /// Asks the replica, and reads what the walferry that runs has told, if that is known.
    pub(super) async fn ask(
        destination: &Destination,
        access: &Access,
        database: Option<&Path>,
        running: Option<&Page>,
    ) -> Result<Self, Failure> {
        destination.require()?;
        let store = Patient::new(destination.open(access)?);
        let survey = survey(&store).await.map_err(|error| {
            Failure::from(error).while_doing(format!("{destination} cannot be looked at"))
        })?;
        let counted = running.and_then(|page| Counted::read(page, destination));
        let local = database.map(|db| local(db, survey.newest)).transpose()?;
        let cost = prices::at(destination).map(|prices| Cost {
            provider: prices.provider,
            source: prices.source,
            storage: prices.storage(survey.bytes),
            requests: counted.as_ref().map(|counted| counted.a_month(&prices)),
        });
        Ok(Self {
            replica: destination.to_string(),
            kind: destination.kind(),
            survey,
            local,
            counted,
            drill: running.and_then(|page| Drill::read(page, destination)),
            cost,
        })
    }
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

impl Counted {
    /// `None` where that walferry does not know the replica.
    fn read(page: &Page, destination: &Destination) -> Option<Self> {
        let name = destination.to_string();
        let of = |kind: Kind| {
            page.sum(
                "walferry_requests_total",
                &[("replica", &name), ("kind", kind.name())],
            )
        };
        Some(Self {
            seconds: page.sum("walferry_uptime_seconds", &[]).unwrap_or_default(),
            put: of(Kind::Put)?,
            get: of(Kind::Get).unwrap_or_default(),
            list: of(Kind::List).unwrap_or_default(),
            head: of(Kind::Head).unwrap_or_default(),
            delete: of(Kind::Delete).unwrap_or_default(),
        })
    }

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

impl Drill {
    /// `None` where there has been none.
    fn read(page: &Page, destination: &Destination) -> Option<Self> {
        let name = destination.to_string();
        let of = |metric: &str| page.sum(metric, &[("replica", &name)]);
        Some(Self {
            ok: of("walferry_verify_ok")? > 0.0,
            proven: of("walferry_verify_success_timestamp_seconds")
                .map(|seconds| Timestamp((seconds * 1000.0) as i64)),
        })
    }
}

impl Report {
    pub(super) fn text(&self) -> String {
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
        if let Some(drill) = &self.drill {
            let proven = drill.proven.map_or("never".to_owned(), time);
            line(
                "verified",
                match drill.ok {
                    true => format!("the last drill proved it: {proven}"),
                    false => format!("the last drill failed, the log says why; proven last: {proven}"),
                },
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

pub(super) fn moment(moment: Moment) -> String {
    format!("{} of {}", moment.txid, time(moment.time))
}

fn time(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(time.0);
    time.map_or_else(|_| "an unknown time".to_owned(), |time| format!("{time:.3}"))
}
