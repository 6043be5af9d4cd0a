//! Metrics in Prometheus' text format.

use std::fmt::{self, Write};

use super::report::Report;

/// A value; times are milliseconds here, and seconds there.
enum Value {
    Number(u64),
    Time(i64),
}

/// One family: its name, its kind, what it says, and the value of a database, if it has one.
type Family = (
    &'static str,
    &'static str,
    &'static str,
    fn(&Report) -> Option<Value>,
);

const FAMILIES: [Family; 10] = [
    (
        "txid",
        "gauge",
        "The transaction where the replica stands.",
        |report| number(report.position.txid.0),
    ),
    ("database_bytes", "gauge", "Size of the database.", |report| {
        let page_size = u64::from(report.page_size?.get());
        number(page_size.saturating_mul(u64::from(report.commit)))
    }),
    (
        "objects",
        "gauge",
        "Objects at all levels, in R2 or kept by the database's own object.",
        |report| number(report.segments),
    ),
    ("stored_bytes", "gauge", "Their bytes.", |report| {
        number(report.bytes)
    }),
    (
        "followers",
        "gauge",
        "Connections that follow the database.",
        |report| number(report.followers as u64),
    ),
    (
        "last_upload_timestamp_seconds",
        "gauge",
        "When the last upload was committed.",
        |report| report.last_upload.map(Value::Time),
    ),
    (
        "lag_seconds",
        "gauge",
        "From when the last upload's transaction was seen until it was committed.",
        |report| report.lag_ms.map(Value::Time),
    ),
    (
        "uploads_total",
        "counter",
        "Uploads that were committed.",
        |report| number(report.uploads),
    ),
    ("uploaded_bytes_total", "counter", "Bytes of uploads.", |report| {
        number(report.uploaded_bytes)
    }),
    (
        "upkeep_failures",
        "gauge",
        "How often upkeep has failed in a row; 0 is well.",
        |report| number(u64::from(report.upkeep_failures)),
    ),
];

/// Those reports, of so many databases.
pub(super) fn text(reports: &[Report], databases: usize) -> String {
    let mut out = String::new();
    let left_out = databases.saturating_sub(reports.len());
    for (name, help, count) in [
        ("databases", "Databases that have reported.", databases),
        (
            "databases_left_out",
            "Those of them that are not told of here, the last by name.",
            left_out,
        ),
    ] {
        head(&mut out, name, "gauge", help);
        let _ = writeln!(out, "walferry_worker_{name} {count}");
    }
    for (name, kind, help, value) in FAMILIES {
        head(&mut out, name, kind, help);
        for report in reports {
            if let Some(value) = value(report) {
                let _ = writeln!(
                    out,
                    "walferry_worker_{name}{{database=\"{}\"}} {value}",
                    report.name
                );
            }
        }
    }
    let help = "Uploads that were refused, by the code of the answer.";
    head(&mut out, "refused_uploads_total", "counter", help);
    for report in reports {
        for (code, count) in &report.refused {
            let labels = format_args!("database=\"{}\",reason=\"{code}\"", report.name);
            let _ = writeln!(out, "walferry_worker_refused_uploads_total{{{labels}}} {count}");
        }
    }
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(
        out,
        "# HELP walferry_worker_{name} {help}\n# TYPE walferry_worker_{name} {kind}"
    );
}

fn number(number: u64) -> Option<Value> {
    Some(Value::Number(number))
}

/// Formatting floating point would take 10 kB.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Time(millis) => write!(f, "{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000)),
        }
    }
}
