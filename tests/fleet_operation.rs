//! What operating many databases takes: drills on schedule, local state elsewhere, limits of the machine, an end in time.
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
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::fleet::{LONG, Scene, create, insert};
use support::running::{get, metric};
use support::s3::{S3, free_port};
use support::{Process, restore_ok, wait_until, walferry};

/// Runs `replicate -config` in the background; what it tells is to be read at its end.
fn start(scene: &Scene, dbs: &str, extra: &[&str]) -> Process {
    let mut command = walferry();
    support::s3::authorize(&mut command);
    command
        .env_remove("LOG_LEVEL")
        .args(["replicate", "-config"])
        .arg(scene.configure(dbs))
        .args(extra)
        .stderr(Stdio::piped());
    Process::start(&mut command)
}

/// Ends it: the exit code, and what it told.
fn end(mut process: Process) -> (Option<i32>, String) {
    let stderr = process.0.stderr.take().unwrap();
    let told = std::thread::spawn(move || std::io::read_to_string(stderr).unwrap());
    let code = process.terminate();
    (code, told.join().unwrap())
}

/// All objects of a folder's replica.
fn objects(folder: &Path) -> Vec<std::path::PathBuf> {
    let levels = fs::read_dir(folder.join("ltx")).unwrap().flatten();
    let files = levels.flat_map(|level| fs::read_dir(level.path()).unwrap().flatten());
    files.map(|file| file.path()).collect()
}

#[test]
fn a_drill_is_held_on_schedule_and_one_that_fails_is_told_everywhere() {
    let scene = Scene::new();
    create(&scene.path("dbs/a.db"), 3);
    let port = free_port();
    let dbs = format!(
        "addr: \"127.0.0.1:{port}\"\n\
         dbs: [{{path: ROOT/dbs/a.db, replica: {{path: ROOT/replicas/a, verify-interval: 200ms}}}}]"
    );
    let fleet = start(&scene, &dbs, &[]);
    let success = || metric(port, "walferry_verify_success_timestamp_seconds");
    let ok = || metric(port, "walferry_verify_ok");
    wait_until("a drill", LONG, || ok() == 1.0);
    let first = success();
    wait_until("another", LONG, || success() > first);
    assert!(metric(port, "walferry_verify_duration_seconds") > 0.0);

    let url = scene.replica("a").url();
    let status = || {
        let address = format!("127.0.0.1:{port}");
        let mut command = walferry();
        command.args(["status", "-addr", &address, &url]);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(status().contains("the last drill proved it"), "{}", status());

    // One bit of the snapshot turns.
    let snapshot = objects(&scene.path("replicas/a"))
        .into_iter()
        .find(|path| path.parent().unwrap().ends_with("9"))
        .unwrap();
    let whole = fs::read(&snapshot).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 4;
    fs::write(&snapshot, &damaged).unwrap();
    wait_until("a drill that fails", LONG, || ok() == 0.0);
    let last = success();
    assert!(status().contains("the last drill failed"), "{}", status());
    assert!(get(port, "/metrics").unwrap().1.contains("walferry_verify_ok{"));
    // It is healed; the drills go on.
    fs::write(&snapshot, &whole).unwrap();
    wait_until("a drill that succeeds", LONG, || ok() == 1.0);
    assert!(success() > last);
    let (code, told) = end(fleet);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("the replica was restored and proven")
            && told.contains("the replica cannot be restored: "),
        "{told}"
    );
}

#[test]
fn local_state_lies_where_the_configuration_says_and_is_found_again() {
    let scene = Scene::new();
    for name in ["one", "b", "c"] {
        create(&scene.path(&format!("dbs/{name}.db")), 3);
    }
    fs::create_dir(scene.path("dbs/many")).unwrap();
    create(&scene.path("dbs/many/d.db"), 3);
    let dbs = "dbs:\n\
        - {path: ROOT/dbs/one.db, meta-path: ROOT/state/one, replica: {path: ROOT/replicas/one}}\n\
        - {path: ROOT/dbs/b.db, meta-dir: ROOT/states, replica: {path: ROOT/replicas/b}}\n\
        - {path: ROOT/dbs/c.db, meta-dir: ROOT/states, replica: {path: ROOT/replicas/c}}\n\
        - {dir: ROOT/dbs/many, pattern: '*.db', meta-path: ROOT/state/many, replica: {path: ROOT/replicas/many}}\n";
    let pairs = [
        ("one.db", "one"),
        ("b.db", "b"),
        ("c.db", "c"),
        ("many/d.db", "many/d.db"),
    ];
    let once = || {
        let mut command = walferry();
        command
            .env_remove("LOG_LEVEL")
            .args(["replicate", "-once", "-config"]);
        let output = command.arg(scene.configure(dbs)).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{told}");
        told
    };
    once();
    let states = |folder: &str| fs::read_dir(scene.path(folder)).unwrap().count();
    assert!(scene.path("state/one/identity").exists() && scene.path("state/many/d.db/identity").exists());
    assert_eq!(states("states"), 2, "one for each database");
    for folder in ["dbs", "dbs/many"] {
        let beside: Vec<_> = fs::read_dir(scene.path(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with('.'))
            .collect();
        assert!(beside.is_empty(), "{beside:?}");
    }
    for (db, _) in pairs {
        insert(&scene.path("dbs").join(db), 1);
    }
    let told = once();
    assert!(!told.contains("beside a snapshot"), "the sums are here: {told}");
    for (db, replica) in pairs {
        scene.proves(&format!("dbs/{db}"), replica);
    }
}

#[test]
fn too_few_open_files_are_raised_where_they_may_be_and_said_where_not() {
    let scene = Scene::new();
    let mut dbs = "dbs:\n".to_owned();
    for n in 0..6 {
        create(&scene.path(&format!("dbs/{n}.db")), 3);
        dbs += &format!("  - {{path: ROOT/dbs/{n}.db, replica: {{path: ROOT/replicas/{n}}}}}\n");
    }
    let file = scene.configure(&dbs);
    let limited = |limit: &str| -> Output {
        let program = env!("CARGO_BIN_EXE_walferry");
        let script = format!(
            "ulimit {limit} && exec '{program}' replicate -once -config '{}'",
            file.display()
        );
        Command::new("sh").args(["-c", &script]).output().unwrap()
    };
    let told = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let hard = limited("-n 40");
    let said = told(&hard);
    assert!(
        said.contains("6 databases need about 124 open files and this process may have 40")
            && said.contains("LimitNOFILE=124 in the systemd unit or ulimit -n 124"),
        "{said}"
    );
    let soft = limited("-Sn 40");
    assert!(soft.status.success(), "{}", told(&soft));
    assert!(!told(&soft).contains("open files"), "{}", told(&soft));
    for n in 0..6 {
        scene.proves(&format!("dbs/{n}.db"), &n.to_string());
    }
}

#[test]
fn a_stop_ends_in_time_while_the_destination_is_dead_and_the_next_start_ships_the_rest() {
    let scene = Scene::new();
    create(&scene.path("dbs/a.db"), 3);
    create(&scene.path("dbs/b.db"), 3);
    let mut s3 = S3::start(&scene.path("s3"));
    let url = s3.replica("a").url();
    let dbs = format!(
        "shutdown-sync-timeout: 2s\ndbs:\n  - {{path: ROOT/dbs/a.db, replica: {{url: '{url}'}}}}\n  \
         - {{path: ROOT/dbs/b.db, replica: {{path: ROOT/replicas/b}}}}\n"
    );
    let fleet = start(&scene, &dbs, &[]);
    scene.synced("dbs/a.db");
    s3.stop();
    insert(&scene.path("dbs/a.db"), 5);
    insert(&scene.path("dbs/b.db"), 5);
    let asked = Instant::now();
    let (code, told) = end(fleet);
    assert_eq!(code, Some(4), "{told}");
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    let last = told.lines().last().unwrap();
    assert!(
        last.contains("dbs/a.db: not everything is shipped: s3://")
            && last.contains("did not confirm it within 2 s")
            && last.contains("it stays in the database and is shipped at the next start"),
        "{last}"
    );
    assert!(!last.contains("b.db"), "what could be shipped was: {last}");
    scene.proves("dbs/b.db", "b");

    // An application runs while it is dead, from its start to its end, and the stop has a code of its own.
    let port = free_port();
    let script = format!("sh -c 'touch {} && exit 0'", scene.path("ran").display());
    let fleet = start(
        &scene,
        &dbs.replace(&format!(":{}", s3.port), &format!(":{port}")),
        &["-exec", &script],
    );
    let mut fleet = fleet;
    wait_until("the application", LONG, || scene.path("ran").exists());
    assert_eq!(fleet.wait_for(LONG), Some(4));

    s3.go_on();
    let fleet = start(&scene, &dbs, &[]);
    scene.synced("dbs/a.db");
    let (code, told) = end(fleet);
    assert_eq!(code, Some(0), "{told}");
    let restored = scene.path("a-restored.db");
    restore_ok(&s3.replica("a"), &restored);
    assert_eq!(support::fleet::rows(&restored), 8);
}

/// A monitor that waits for heartbeats: it keeps what it was asked for, and answers with a status.
struct Monitor {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    status: Arc<AtomicU16>,
}

impl Monitor {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, status) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU16::new(200)));
        let (told, answers) = (Arc::clone(&asked), Arc::clone(&status));
        // It ends with the process of the test.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                BufReader::new(&stream).read_line(&mut line).unwrap();
                told.lock().unwrap().push(line.trim().to_owned());
                let status = answers.load(Ordering::Relaxed);
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { port, asked, status }
    }

    fn beats(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

#[test]
fn the_heart_beats_while_all_is_well_and_only_then() {
    let scene = Scene::new();
    create(&scene.path("dbs/a.db"), 3);
    fs::write(scene.path("dbs/b.db"), vec![7; 8192]).unwrap();
    let monitor = Monitor::start();
    let dbs = format!(
        "heartbeat-url: http://127.0.0.1:{}/ping/secret-0815\nheartbeat-interval: 100ms\ndbs:\n  \
         - {{path: ROOT/dbs/a.db, replica: {{path: ROOT/replicas/a}}}}\n  \
         - {{path: ROOT/dbs/b.db, replica: {{path: ROOT/replicas/b}}}}\n",
        monitor.port
    );
    let fleet = start(&scene, &dbs, &[]);
    scene.synced("dbs/a.db");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(monitor.beats(), 0, "one database is none");
    create(&scene.path("other.db"), 3);
    fs::rename(scene.path("other.db"), scene.path("dbs/b.db")).unwrap();
    wait_until("heartbeats", LONG, || monitor.beats() > 2);
    assert_eq!(monitor.asked.lock().unwrap()[0], "GET /ping/secret-0815 HTTP/1.1");
    // The monitor has troubles of its own.
    monitor.status.store(500, Ordering::Relaxed);
    let before = monitor.beats();
    wait_until("more", LONG, || monitor.beats() > before + 2);
    monitor.status.store(200, Ordering::Relaxed);
    let before = monitor.beats();
    wait_until("more", LONG, || monitor.beats() > before + 2);
    // One that fails again stops the heart.
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(scene.path(&format!("dbs/b.db{end}")));
    }
    fs::write(scene.path("broken"), vec![7; 8192]).unwrap();
    fs::rename(scene.path("broken"), scene.path("dbs/b.db")).unwrap();
    wait_until("a second of silence", LONG, || {
        let before = monitor.beats();
        std::thread::sleep(Duration::from_secs(1));
        monitor.beats() == before
    });
    let (_, told) = end(fleet);
    assert!(
        told.contains("no heartbeat: HTTP status server error (500")
            && told.contains("the heart beats again"),
        "{told}"
    );
    assert!(told.contains("dbs/b.db: "), "{told}");
    assert!(!told.contains("0815"), "{told}");
}

#[test]
fn a_replica_within_another_is_refused_by_name_before_anything_is_written() {
    let scene = Scene::new();
    create(&scene.path("dbs/a.db"), 3);
    create(&scene.path("dbs/b.db"), 3);
    let dbs = "dbs:\n  - {path: ROOT/dbs/a.db, replica: {path: ROOT/replicas/x}}\n  \
               - {path: ROOT/dbs/b.db, replica: {path: ROOT/replicas/x/ltx/0}}\n";
    let mut refused = start(&scene, dbs, &[]);
    let code = refused.wait_for(LONG);
    let told = std::io::read_to_string(refused.0.stderr.take().unwrap()).unwrap();
    assert_eq!(code, Some(2), "{told}");
    assert!(
        told.contains("replicas/x/ltx/0 for ")
            && told.contains("dbs/b.db lies within file://")
            && told.contains("for ")
            && told.contains("dbs/a.db (line 3): give each a place of its own"),
        "{told}"
    );
    assert!(!scene.path("replicas").exists());
    // Two replicas of one database on the command line are no better.
    let inner = format!("file://{}", scene.path("replicas/x/ltx/0").display());
    let outer = format!("file://{}", scene.path("replicas/x").display());
    for urls in [[&inner, &outer], [&outer, &inner]] {
        let mut command = walferry();
        command.arg("replicate").arg(scene.path("dbs/a.db")).args(urls);
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("one lies within the other"), "{told}");
    }
    assert!(!scene.path("replicas").exists());
}
