//! What many idle databases cost: CPU, memory, open files. The figures are printed.
#![cfg(feature = "native")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use support::{Process, wait_until, walferry};

const WATCH: Duration = Duration::from_secs(10);

struct Cost {
    /// Share of one core.
    cpu: f64,
    rss_mb: f64,
    files: usize,
    threads: usize,
}

fn measure(databases: usize) -> Cost {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("dbs")).unwrap();
    let first = root.join("dbs/0.db");
    let db = Connection::open(&first).unwrap();
    db.execute_batch("pragma journal_mode = wal; create table t (x); insert into t values (zeroblob(20000))")
        .unwrap();
    db.close().unwrap();
    for n in 1..databases {
        fs::copy(&first, root.join(format!("dbs/{n}.db"))).unwrap();
    }
    let config = format!(
        "dbs: [{{dir: {0}/dbs, pattern: '*.db', watch: true, replica: {{path: {0}/replicas}}}}]",
        root.display()
    );
    fs::write(root.join("walferry.yml"), config).unwrap();
    let mut command = walferry();
    command.args(["replicate", "--log-level", "warn", "-config"]);
    let fleet = Process::start(command.arg(root.join("walferry.yml")));
    let replicas = root.join("replicas");
    wait_until("the first copies", Duration::from_secs(240), || {
        (0..databases).all(|n| replicas.join(format!("{n}.db/ltx")).exists())
    });
    let process = Path::new("/proc").join(fleet.0.id().to_string());
    // What was begun with the first copies ends, and the threads that did it.
    wait_until("quiet", Duration::from_secs(60), || {
        let before = running(&process);
        std::thread::sleep(Duration::from_secs(3));
        running(&process) - before <= Duration::from_millis(20)
    });
    let before = running(&process);
    std::thread::sleep(WATCH);
    let cost = Cost {
        cpu: (running(&process) - before).as_secs_f64() / WATCH.as_secs_f64(),
        rss_mb: resident(&process),
        files: fs::read_dir(process.join("fd")).unwrap().count(),
        threads: fs::read_dir(process.join("task")).unwrap().count(),
    };
    assert_eq!(fleet.terminate(), Some(0));
    println!(
        "{databases} idle databases: {:.1} % of a core, {:.1} MB, {} open files, {} threads",
        cost.cpu * 100.0,
        cost.rss_mb,
        cost.files,
        cost.threads
    );
    cost
}

/// Time on a processor, of all threads, those that ended too; in ticks of a hundredth of a second.
fn running(process: &Path) -> Duration {
    let stat = fs::read_to_string(process.join("stat")).unwrap();
    // The name before them may hold anything but ends with the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11..=12]
        .iter()
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    assert!(ticks > 0, "a process that has copied databases has run");
    Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap()
}

fn resident(process: &Path) -> f64 {
    let status = fs::read_to_string(process.join("status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kb: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kb / 1024.0
}

#[test]
fn idle_databases_cost_next_to_nothing() {
    let few = measure(100);
    assert!(few.cpu < 0.005, "CPU at 100: {}", few.cpu);
    assert!(few.rss_mb < 40.0, "memory at 100: {} MB", few.rss_mb);
    let many = measure(1000);
    assert!(many.cpu < 0.02, "CPU at 1000: {}", many.cpu);
    assert!(many.rss_mb < 160.0, "memory at 1000: {} MB", many.rss_mb);
    let each = (many.files - few.files) as f64 / 900.0;
    assert!(each <= 14.0, "{each} open files a database");
    // Threads that did disk work go again after a while, and none is a database's own.
    assert!(many.threads < 100, "{} threads", many.threads);
}
