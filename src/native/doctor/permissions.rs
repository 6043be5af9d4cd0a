//! Who may read and write what.

use std::fs::Metadata;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::geteuid;

use super::{Finding, beside, file_name};

/// A database whose path leads nowhere.
pub(super) fn unreachable(path: &Path, error: &Error) -> Finding {
    let shown = path.display();
    match error.kind() {
        ErrorKind::PermissionDenied => Finding::error(
            "unreadable",
            format!(
                "{shown} cannot be reached: a folder on the way to it does not let uid {} in",
                euid()
            ),
            "Run walferry as the user that owns the database, or let its group into the folders (chmod g+x).",
        ),
        _ => Finding::error(
            "missing",
            format!("{shown} does not exist"),
            "Check the path. If the application has not made it yet, start the application first, or \
             let walferry restore it (-restore-if-db-not-exists).",
        ),
    }
}

pub(super) fn findings(database: &Path) -> Vec<Finding> {
    let shown = database.display();
    let metadata = match std::fs::metadata(database) {
        Ok(metadata) => metadata,
        Err(error) => return vec![unreachable(database, &error)],
    };
    if !metadata.is_file() {
        return vec![Finding::error(
            "not-a-file",
            format!("{shown} is not a file"),
            "Name the database file itself; a folder of databases is written `dir:` in the config.",
        )];
    }
    let mut findings = Vec::new();
    if !may(database, Access::READ_OK) {
        findings.push(Finding::error(
            "unreadable",
            format!(
                "{shown} cannot be read by uid {}: it belongs to {}",
                euid(),
                owner(&metadata)
            ),
            as_owner(&metadata),
        ));
    } else if !may(database, Access::WRITE_OK) {
        findings.push(Finding::error(
            "unwritable",
            format!(
                "{shown} cannot be written by uid {}: checkpoints copy the WAL back into it, and it belongs to {}",
                euid(),
                owner(&metadata)
            ),
            as_owner(&metadata),
        ));
    }
    findings.extend(folder(database));
    findings.extend(beside_it(database, &metadata));
    findings.extend(state_folder(database));
    if euid() == 0 && metadata.uid() != 0 {
        findings.push(Finding::note(
            "root",
            format!(
                "walferry runs as root, and {shown} belongs to {}",
                owner(&metadata)
            ),
            "It works; as the database's owner it would need no rights at all (User= in the systemd unit).",
        ));
    }
    findings
}

/// The folder must take -wal, -shm and the local state.
fn folder(database: &Path) -> Option<Finding> {
    let folder = database.parent()?;
    if may(folder, Access::WRITE_OK | Access::EXEC_OK) {
        return None;
    }
    let metadata = std::fs::metadata(folder).ok()?;
    Some(Finding::error(
        "folder",
        format!(
            "{} cannot be written by uid {}: SQLite's -wal and -shm and walferry's local state go there",
            folder.display(),
            euid()
        ),
        as_owner(&metadata),
    ))
}

/// -wal and -shm of another owner: whoever opens the database next makes them anew, or cannot open them at all.
fn beside_it(database: &Path, metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in ["-wal", "-shm"].map(|suffix| beside(database, suffix)) {
        let Ok(found) = std::fs::symlink_metadata(&file) else {
            continue;
        };
        if !may(&file, Access::READ_OK | Access::WRITE_OK) {
            findings.push(Finding::error(
                "wal-owner",
                format!(
                    "{} cannot be read and written by uid {}: it belongs to {}",
                    file.display(),
                    euid(),
                    owner(&found)
                ),
                "Run the application and walferry as one user. If nothing has the database open, chown the file to \
                 the owner of the database; never delete a -wal: it holds commits.",
            ));
        } else if found.uid() != metadata.uid() {
            findings.push(Finding::warning(
                "wal-owner",
                format!(
                    "{} belongs to {} and the database to {}: one of the two programs will be refused",
                    file.display(),
                    owner(&found),
                    owner(metadata)
                ),
                "Run the application and walferry as one user, and chown the file to the owner of the database.",
            ));
        }
    }
    findings
}

/// What an earlier run as another user left.
fn state_folder(database: &Path) -> Option<Finding> {
    let folder = database.with_file_name(format!(".{}-walferry", file_name(database)));
    let metadata = std::fs::symlink_metadata(&folder).ok()?;
    let mine = |path: &PathBuf| !path.exists() || may(path, Access::READ_OK | Access::WRITE_OK);
    let all_mine = may(&folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)
        && std::fs::read_dir(&folder).is_ok_and(|entries| entries.flatten().all(|entry| mine(&entry.path())));
    if all_mine {
        return None;
    }
    Some(Finding::error(
        "state-owner",
        format!(
            "{}, walferry's local state, cannot be used by uid {}: it belongs to {}",
            folder.display(),
            euid(),
            owner(&metadata)
        ),
        "chown -R it to the user that runs walferry, or remove it: the next start then compares all pages.",
    ))
}

fn as_owner(metadata: &Metadata) -> String {
    format!(
        "Run walferry as {}, or give its group the right: chmod g+rw on the database, g+rwx on its folder.",
        owner(metadata)
    )
}

fn owner(metadata: &Metadata) -> String {
    format!("uid {}", metadata.uid())
}

fn euid() -> u32 {
    geteuid().as_raw()
}

fn may(path: &Path, access: Access) -> bool {
    accessat(CWD, path, access, AtFlags::EACCESS).is_ok()
}
