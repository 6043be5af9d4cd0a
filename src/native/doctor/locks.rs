//! Who else has the database open, and whether they let others in.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::{Finding, beside, file_name};

/// SQLite locks these bytes of the database file; see its file format.
const SHARED_FIRST: u64 = 0x4000_0002;
const SHARED_SIZE: u64 = 510;
/// Who commits or recovers holds everyone off for a moment; who is exclusive, for good.
const LOOKS: u32 = 4;
const BETWEEN: Duration = Duration::from_millis(100);

pub(super) fn findings(database: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(exclusive(database));
    findings.extend(others(database));
    findings
}

/// An application with `locking_mode=EXCLUSIVE`.
fn exclusive(database: &Path) -> Option<Finding> {
    // Only asks: closing this file gives up no lock, because this process has none on it.
    let file = File::open(database).ok()?;
    let mut holder = None;
    for look in 0..LOOKS {
        if look > 0 {
            std::thread::sleep(BETWEEN);
        }
        let wanted = Flock {
            start: SHARED_FIRST,
            length: SHARED_SIZE,
            pid: None,
            typ: FlockType::ReadLock,
            offset_type: FlockOffsetType::Set,
        };
        let found = fcntl_getlk(&file, &wanted).ok()??;
        holder = found.pid.map(rustix::process::Pid::as_raw_nonzero);
    }
    let who = holder.map_or_else(|| "a process".to_owned(), |pid| named(pid.get()));
    Some(Finding::error(
        "exclusive",
        format!(
            "{who} holds {} exclusively: nothing else can read it",
            database.display()
        ),
        "Take PRAGMA locking_mode=EXCLUSIVE out of the application, and restart it.",
    ))
}

/// Other replicators.
fn others(database: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let shown = database.display();
    let files = [database.to_owned(), beside(database, "-shm")];
    for pid in holders(&files) {
        if program(pid).as_deref() == Some("litestream") {
            findings.push(Finding::warning(
                "litestream",
                format!("{} follows {shown} too", named(pid)),
                "Stop Litestream before walferry starts: two replicators checkpoint each other's WAL away, and must \
                 never write to one replica.",
            ));
        }
    }
    let lock = database
        .with_file_name(format!(".{}-walferry", file_name(database)))
        .join("lock");
    for pid in holders(&[lock]) {
        findings.push(Finding::note(
            "in-use",
            format!("{} follows {shown} already", named(pid)),
            "Right, if it is the service; a second walferry on the same database is refused.",
        ));
    }
    findings
}

/// The processes that hold a lock on one of these files, where the system tells.
fn holders(files: &[impl AsRef<Path>]) -> Vec<i32> {
    let inodes: Vec<u64> = files
        .iter()
        .filter_map(|file| std::fs::metadata(file).ok())
        .map(|metadata| metadata.ino())
        .collect();
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut pids: Vec<i32> = locks.lines().filter_map(|line| holder(line, &inodes)).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// `6: POSIX  ADVISORY  READ 1772 fe:00:10332335 128 128`
fn holder(line: &str, inodes: &[u64]) -> Option<i32> {
    let mut fields = line.split_ascii_whitespace().skip(4);
    let pid = fields.next()?.parse().ok()?;
    let inode: u64 = fields.next()?.rsplit(':').next()?.parse().ok()?;
    (inodes.contains(&inode) && pid > 0).then_some(pid)
}

fn named(pid: i32) -> String {
    match program(pid) {
        Some(name) => format!("process {pid} ({name})"),
        None => format!("process {pid}"),
    }
}

fn program(pid: i32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_read_from_the_systems_list() {
        let line = "6: POSIX  ADVISORY  READ 1772 fe:00:10332335 128 128";
        assert_eq!(holder(line, &[10_332_335]), Some(1772));
        assert_eq!(holder(line, &[1]), None);
        assert_eq!(holder("9: -> POSIX", &[10_332_335]), None);
    }
}
