//! `walferry status` asks the replica.
#![cfg(feature = "native")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use support::s3::{S3, free_port};
use support::{Destination, replicate, run_app, walferry};

const LONG: Duration = Duration::from_secs(20);

struct Scene {
    s3: S3,
    folder: tempfile::TempDir,
    db: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let s3 = S3::start(&folder.path().join("s3"));
        let db = folder.path().join("app.db");
        run_app(&["create", db.to_str().unwrap(), "4096", "none"]);
        Self { s3, folder, db }
    }

    fn commit(&self, text: &str) {
        run_app(&["commit", self.db.to_str().unwrap(), text]);
    }

    fn replica(&self) -> Destination {
        self.s3.replica("app")
    }

    fn once(&self) {
        let mut process = replicate(&self.db, &self.replica(), &["--once"]);
        assert_eq!(process.wait_for(LONG), Some(0));
    }

    /// Runs `walferry status --json`; the exit code and what it printed.
    fn status(&self, destination: &Destination, extra: &[&str]) -> (Option<i32>, Value) {
        let mut command = walferry();
        command
            .args(["status", "--json"])
            .args(extra)
            .arg(destination.url());
        destination.authorize(&mut command);
        let output = command.output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let json = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));
        (output.status.code(), json)
    }
}

#[test]
fn the_replica_tells_its_states_its_size_and_how_far_it_is_behind() {
    let scene = Scene::new();
    let db = scene.db.to_str().unwrap().to_owned();
    assert_eq!(scene.status(&scene.replica(), &[]).0, Some(7), "an empty replica");
    scene.once();
    scene.commit("a second state");
    scene.once();
    let (code, status) = scene.status(&scene.replica(), &["-db", &db]);
    assert_eq!(code, Some(0), "{status}");
    assert_eq!(status["oldest"]["txid"], "0000000000000001", "{status}");
    assert_eq!(status["newest"]["txid"], "0000000000000002", "{status}");
    assert!(status["newest"]["time"].as_i64() > status["oldest"]["time"].as_i64());
    let objects = scene.s3.objects("app");
    assert_eq!(status["objects"], objects.len(), "{objects:?}");
    let bytes: u64 = objects
        .iter()
        .map(|key| size(&scene.s3.folder().join("app").join(key)))
        .sum();
    assert_eq!(status["bytes"], bytes);
    let levels = status["levels"].as_array().unwrap();
    assert_eq!(
        levels
            .iter()
            .map(|level| level["bytes"].as_u64().unwrap())
            .sum::<u64>(),
        bytes
    );
    assert_eq!(status["local"]["behind_seconds"], 0.0, "{status}");
    assert!(status["cost"].is_null(), "nobody knows what this server costs");
    std::thread::sleep(Duration::from_millis(200));
    scene.commit("not shipped");
    let (_, status) = scene.status(&scene.replica(), &["-db", &db]);
    assert!(
        status["local"]["behind_seconds"].as_f64().unwrap() > 0.1,
        "{status}"
    );

    let folder = Destination::Folder(scene.folder.path().join("nothing"));
    assert_eq!(scene.status(&folder, &[]).0, Some(7));
    let nowhere = support::s3::replica_at(free_port(), "app");
    assert_eq!(scene.status(&nowhere, &["-addr", "127.0.0.1:1"]).0, Some(4));
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}
