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

use std::path::Path;
use std::time::Duration;

use support::running::{LONG, Scene};
use support::s3::free_port;
use support::{Destination, replicate, run_app, walferry};

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

#[test]
fn all_replicas_of_a_configuration_are_in_one_table() {
    let scene = Scene::new();
    let root = scene.folder.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("dbs")).unwrap();
    let two = root.join("dbs/two.db");
    run_app(&["create", two.to_str().unwrap(), "4096", "none"]);
    let config = root.join("walferry.yml");
    let text = format!(
        "addr: 127.0.0.1:{}\ndbs:\n  - {{path: {db}, replicas: [{{url: '{url}'}}, {{path: {root}/empty}}]}}\n  \
         - {{dir: {root}/dbs, pattern: '*.db', replica: {{path: {root}/replicas}}}}\n",
        free_port(),
        db = scene.db.display(),
        url = scene.replica().url(),
        root = root.display(),
    );
    std::fs::write(&config, text).unwrap();
    let status = |extra: &[&str]| {
        let mut command = walferry();
        scene.replica().authorize(&mut command);
        let output = command
            .args(["status", "-config"])
            .arg(&config)
            .args(extra)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    scene.once();
    let mut ferry = replicate(
        &two,
        &Destination::Folder(root.join("replicas/two.db")),
        &["--once"],
    );
    assert_eq!(ferry.wait_for(LONG), Some(0));
    std::thread::sleep(Duration::from_millis(200));
    run_app(&["commit", two.to_str().unwrap(), "not shipped"]);

    let (code, table) = status(&[]);
    assert_eq!(code, Some(7), "one is empty: {table}");
    let line = |replica: &str| table.lines().find(|line| line.contains(replica)).unwrap();
    assert!(table.starts_with("database "), "{table}");
    let shipped = line("s3://backups/app");
    assert!(
        shipped.contains("app.db  ") && shipped.contains("  ok  "),
        "{table}"
    );
    assert!(shipped.contains("0000000000000001 of 20"), "{table}");
    assert!(line("/empty").contains("failing"), "{table}");
    assert!(line("replicas/two.db").contains(" s behind"), "{table}");
    assert!(
        table.lines().last().unwrap().contains("/empty does not exist"),
        "{table}"
    );

    let (code, json) = status(&["-json"]);
    assert_eq!(code, Some(7));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 3, "{json}");
    assert_eq!(json[0]["status"], "ok");
    assert_eq!(json[0]["newest"]["txid"], "0000000000000001");
    assert_eq!(json[1]["status"], "failing");
    assert!(json[1]["replica"].as_str().unwrap().ends_with("/empty"), "{json}");
    assert_eq!(json[2]["status"], "behind");
    assert_eq!(json[2]["database"], two.to_str().unwrap());

    let (code, one) = status(&[two.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{one}");
    assert_eq!(one.lines().count(), 2, "{one}");
    let (code, none) = status(&["/no/such.db"]);
    assert_eq!((code, none.as_str()), (Some(3), ""));
}
