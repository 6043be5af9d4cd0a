//! `walferry doctor`

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::config_file::ConfigFile;
use super::failure::{Class, Failure};
use super::output;
use super::signals::Signals;
use crate::native::doctor::{self, Finding, Severity};
use crate::native::fleet;
use crate::native::store::{Access, Destination};

/// Find out what cannot work, and what to do about it
///
/// Looks at databases, their folders and file systems, at who else has them open, and at the limits of this machine.
/// Nothing is changed. Run it as the user that runs walferry. Exits with 0 when nothing is in the way, else with the
/// code of the worst that was found.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry doctor /srv/app.db
  walferry doctor -config /etc/litestream.yml
  sudo -u app walferry doctor --json -replica s3://my-app-backups/app.db /srv/app.db")]
pub(super) struct Doctor {
    /// The database files; without any, those of the configuration, with their replicas
    #[arg(value_name = "DB")]
    databases: Vec<PathBuf>,

    /// A replica of the database, to be asked too
    #[arg(long, value_name = "URL", requires = "databases")]
    replica: Vec<String>,

    #[command(flatten)]
    config: ConfigFile,

    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// What was found, by what it was found at.
#[derive(Debug, Default, Serialize)]
struct Diagnosis {
    ok: bool,
    databases: BTreeMap<String, Vec<Finding>>,
    replicas: BTreeMap<String, Vec<Finding>>,
    machine: Vec<Finding>,
}

/// A database, and where it goes.
struct Patient {
    database: PathBuf,
    /// Its local state, if not beside it.
    state: Option<PathBuf>,
    replicas: Vec<(Destination, Access)>,
}

pub(super) async fn run(arguments: Doctor, signals: Signals) -> Result<(), Failure> {
    let patients = patients(&arguments)?;
    let mut diagnosis = tokio::select! {
        diagnosis = examine(&patients) => diagnosis,
        signal = signals.first() => return Err(Failure::new(Class::Interrupted(signal), "broken off")),
    };
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

fn patients(arguments: &Doctor) -> Result<Vec<Patient>, Failure> {
    if arguments.databases.is_empty() {
        let config = arguments.config.load()?;
        let mut databases = config.databases;
        for (path, found) in fleet::look(&config.folders) {
            let refused = |why| {
                Failure::new(
                    Class::Input,
                    format!("{} cannot be replicated: {why}", path.display()),
                )
            };
            databases.push(found.map_err(refused)?);
        }
        // What has no databases yet can be looked at itself.
        let folders = config.folders.into_iter().filter(|folder| !folder.path.is_dir());
        let folders = folders.map(|folder| Patient {
            database: folder.path,
            state: None,
            replicas: Vec::new(),
        });
        let databases = databases.into_iter().map(|database| Patient {
            state: database.treatment.state_of(&database.path),
            database: database.path,
            replicas: database
                .replicas
                .into_iter()
                .map(|replica| (replica.destination, replica.access))
                .collect(),
        });
        return Ok(databases.chain(folders).collect());
    }
    let mut replicas = Vec::new();
    for url in &arguments.replica {
        replicas.push((Destination::parse(url, true)?, Access::from_environment()));
    }
    let one = |database: &PathBuf| Patient {
        database: database.clone(),
        state: None,
        replicas: replicas.clone(),
    };
    Ok(arguments.databases.iter().map(one).collect())
}

async fn examine(patients: &[Patient]) -> Diagnosis {
    let mut diagnosis = Diagnosis {
        machine: doctor::machine(patients.len()),
        ..Diagnosis::default()
    };
    for Patient {
        database,
        state,
        replicas,
    } in patients
    {
        let found = doctor::database(database);
        diagnosis.databases.insert(database.display().to_string(), found);
        for (destination, access) in replicas {
            let found = doctor::replica(destination, access, database, state.clone()).await;
            diagnosis.replicas.insert(destination.to_string(), found);
        }
    }
    diagnosis
}

fn class(finding: &Finding) -> Class {
    match finding.code {
        "descriptors" => Class::Unexpected,
        "unreachable" => Class::Unreachable,
        "denied" => Class::Denied,
        "owned" => Class::Conflict,
        _ => Class::Input,
    }
}

impl Diagnosis {
    fn all(&self) -> impl Iterator<Item = &Finding> {
        self.databases
            .values()
            .chain(self.replicas.values())
            .flatten()
            .chain(&self.machine)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (path, findings) in self.databases.iter().chain(&self.replicas) {
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
