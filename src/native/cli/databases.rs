//! `walferry databases`

use clap::Args;
use serde::Serialize;

use super::config_file::ConfigFile;
use super::failure::Failure;
use super::output;
use crate::native::config::Replica;
use crate::native::fleet::look;

/// List the databases of a configuration, and where they go
///
/// Of a folder, its pattern and the databases that are in it now.
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
    let mut rows: Vec<Row> = databases.collect();
    for folder in &config.folders {
        rows.push(Row {
            path: folder.path.display().to_string(),
            pattern: Some(folder.pattern.glob().to_string()),
            replicas: urls(folder.replicas()),
        });
        // What is in it now.
        for (path, database) in look(std::slice::from_ref(folder)) {
            match database {
                Ok(database) => rows.push(Row {
                    path: path.display().to_string(),
                    pattern: None,
                    replicas: urls(&database.replicas),
                }),
                Err(why) => tracing::warn!("{}: {why}", path.display()),
            }
        }
    }
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
