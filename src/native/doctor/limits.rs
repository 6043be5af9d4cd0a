//! What the machine allows a process, against what so many databases need.

use rustix::process::{Resource, getrlimit};

use super::Finding;

/// What one database needs: two connections with -wal and -shm, the file itself, its state. Measured: 9.
const FILES_EACH: u64 = 10;
/// What walferry needs besides: connections to destinations, notifications, the runtime.
const FILES_BASE: u64 = 64;
/// The database, its -wal, its folder.
const WATCHES_EACH: u64 = 3;

/// Looks at the limits for so many databases.
pub fn machine(databases: usize) -> Vec<Finding> {
    let databases = databases as u64;
    let mut findings = Vec::new();
    let needed = FILES_BASE.saturating_add(FILES_EACH.saturating_mul(databases));
    let limits = getrlimit(Resource::Nofile);
    if let Some(limit) = limits.current
        && limit < needed
    {
        findings.push(Finding::error(
            "descriptors",
            format!("this process may open {limit} files, and {databases} databases need about {needed}"),
            format!("ulimit -n {needed}, or LimitNOFILE={needed} in the systemd unit."),
        ));
    }
    let watches = WATCHES_EACH.saturating_mul(databases);
    if let Some(limit) = setting("max_user_watches").filter(|&limit| limit < watches) {
        findings.push(Finding::warning(
            "watches",
            format!("the system allows {limit} file watches a user, and {databases} databases need about {watches}"),
            format!("sysctl fs.inotify.max_user_watches={watches}. Without them walferry looks once in a while."),
        ));
    }
    if setting("max_user_instances") == Some(0) {
        findings.push(Finding::warning(
            "watches",
            "the system allows no file notifications (inotify) at all",
            "sysctl fs.inotify.max_user_instances=128. Without them walferry looks once in a while.",
        ));
    }
    findings
}

/// A limit of inotify; `None` on other systems.
fn setting(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_databases_fit_and_a_hundred_million_do_not() {
        let codes =
            |databases| -> Vec<&str> { machine(databases).iter().map(|finding| finding.code).collect() };
        assert_eq!(codes(1), [""; 0]);
        if getrlimit(Resource::Nofile).current.is_some() {
            assert!(codes(1_000_000_000).contains(&"descriptors"));
        }
    }
}
