//! `walferry doctor`

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::failure::{Class, Failure};
use super::output;
use super::signals::Signals;
use crate::native::doctor::{self, Finding, Severity};

/// Find out what cannot work, and what to do about it
///
/// Looks at databases, their folders and file systems, at who else has them open, and at the limits of this machine.
/// Nothing is changed. Run it as the user that runs walferry. Exits with 0 when nothing is in the way, else with the
/// code of the worst that was found.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry doctor /srv/app.db
  sudo -u app walferry doctor --json /srv/app.db")]
pub(super) struct Doctor {
    /// The database files
    #[arg(value_name = "DB", required = true)]
    databases: Vec<PathBuf>,

    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// What was found, by what it was found at.
#[derive(Debug, Default, Serialize)]
struct Diagnosis {
    ok: bool,
    databases: BTreeMap<String, Vec<Finding>>,
    machine: Vec<Finding>,
}

pub(super) async fn run(arguments: Doctor, _signals: Signals) -> Result<(), Failure> {
    let mut diagnosis = Diagnosis {
        machine: doctor::machine(arguments.databases.len()),
        ..Diagnosis::default()
    };
    for path in &arguments.databases {
        let found = doctor::database(path);
        diagnosis.databases.insert(path.display().to_string(), found);
    }
    let worst = diagnosis
        .all()
        .find(|finding| finding.severity == Severity::Error);
    let failure = worst.map(|finding| Failure::told(class(finding)));
    diagnosis.ok = failure.is_none();
    if arguments.json {
        output::json(&diagnosis)?;
    } else {
        output::text(&diagnosis.text())?;
    }
    failure.map_or(Ok(()), Err)
}

fn class(finding: &Finding) -> Class {
    match finding.code {
        "descriptors" => Class::Unexpected,
        _ => Class::Input,
    }
}

impl Diagnosis {
    fn all(&self) -> impl Iterator<Item = &Finding> {
        self.databases.values().flatten().chain(&self.machine)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (path, findings) in &self.databases {
            let verdict = if findings.is_empty() {
                ": nothing is in the way"
            } else {
                ""
            };
            let _ = writeln!(text, "{path}{verdict}");
            findings.iter().for_each(|finding| told(&mut text, finding));
        }
        if !self.machine.is_empty() {
            text.push_str("this machine\n");
            self.machine.iter().for_each(|finding| told(&mut text, finding));
        }
        text
    }
}

fn told(text: &mut String, finding: &Finding) {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let _ = writeln!(text, "  {severity}: {}.\n    {}", finding.finding, finding.remedy);
}
