//! What the database lies on.

use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::Finding;

/// Less room than this is soon gone.
const LITTLE_ROOM: u64 = 64 * 1024 * 1024;

pub(super) fn findings(database: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let shown = database.display();
    if let Ok(place) = statvfs(database) {
        if place.f_flag.contains(StatVfsMountFlags::RDONLY) {
            findings.push(Finding::error(
                "read-only",
                format!("{shown} is on a file system that is mounted read-only"),
                "Replicate it where it is written. A copy that no one writes needs no replication.",
            ));
        }
        let room = place.f_bavail.saturating_mul(place.f_frsize);
        if room < LITTLE_ROOM {
            findings.push(Finding::warning(
                "room",
                format!("only {} are left where {shown} lies", bytesize::ByteSize(room)),
                "Make room: while a destination is away, the WAL grows.",
            ));
        }
    }
    findings.extend(kind(database));
    findings
}

/// File systems on which SQLite's WAL mode does not work, or whose files do not last.
#[cfg(target_os = "linux")]
fn kind(database: &Path) -> Option<Finding> {
    let shown = database.display();
    let kind = rustix::fs::statfs(database).ok()?.f_type;
    // Numbers from statfs(2) and linux/magic.h.
    let network = match kind as u32 {
        0x6969 => "NFS",
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => "SMB",
        0x0102_1997 => "9P (a folder of the host in a virtual machine)",
        0x6573_5546 => "FUSE (sshfs, a folder of the host, a bucket)",
        0x00c3_6400 => "Ceph",
        0x5346_414f => "AFS",
        0x0bd0_0bd0 => "Lustre",
        _ => "",
    };
    if !network.is_empty() {
        return Some(Finding::warning(
            "network",
            format!(
                "{shown} is on {network}: WAL mode needs shared memory and locks that such file systems rarely keep"
            ),
            "Put the database on a local disk of the machine that writes it; SQLite says so too.",
        ));
    }
    match kind as u32 {
        0x794c_7630 => Some(Finding::warning(
            "overlay",
            format!("{shown} is in a container's own layer: it is gone with the container"),
            "Put the database on a volume (docker run -v data:/data), with its -wal and -shm.",
        )),
        0x0102_1994 => Some(Finding::note(
            "tmpfs",
            format!("{shown} is in memory (tmpfs): it is gone after a restart"),
            "Fine for trying things out; otherwise put it on a disk.",
        )),
        _ => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn kind(_: &Path) -> Option<Finding> {
    None
}
