//! `replicate -exec`: an application that is started, told of signals, and waited for.
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
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use support::{Destination, Process, assert_same_file, project, restore_ok, run_app, wait_until, walferry};

const LONG: Duration = Duration::from_secs(30);

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        run_app(&["create", scene.db(), "4096", "none"]);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn db(&self) -> &'static str {
        self.path("app.db").to_str().unwrap().to_owned().leak()
    }

    fn replica(&self) -> Destination {
        Destination::Folder(self.path("replica"))
    }

    /// Replicates, with a shell script for an application.
    fn exec(&self, script: &str, extra: &[&str]) -> Command {
        fs::write(self.path("app.sh"), script).unwrap();
        let mut command = walferry();
        command.args(["replicate", "-exec"]);
        command.arg(format!("sh '{}'", self.path("app.sh").display()));
        command.args(extra).arg(self.db()).arg(self.replica().url());
        command.current_dir(self.folder.path());
        command
    }

    fn proves(&self) {
        run_app(&["finish", self.db()]);
        let restored = self.path("restored.db");
        restore_ok(&self.replica(), &restored);
        assert_same_file(&self.path("app.db"), &restored, 4096);
        fs::remove_file(restored).unwrap();
    }
}

fn commit(scene: &Scene, text: &str) -> String {
    let app = project().join("tests/support/app.py");
    format!("python3 '{}' commit '{}' {text}", app.display(), scene.db())
}

#[test]
fn it_ends_with_the_application_and_with_its_code() {
    let scene = Scene::new();
    for code in [0, 7] {
        let script = format!("{}\nexit {code}\n", commit(&scene, "last"));
        let mut ferry = Process::start(&mut scene.exec(&script, &[]));
        assert_eq!(ferry.wait_for(LONG), Some(code));
        scene.proves();
    }
    // Ended by a signal of its own.
    let mut ferry = Process::start(&mut scene.exec("kill -KILL $$\n", &[]));
    assert_eq!(ferry.wait_for(LONG), Some(128 + 9));
    let output = walferry()
        .args(["replicate", "-exec", "/no/such/program", scene.db()])
        .arg(scene.replica().url())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_signal_is_for_the_application_and_what_it_does_then_is_shipped() {
    let scene = Scene::new();
    let script = format!(
        "trap '{}; exit 3' TERM\ntouch started\nwhile :; do sleep 0.05; done\n",
        commit(&scene, "bye").replace('\'', "")
    );
    let ferry = Process::start(&mut scene.exec(&script, &[]));
    wait_until("the application", LONG, || scene.path("started").exists());
    assert_eq!(ferry.terminate(), Some(3));
    scene.proves();
}

#[test]
fn a_second_signal_does_not_wait() {
    let scene = Scene::new();
    // It does not mind signals, and ends when the test is over, whatever becomes of us.
    let script =
        "trap 'touch told' TERM\ntouch started\nfor n in $(seq 600); do [ -e app.sh ] && sleep 0.05; done\n";
    let ferry = Process::start(&mut scene.exec(script, &[]));
    wait_until("the application", LONG, || scene.path("started").exists());
    let pid = rustix::process::Pid::from_child(&ferry.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    wait_until("the application to be told", LONG, || scene.path("told").exists());
    let mut ferry = ferry;
    assert!(
        ferry.0.try_wait().unwrap().is_none(),
        "it waits for the application"
    );
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(ferry.wait_for(LONG), Some(128 + 15));
}

#[test]
fn a_missing_database_is_restored_before_the_application_starts() {
    let scene = Scene::new();
    let mut ferry = Process::start(&mut scene.exec("exit 0\n", &[]));
    assert_eq!(ferry.wait_for(LONG), Some(0));
    scene.proves();
    let before = fs::read(scene.path("app.db")).unwrap();
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(scene.path(&format!("app.db{end}")));
    }
    let mut ferry = Process::start(&mut scene.exec("cp app.db seen\n", &["-restore-if-db-not-exists"]));
    assert_eq!(ferry.wait_for(LONG), Some(0));
    assert!(before == fs::read(scene.path("seen")).unwrap());
    // One that no replica has is a new one: the application makes it, and it is followed.
    let fresh = Scene::new();
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(fresh.path(&format!("app.db{end}")));
    }
    let app = project().join("tests/support/app.py");
    let script = format!(
        "sleep 0.3; python3 '{}' create '{}' 4096 none\n",
        app.display(),
        fresh.db()
    );
    let mut ferry = Process::start(&mut fresh.exec(&script, &["-restore-if-db-not-exists"]));
    assert_eq!(ferry.wait_for(LONG), Some(0));
    fresh.proves();
}
