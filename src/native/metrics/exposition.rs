//! `/metrics`: the state of everything, as Prometheus reads it.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::process;
use crate::ltx::Timestamp;
use crate::native::status::{DatabaseStatus, ReplicaStatus};
use crate::native::store::{Kind, Meter};

/// What [`text`] is, to Prometheus.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The whole page.
pub(super) fn page<'a>(
    databases: impl Iterator<Item = &'a DatabaseStatus> + Clone,
    now: Timestamp,
    uptime: Duration,
) -> Result<String, fmt::Error> {
    let mut sheet = Sheet::default();
    sheet.process(databases.clone().count(), uptime);
    for database in databases {
        sheet.database(database);
        for replica in &database.replicas {
            sheet.replica(database, replica, now);
        }
    }
    let mut registry = Registry::default();
    registry.register_collector(Box::new(sheet));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

type Labels = Vec<(&'static str, String)>;

/// All metrics, each with its samples.
#[derive(Debug, Default)]
struct Sheet(Vec<Metric>);

#[derive(Debug)]
struct Metric {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: Vec<(Labels, f64)>,
}

impl Sheet {
    fn process(&mut self, databases: usize, uptime: Duration) {
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        self.gauge("walferry_build", "The version that runs; always 1.", version, 1.0);
        let help = "Databases that are followed.";
        self.gauge("walferry_databases", help, Labels::new(), count(databases as u64));
        let help = "Time since the endpoint started: counters count from there.";
        self.gauge(
            "walferry_uptime_seconds",
            help,
            Labels::new(),
            uptime.as_secs_f64(),
        );
        let Some(usage) = process::usage() else { return };
        let none = Labels::new;
        self.counter(
            "process_cpu_seconds",
            "Processor time used, user and system.",
            none(),
            usage.cpu_seconds,
        );
        self.gauge(
            "process_resident_memory_bytes",
            "Memory in use.",
            none(),
            count(usage.resident_bytes),
        );
        self.gauge(
            "process_open_fds",
            "Open file descriptors.",
            none(),
            count(usage.open_files),
        );
        if let Some(limit) = usage.files_limit {
            self.gauge("process_max_fds", "How many may be open.", none(), count(limit));
        }
    }

    fn database(&mut self, database: &DatabaseStatus) {
        let labels = || vec![("db", database.path.display().to_string())];
        let up = database.failure.borrow().is_none();
        self.gauge(
            "walferry_database_up",
            "Whether the database can be followed.",
            labels(),
            flag(up),
        );
        self.gauge(
            "walferry_database_size_bytes",
            "Size of the database.",
            labels(),
            count(database.database_bytes.get()),
        );
        self.gauge(
            "walferry_wal_size_bytes",
            "Size of its WAL up to the newest commit.",
            labels(),
            count(database.wal_bytes.get()),
        );
        self.counter(
            "walferry_checkpoints",
            "Checkpoints by walferry.",
            labels(),
            count(database.checkpoints.get()),
        );
        self.counter(
            "walferry_write_lock_seconds",
            "Time for which walferry held the write lock.",
            labels(),
            seconds(database.locked_micros.get()),
        );
        self.gauge(
            "walferry_write_lock_longest_seconds",
            "The longest single time for which walferry held the write lock.",
            labels(),
            seconds(database.longest_lock_micros.get()),
        );
    }

    fn replica(&mut self, database: &DatabaseStatus, replica: &ReplicaStatus, now: Timestamp) {
        let labels = || {
            vec![
                ("db", database.path.display().to_string()),
                ("replica", replica.name.clone()),
            ]
        };
        let up = replica.failure.borrow().is_none();
        self.gauge(
            "walferry_replica_up",
            "Whether the last request to the replica succeeded.",
            labels(),
            flag(up),
        );
        self.gauge(
            "walferry_replication_lag_seconds",
            "Age of the oldest commit that the replica has not confirmed; 0 while it has everything.",
            labels(),
            replica.lag(now).as_secs_f64(),
        );
        if let Some(at) = replica.last_success.get() {
            let help = "When the replica last confirmed something, or was found to have everything.";
            self.gauge("walferry_last_sync_timestamp_seconds", help, labels(), unix(at));
        }
        if let Some(position) = replica.confirmed.get() {
            let help = "The transaction up to which the replica has everything.";
            self.gauge("walferry_position_txid", help, labels(), count(position.txid.0));
        }
        self.gauge(
            "walferry_waiting_bytes",
            "Bytes of segments that wait to be confirmed.",
            labels(),
            count(replica.waiting_bytes.get()),
        );
        self.counter(
            "walferry_segments",
            "Segments confirmed.",
            labels(),
            count(replica.segments.get()),
        );
        self.counter(
            "walferry_errors",
            "Attempts that failed.",
            labels(),
            count(replica.errors.get()),
        );
        if let Some(meter) = replica.meter.get() {
            self.requests(meter, &labels());
        }
        self.counter(
            "walferry_compactions",
            "Compactions.",
            labels(),
            count(replica.compactions.get()),
        );
        self.counter(
            "walferry_snapshots",
            "Snapshots taken.",
            labels(),
            count(replica.snapshots.get()),
        );
        if let Some(verified) = &*replica.verified.borrow() {
            let ok = verified.failure.is_none();
            let help = "Whether the last restore drill proved the replica.";
            self.gauge("walferry_verify_ok", help, labels(), flag(ok));
            let help = "How long the last restore drill took.";
            self.gauge(
                "walferry_verify_duration_seconds",
                help,
                labels(),
                verified.seconds,
            );
        }
        if let Some(at) = replica.last_verified.get() {
            let help = "When a restore drill last proved the replica.";
            self.gauge(
                "walferry_verify_success_timestamp_seconds",
                help,
                labels(),
                unix(at),
            );
        }
    }

    fn requests(&mut self, meter: &Meter, labels: &Labels) {
        for kind in Kind::ALL {
            let with = || {
                let mut labels = labels.clone();
                labels.push(("kind", kind.name().to_owned()));
                labels
            };
            let help = "Requests to the replica, failed ones too.";
            self.counter("walferry_requests", help, with(), count(meter.requests(kind)));
            let help = "Time until requests to the replica were answered.";
            self.counter("walferry_request_seconds", help, with(), meter.seconds(kind));
            let help = "Bytes of content sent to the replica.";
            self.counter("walferry_sent_bytes", help, with(), count(meter.bytes_sent(kind)));
            let help = "Bytes of content received from the replica.";
            self.counter(
                "walferry_received_bytes",
                help,
                with(),
                count(meter.bytes_received(kind)),
            );
        }
        for (kind, code, errors) in meter.errors() {
            let mut labels = labels.clone();
            labels.push(("kind", kind.name().to_owned()));
            labels.push(("code", code));
            let help = "Requests to the replica that ended badly.";
            self.counter("walferry_request_errors", help, labels, count(errors));
        }
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, labels: Labels, value: f64) {
        self.sample(MetricType::Gauge, name, help, labels, value);
    }

    /// Its name on the page ends in `_total`.
    fn counter(&mut self, name: &'static str, help: &'static str, labels: Labels, value: f64) {
        self.sample(MetricType::Counter, name, help, labels, value);
    }

    fn sample(
        &mut self,
        kind: MetricType,
        name: &'static str,
        help: &'static str,
        labels: Labels,
        value: f64,
    ) {
        let sample = (labels, value);
        match self.0.iter_mut().find(|metric| metric.name == name) {
            Some(metric) => metric.samples.push(sample),
            None => self.0.push(Metric {
                name,
                help,
                kind,
                samples: vec![sample],
            }),
        }
    }
}

impl Collector for Sheet {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for metric in &self.0 {
            // The encoder adds a full stop to the help.
            let help = metric.help.trim_end_matches('.');
            let mut family = encoder.encode_descriptor(metric.name, help, None, metric.kind)?;
            for (labels, value) in &metric.samples {
                if labels.is_empty() {
                    write(&mut family, metric.kind, *value)?;
                } else {
                    write(&mut family.encode_family(labels)?, metric.kind, *value)?;
                }
            }
        }
        Ok(())
    }
}

fn write(sample: &mut MetricEncoder<'_>, kind: MetricType, value: f64) -> fmt::Result {
    match kind {
        MetricType::Counter => sample.encode_counter::<NoLabelSet, _, f64>(&value, None),
        _ => sample.encode_gauge(&value),
    }
}

fn count(number: u64) -> f64 {
    number as f64
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

fn unix(time: Timestamp) -> f64 {
    time.0 as f64 / 1000.0
}
