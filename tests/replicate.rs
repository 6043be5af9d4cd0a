//! How replication behaves towards the application, its destination, and others who write to either.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{
    Destination, Process, Worker, assert_same_file, replicate, restore_ok, run_app, wait_until, walferry,
};
use walferry::ltx::{Decoder, Event};

const LONG: Duration = Duration::from_secs(30);

struct Scene {
    _folder: tempfile::TempDir,
    database: PathBuf,
    replica: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (database, replica) = (folder.path().join("app.db"), folder.path().join("replica"));
        run_app(&["create", database.to_str().unwrap(), "4096", "none"]);
        Self {
            _folder: folder,
            database,
            replica,
        }
    }

    fn db(&self) -> &str {
        self.database.to_str().unwrap()
    }

    fn destination(&self) -> Destination {
        Destination::Folder(self.replica.clone())
    }

    fn commit(&self, text: &str) {
        run_app(&["commit", self.db(), text]);
    }

    fn segments(&self) -> Vec<PathBuf> {
        segments(&self.replica)
    }

    /// Follows, and ships what is committed; then `walferry` has ended.
    fn ship(&self) {
        let mut ferry = replicate(&self.database, &self.destination(), &["--once"]);
        assert_eq!(ferry.wait_for(LONG), Some(0));
    }

    fn proves(&self) {
        run_app(&["finish", self.db()]);
        let restored = self.database.with_file_name("restored.db");
        restore_ok(&self.destination(), &restored);
        assert_same_file(&self.database, &restored, 4096);
    }
}

#[test]
fn a_write_after_a_pause_ships_at_once() {
    let scene = Scene::new();
    let ferry = replicate(&scene.database, &scene.destination(), &["--sync-interval", "5s"]);
    wait_until("the first copy", LONG, || scene.segments().len() == 1);
    std::thread::sleep(Duration::from_secs(6));
    scene.commit("now");
    let since = Instant::now();
    wait_until("the row", LONG, || scene.segments().len() == 2);
    assert!(
        since.elapsed() < Duration::from_secs(2),
        "it waited for the interval: {:?}",
        since.elapsed()
    );
    assert_eq!(ferry.terminate(), Some(0));
    scene.proves();
}

#[test]
fn only_changed_pages_are_shipped_and_nothing_when_nothing_changed() {
    let scene = Scene::new();
    scene.ship();
    scene.ship();
    assert_eq!(scene.segments().len(), 1, "nothing changed, nothing is shipped");
    scene.commit("one row");
    scene.ship();
    assert_eq!(pages_in(&scene.segments()[1]), 1, "the table's page alone");
}

#[test]
fn a_checkpoint_by_someone_else_while_away_costs_only_the_pages_that_differ() {
    let scene = Scene::new();
    scene.ship();
    scene.commit("while away");
    run_app(&["finish", scene.db()]);
    scene.commit("and once more");
    scene.ship();
    assert!(pages_in(&scene.segments()[1]) <= 3);
    scene.proves();
}

#[test]
fn a_lost_local_state_is_rebuilt_from_the_replica() {
    let scene = Scene::new();
    scene.ship();
    scene.commit("after");
    let state = scene.database.with_file_name(".app.db-walferry");
    assert!(state.exists());
    fs::remove_dir_all(&state).unwrap();
    scene.ship();
    assert!(pages_in(&scene.segments()[1]) <= 3, "only the pages that differ");
    scene.proves();
}

#[test]
fn a_damaged_page_sum_table_is_noticed_and_rebuilt() {
    let scene = Scene::new();
    scene.ship();
    let state = fs::read_dir(scene.database.with_file_name(".app.db-walferry")).unwrap();
    let mut tables = state.map(|entry| entry.unwrap().path().join("page-sums"));
    let table = tables.find(|path| path.exists()).unwrap();
    let mut bytes = fs::read(&table).unwrap();
    bytes[80] ^= 1;
    fs::write(&table, bytes).unwrap();
    scene.commit("after");
    scene.ship();
    assert!(pages_in(&scene.segments()[1]) <= 3);
    scene.proves();
}

#[test]
fn a_database_that_fell_back_behind_its_replica_is_shipped_as_it_is_now() {
    let scene = Scene::new();
    run_app(&["finish", scene.db()]);
    let earlier = fs::read(&scene.database).unwrap();
    scene.commit("lost with the power");
    scene.ship();
    // What a power cut leaves where the last commits were not synced.
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", scene.db()));
    }
    fs::write(&scene.database, earlier).unwrap();
    scene.commit("another");
    scene.ship();
    assert_eq!(scene.segments().len(), 2);
    scene.proves();
}

#[test]
fn checkpoints_of_the_application_do_not_hang_on_us() {
    let scene = Scene::new();
    let ferry = replicate(&scene.database, &scene.destination(), &[]);
    wait_until("the first copy", LONG, || scene.segments().len() == 1);
    for kind in ["restart", "truncate", "full", "truncate", "restart"] {
        scene.commit("before a checkpoint");
        let since = Instant::now();
        assert_eq!(checkpoint(scene.db(), kind), "0", "{kind} must not be busy");
        assert!(
            since.elapsed() < Duration::from_secs(4),
            "{kind} took {:?}",
            since.elapsed()
        );
    }
    assert_eq!(ferry.terminate(), Some(0));
    scene.proves();
}

#[test]
fn a_second_walferry_on_the_same_database_is_refused() {
    let scene = Scene::new();
    let ferry = replicate(&scene.database, &scene.destination(), &[]);
    wait_until("the first copy", LONG, || scene.segments().len() == 1);
    let other = scene.replica.with_file_name("other");
    let output = walferry()
        .args(["replicate", "--once", scene.db()])
        .arg(format!("file://{}", other.display()))
        .output();
    let output = output.unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("another walferry"));
    assert_eq!(ferry.terminate(), Some(0));
}

#[test]
fn a_replica_that_someone_else_moved_stops_us_with_a_conflict() {
    let (ours, theirs) = (Scene::new(), Scene::new());
    let mut ferry = replicate(&ours.database, &ours.destination(), &[]);
    wait_until("the first copy", LONG, || ours.segments().len() == 1);
    // Another database whose second segment has the same name.
    theirs.ship();
    theirs.commit("theirs");
    theirs.ship();
    let second = &theirs.segments()[1];
    fs::create_dir_all(ours.replica.join("ltx/0")).unwrap();
    fs::copy(
        second,
        ours.replica.join("ltx/0").join(second.file_name().unwrap()),
    )
    .unwrap();
    ours.commit("ours");
    assert_eq!(ferry.wait_for(LONG), Some(6), "the exit code of a conflict");
    assert_eq!(
        fs::read(second).unwrap(),
        fs::read(&ours.segments()[1]).unwrap(),
        "what was there stands"
    );
}

#[test]
fn writes_never_wait_for_a_destination_that_is_away() {
    let scene = Scene::new();
    let folder = scene.database.parent().unwrap();
    let state = folder.join("r2");
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/v1/later");
    let destination = Destination::Worker {
        url,
        token: Worker::WRITE_TOKEN.to_owned(),
    };
    let ferry = replicate(&scene.database, &destination, &["--sync-interval", "50ms"]);
    let since = Instant::now();
    for row in 0..20 {
        scene.commit(&format!("row {row}"));
    }
    assert!(since.elapsed() < LONG, "a commit waited");
    let worker = Worker::start_at(&state, port);
    scene.commit("the destination is there");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(ferry.terminate(), Some(0), "all of it is shipped before it ends");
    run_app(&["finish", scene.db()]);
    let restored = folder.join("restored.db");
    restore_ok(&destination, &restored);
    assert_same_file(&scene.database, &restored, 4096);
    drop(worker);
}

#[test]
fn a_database_that_is_replaced_is_noticed() {
    let scene = Scene::new();
    let mut command = walferry();
    command
        .args(["replicate", scene.db(), &scene.destination().url()])
        .stderr(Stdio::piped());
    let mut ferry = Process::start(&mut command);
    wait_until("the first copy", LONG, || scene.segments().len() == 1);
    let other = scene.database.with_file_name("other.db");
    run_app(&["create", other.to_str().unwrap(), "4096", "none"]);
    run_app(&["finish", other.to_str().unwrap()]);
    fs::rename(&other, &scene.database).unwrap();
    assert_ne!(ferry.wait_for(LONG), Some(0));
    let output = std::io::read_to_string(ferry.0.stderr.take().unwrap()).unwrap();
    assert!(output.contains("was replaced"), "{output}");
}

#[test]
fn a_checkpoint_of_the_application_passes_while_the_destination_is_away() {
    let scene = Scene::new();
    let url = format!("http://127.0.0.1:{}/v1/away", free_port());
    let token = Worker::WRITE_TOKEN.to_owned();
    let ferry = replicate(&scene.database, &Destination::Worker { url, token }, &[]);
    for round in 0..3 {
        std::thread::sleep(Duration::from_millis(700));
        scene.commit(&format!("round {round}"));
        let since = Instant::now();
        assert_eq!(checkpoint(scene.db(), "truncate"), "0", "it must not be busy");
        assert!(
            since.elapsed() < Duration::from_secs(2),
            "it took {:?}",
            since.elapsed()
        );
    }
    ferry.kill();
    scene.ship();
    scene.proves();
}

#[test]
fn a_checkpoint_of_the_application_passes_when_the_destination_goes_away() {
    let scene = Scene::new();
    let (state, port) = (scene.database.with_file_name("r2"), free_port());
    let url = format!("http://127.0.0.1:{port}/v1/comes-and-goes");
    let destination = Destination::Worker {
        url,
        token: Worker::WRITE_TOKEN.to_owned(),
    };
    let worker = Worker::start_at(&state, port);
    let ferry = replicate(&scene.database, &destination, &["--sync-interval", "50ms"]);
    std::thread::sleep(Duration::from_secs(2));
    drop(worker);
    for round in 0..4 {
        scene.commit(&format!("round {round}"));
        std::thread::sleep(Duration::from_millis(700));
        let since = Instant::now();
        assert_eq!(checkpoint(scene.db(), "truncate"), "0", "it must not be busy");
        assert!(
            since.elapsed() < Duration::from_secs(3),
            "it took {:?}",
            since.elapsed()
        );
    }
    let worker = Worker::start_at(&state, port);
    assert_eq!(ferry.terminate(), Some(0), "all of it is shipped before it ends");
    run_app(&["finish", scene.db()]);
    let restored = scene.database.with_file_name("restored.db");
    restore_ok(&destination, &restored);
    assert_same_file(&scene.database, &restored, 4096);
    drop(worker);
}

#[test]
fn ending_under_steady_writes_ships_what_was_committed_and_ends() {
    let scene = Scene::new();
    let mut writer = Process::start(&mut support::app(&["write", scene.db(), "3", "8"]));
    std::thread::sleep(Duration::from_millis(300));
    let since = Instant::now();
    scene.ship();
    let ferry = replicate(&scene.database, &scene.destination(), &[]);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(ferry.terminate(), Some(0));
    assert!(
        since.elapsed() < Duration::from_secs(7),
        "it went on with the writer"
    );
    assert_eq!(writer.wait_for(LONG), Some(0));
    scene.ship();
    scene.proves();
}

#[test]
fn a_replica_whose_folder_is_gone_is_not_continued_without_its_beginning() {
    let scene = Scene::new();
    let ferry = replicate(&scene.database, &scene.destination(), &[]);
    // The table of page sums comes last.
    let sums = scene.replica.join("ltx/11");
    wait_until("the first copy", LONG, || {
        fs::read_dir(&sums).is_ok_and(|mut files| files.next().is_some())
    });
    std::thread::sleep(Duration::from_millis(200));
    fs::remove_dir_all(&scene.replica).unwrap();
    scene.commit("after");
    std::thread::sleep(Duration::from_millis(2500));
    assert!(!scene.replica.exists());
    ferry.kill();
    scene.ship();
    scene.proves();
}

fn checkpoint(db: &str, kind: &str) -> String {
    let script = "import sqlite3, sys
d = sqlite3.connect(sys.argv[1], timeout=10)
print(d.execute('pragma wal_checkpoint(%s)' % sys.argv[2]).fetchone()[0])";
    let output = Command::new("python3")
        .args(["-c", script, db, kind])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The first whole database, then what came after.
fn segments(replica: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for level in ["ltx/9", "ltx/0"] {
        let Ok(entries) = fs::read_dir(replica.join(level)) else {
            continue;
        };
        paths.extend(entries.map(|entry| entry.unwrap().path()));
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "ltx"));
    paths.sort_by_key(|path| path.file_name().unwrap().to_owned());
    paths
}

fn pages_in(segment: &Path) -> usize {
    let mut decoder = Decoder::new();
    decoder.push(&fs::read(segment).unwrap());
    let mut pages = 0;
    while let Some(event) = decoder.next().unwrap() {
        pages += usize::from(matches!(event, Event::Page(_)));
    }
    decoder.finish().unwrap();
    pages
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
