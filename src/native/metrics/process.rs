//! What this process uses, where the system tells it in `/proc`.

use rustix::process::{Resource, getrlimit};

/// What a process uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) open_files: u64,
    /// `None` where there is no limit.
    pub(super) files_limit: Option<u64>,
}

/// Of this process; `None` on systems without `/proc`.
pub(super) fn usage() -> Option<Usage> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may hold anything.
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<u64> = after_name
        .split_ascii_whitespace()
        .map(|field| field.parse().unwrap_or_default())
        .collect();
    // proc_pid_stat(5) counts from 1 and from the process id; here 0 is the third field.
    let field = |number: usize| number.checked_sub(3).and_then(|at| fields.get(at)).copied();
    let ticks = field(14)?.saturating_add(field(15)?);
    let pages = field(24)?;
    Some(Usage {
        cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        resident_bytes: pages.saturating_mul(rustix::param::page_size() as u64),
        open_files: std::fs::read_dir("/proc/self/fd").ok()?.count() as u64,
        files_limit: getrlimit(Resource::Nofile).current,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_used() {
        let start = usage().unwrap();
        assert!(start.resident_bytes > 1024 * 1024, "{start:?}");
        assert!(start.open_files > 2, "{start:?}");
        while usage().unwrap().cpu_seconds < start.cpu_seconds + 0.05 {
            std::hint::black_box(vec![1_u8; 4096]);
        }
    }
}
