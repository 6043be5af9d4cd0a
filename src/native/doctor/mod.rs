//! Looks for what cannot work, before it fails at night: each finding says what is the matter, and what to do.
//!
//! Nothing is changed: no file is made, no lock is taken. The database is read as a plain file; of its schema, a copy
//! of what is on the disk is enough.

mod filesystem;
mod header;
mod leftovers;
mod limits;
mod locks;
mod permissions;
mod replica;

pub use limits::machine;
pub use replica::replica;

use std::path::Path;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Replication cannot work.
    Error,
    /// It works now, and will not, or not well.
    Warning,
    /// Good to know.
    Note,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A word for programs.
    pub code: &'static str,
    /// What is the matter: a sentence.
    pub finding: String,
    /// What to do: a sentence.
    pub remedy: String,
}

impl Finding {
    /// Replication cannot work.
    pub fn error(code: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, finding, remedy)
    }

    /// It works now, and will not, or not well.
    pub fn warning(code: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, finding, remedy)
    }

    /// Good to know.
    pub fn note(code: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, finding, remedy)
    }

    fn new(
        severity: Severity,
        code: &'static str,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            code,
            finding: finding.into(),
            remedy: remedy.into(),
        }
    }
}

/// Looks at a database and its surroundings; the worst comes first.
pub fn database(path: &Path) -> Vec<Finding> {
    let path = match path.canonicalize() {
        Ok(path) => path,
        Err(error) => return vec![permissions::unreachable(path, &error)],
    };
    let mut findings = permissions::findings(&path);
    findings.extend(filesystem::findings(&path));
    let readable = !findings.iter().any(|finding| finding.code == "unreadable");
    if readable {
        findings.extend(header::findings(&path));
        findings.extend(locks::findings(&path));
    }
    findings.extend(leftovers::findings(&path));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// The file that belongs to a database: `-wal`, `-shm`.
fn beside(database: &Path, suffix: &str) -> std::path::PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Its last name, for folders made from it.
fn file_name(database: &Path) -> String {
    database
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
