//! `walferry databases`

use clap::Args;
use serde::Serialize;

use super::config_file::ConfigFile;
use super::failure::Failure;
use super::output;
use crate::native::config::Replica;

/// List the databases of a configuration, and where they go
#[derive(Debug, Args)]
pub(super) struct Databases {
    #[command(flatten)]
    config: ConfigFile,

    /// Print them, or the error, as JSON
    #[arg(long)]
    json: bool,
}

/// A database, or a folder of them.
#[derive(Debug, Serialize)]
struct Row {
    path: String,
    /// Names of the files of a folder that are databases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    replicas: Vec<String>,
}

pub(super) fn run(arguments: &Databases) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let urls = |replicas: &[Replica]| {
        replicas
            .iter()
            .map(|replica| replica.destination.to_string())
            .collect()
    };
    let databases = config.databases.iter().map(|database| Row {
        path: database.path.display().to_string(),
        pattern: None,
        replicas: urls(&database.replicas),
    });
    let folders = config.folders.iter().map(|folder| Row {
        path: folder.path.display().to_string(),
        pattern: Some(folder.pattern.glob().to_string()),
        replicas: urls(folder.replicas()),
    });
    let rows: Vec<Row> = databases.chain(folders).collect();
    if arguments.json {
        return output::json(&rows);
    }
    let place = |row: &Row| match &row.pattern {
        Some(pattern) => format!("{}/{pattern}", row.path),
        None => row.path.clone(),
    };
    let width = rows
        .iter()
        .map(|row| place(row).len())
        .max()
        .unwrap_or_default()
        .max(4);
    let mut text = format!("{:width$}  replicas\n", "path");
    for row in &rows {
        text.push_str(&format!("{:width$}  {}\n", place(row), row.replicas.join(" ")));
    }
    output::text(&text)
}
