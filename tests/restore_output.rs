//! A restore leaves a whole, proven database, or nothing; and takes little memory for it.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Destination, Process, assert_same_file, restore, wait_until, walferry};

const LIMIT: Duration = Duration::from_secs(60);

/// A database of random rows, larger than can be restored in an instant, and its replica.
fn large(folder: &Path) -> Destination {
    let (database, replica) = (folder.join("app.db"), folder.join("replica"));
    python(
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('pragma journal_mode = wal'); \
         db.execute('create table t (x)'); \
         db.executemany('insert into t values (?)', ((os.urandom(4000),) for _ in range(40000))); db.commit(); \
         db.execute('pragma wal_checkpoint(truncate)')",
        &[&database],
    );
    ship(&database, &replica);
    Destination::Folder(replica)
}

fn ship(database: &Path, replica: &Path) {
    let url = format!("file://{}", replica.display());
    let status = walferry()
        .args(["replicate", "--once"])
        .arg(database)
        .arg(url)
        .status()
        .unwrap();
    assert!(status.success());
}

fn python(program: &str, arguments: &[&Path]) -> String {
    let output = Command::new("python3")
        .args(["-c", program])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn start(destination: &Destination, out: &Path) -> Process {
    let mut command = walferry();
    command
        .arg("restore")
        .arg("-o")
        .arg(out)
        .arg(destination.url())
        .stdout(Stdio::null());
    Process::start(&mut command)
}

#[test]
fn broken_off_it_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let destination = large(folder.path());
    let target = folder.path().join("target");
    fs::create_dir(&target).unwrap();
    let out = target.join("out.db");

    // Ctrl-C or SIGTERM in the middle.
    let restoring = start(&destination, &out);
    wait_until("the restore to write", LIMIT, || !names(&target).is_empty());
    let temporary = names(&target).remove(0);
    assert!(temporary.starts_with(".out.db.walferry-"), "{temporary}");
    assert_eq!(restoring.terminate(), Some(143));
    assert_eq!(names(&target), [""; 0]);

    // Killed, it cannot tidy up; but nothing has the database's name, and the next one is not in its way.
    let restoring = start(&destination, &out);
    wait_until("the restore to write", LIMIT, || !names(&target).is_empty());
    restoring.kill();
    assert!(!out.exists());
    let output = restore(&destination, &out, &[]);
    assert!(output.status.success());
    assert_same_file(&folder.path().join("app.db"), &out, 4096);
}

/// Someone makes a file of the output's name while the restore runs: it is not overwritten.
#[test]
fn a_file_that_comes_meanwhile_stays() {
    let folder = tempfile::tempdir().unwrap();
    let destination = large(folder.path());
    let target = folder.path().join("target");
    fs::create_dir(&target).unwrap();
    let out = target.join("out.db");
    let mut restoring = start(&destination, &out);
    wait_until("the restore to write", LIMIT, || !names(&target).is_empty());
    fs::write(&out, "precious").unwrap();
    assert_eq!(restoring.wait_for(LIMIT), Some(8));
    assert_eq!(fs::read(&out).unwrap(), b"precious");
    assert_eq!(names(&target), ["out.db"]);
}

/// More than 1 GiB across the lock page, most of it zeros: the file stays sparse, memory small.
#[test]
fn across_the_lock_page_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (database, replica) = (folder.path().join("app.db"), folder.path().join("replica"));
    // The header claims pages that the file has as a hole, up to just before the lock page; rows go on after it.
    python(
        "import os, sqlite3, struct, sys; path = sys.argv[1]\n\
         db = sqlite3.connect(path, isolation_level=None); db.execute('create table t (x)'); db.close()\n\
         pages = 2**30 // 4096 - 10\n\
         with open(path, 'r+b') as file:\n\
        \x20   file.truncate(pages * 4096); file.seek(28); file.write(struct.pack('>I', pages))\n\
         db = sqlite3.connect(path, isolation_level=None); db.execute('pragma journal_mode = wal')\n\
         db.executemany('insert into t values (?)', ((os.urandom(3900),) for _ in range(200)))\n\
         db.execute('pragma wal_checkpoint(truncate)')",
        &[&database],
    );
    assert!(fs::metadata(&database).unwrap().len() > 1 << 30);
    ship(&database, &replica);
    let out = folder.path().join("out.db");
    let kilobytes: u64 = python(
        "import resource, subprocess, sys\n\
         subprocess.run([sys.argv[1], 'restore', '-o', sys.argv[2], 'file://' + sys.argv[3]], check=True, stdout=sys.stderr)\n\
         print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)",
        &[&PathBuf::from(env!("CARGO_BIN_EXE_walferry")), &out, &replica],
    )
    .trim()
    .parse()
    .unwrap();
    assert!(kilobytes <= 64 * 1024, "restoring took {kilobytes} kB of memory");
    assert_same_large_file(&database, &out);
    let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&out).unwrap());
    assert!(blocks * 512 < 4 << 20, "zero pages take space: {blocks} blocks");
}

fn assert_same_large_file(one: &Path, other: &Path) {
    assert!(
        Command::new("cmp")
            .arg(one)
            .arg(other)
            .status()
            .unwrap()
            .success(),
        "the files differ"
    );
}
