//! `walferry version`

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::output;

/// Print the version
#[derive(Debug, Args)]
pub(super) struct Version {
    /// What it is built of, too
    #[arg(long)]
    verbose: bool,

    /// Print all that as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Build {
    version: &'static str,
    sqlite: &'static str,
    os: &'static str,
    arch: &'static str,
    /// Litestream that reads what is written by default, and newer.
    litestream: &'static str,
}

pub(super) fn run(arguments: &Version) -> Result<(), Failure> {
    let build = Build {
        version: env!("CARGO_PKG_VERSION"),
        sqlite: rusqlite::version(),
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
        litestream: "0.5.16",
    };
    if arguments.json {
        return output::json(&build);
    }
    let Build {
        version,
        sqlite,
        os,
        arch,
        litestream,
    } = build;
    let mut text = format!("walferry {version}\n");
    if arguments.verbose {
        text.push_str(&format!(
            "SQLite {sqlite}\n{os} {arch}\nreadable by Litestream {litestream} and later (codec lz4)\n"
        ));
    }
    output::text(&text)
}
