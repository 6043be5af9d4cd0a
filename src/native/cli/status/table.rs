//! All replicas of a configuration.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use futures_util::StreamExt;
use serde::Serialize;

use super::super::failure::{Class, Failure};
use super::report::{Report, moment};
use crate::native::config::{Config, Database, Replica};
use crate::native::fleet;
use crate::native::metrics::Page;

/// How many are asked at a time.
const AT_ONCE: usize = 8;

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Table(Vec<Row>);

/// A replica of a database.
#[derive(Debug, Serialize)]
struct Row {
    database: PathBuf,
    status: Health,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(flatten)]
    answer: Answer,
    #[serde(skip)]
    class: Option<Class>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    Report(Box<Report>),
    None { replica: String, kind: &'static str },
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    /// It has everything that is in the database's files.
    Ok,
    /// The database was written since.
    Behind,
    /// It cannot be asked, or is no replica, or cannot be restored.
    Failing,
}

impl Table {
    /// Asks the replicas of all databases, or of the one that is named.
    pub(super) async fn ask(
        config: Config,
        only: Option<&str>,
        running: Option<&Page>,
    ) -> Result<Self, Failure> {
        let file = config.file.clone();
        let mut databases = config.databases;
        for (path, found) in fleet::look(&config.folders) {
            match found {
                Ok(database) => databases.push(database),
                Err(why) => tracing::error!(db = %path.display(), "not replicated: {why}"),
            }
        }
        if let Some(only) = only {
            let path = std::path::absolute(only).unwrap_or_else(|_| only.into());
            let path = path.canonicalize().unwrap_or(path);
            databases.retain(|database| database.path == path);
            if databases.is_empty() {
                let (path, file) = (path.display(), file.display());
                return Err(Failure::new(
                    Class::Input,
                    format!("{file} has no database {path}; walferry databases lists them"),
                ));
            }
        }
        let pairs = databases.iter().flat_map(|Database { path, replicas, .. }| {
            replicas.iter().map(move |replica| (path.as_path(), replica))
        });
        let rows = futures_util::stream::iter(pairs)
            .map(|(database, replica)| Row::ask(database, replica, running))
            .buffered(AT_ONCE);
        Ok(Self(rows.collect().await))
    }

    /// The class of the first failure.
    pub(super) fn failure(&self) -> Option<Class> {
        self.0.iter().find_map(|row| row.class)
    }

    pub(super) fn text(&self) -> String {
        let head = ["database", "replica", "status", "newest", "size", "a month"].map(str::to_owned);
        let rows: Vec<[String; 6]> = [head].into_iter().chain(self.0.iter().map(Row::cells)).collect();
        let mut widths = [0; 6];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &rows {
            let cells: Vec<String> = widths
                .iter()
                .zip(row)
                .map(|(width, cell)| format!("{cell:width$}"))
                .collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        for row in &self.0 {
            if let Some(why) = &row.failure {
                text.push_str(&format!("{}: {why}\n", row.database.display()));
            }
        }
        text
    }
}

impl Row {
    async fn ask(database: &Path, replica: &Replica, running: Option<&Page>) -> Self {
        let destination = &replica.destination;
        let asked = Report::ask(destination, &replica.access, Some(database), running).await;
        let database = database.to_owned();
        match asked {
            Err(failure) => Self {
                database,
                status: Health::Failing,
                failure: Some(failure.message),
                answer: Answer::None {
                    replica: destination.to_string(),
                    kind: destination.kind(),
                },
                class: Some(failure.class),
            },
            Ok(report) => {
                let is_damaged = report.drill.as_ref().is_some_and(|drill| !drill.ok);
                let behind = report
                    .local
                    .as_ref()
                    .is_some_and(|local| local.behind_seconds > 0.0);
                Self {
                    database,
                    status: match (is_damaged, behind) {
                        (true, _) => Health::Failing,
                        (false, true) => Health::Behind,
                        (false, false) => Health::Ok,
                    },
                    failure: is_damaged
                        .then(|| format!("the last drill of {destination} failed, the log says why")),
                    answer: Answer::Report(Box::new(report)),
                    class: is_damaged.then_some(Class::Damaged),
                }
            }
        }
    }

    fn cells(&self) -> [String; 6] {
        let database = self.database.display().to_string();
        let status = |word: &str| word.to_owned();
        let report = match &self.answer {
            Answer::None { replica, .. } => {
                let none = String::new;
                return [
                    database,
                    replica.clone(),
                    status("failing"),
                    none(),
                    none(),
                    none(),
                ];
            }
            Answer::Report(report) => report,
        };
        let behind = report.local.as_ref().map_or(0.0, |local| local.behind_seconds);
        let cost = report.cost.as_ref().map_or_else(String::new, |cost| {
            format!("${:.2}", cost.storage + cost.requests.unwrap_or_default())
        });
        [
            database,
            report.replica.clone(),
            match self.status {
                Health::Ok => status("ok"),
                Health::Behind => format!("{behind:.1} s behind"),
                Health::Failing => status("failing"),
            },
            moment(report.survey.newest),
            ByteSize(report.survey.bytes).to_string(),
            cost,
        ]
    }
}
