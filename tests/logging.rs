//! What is told about replication: lines that people and programs read.
#![cfg(feature = "native")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use support::{Process, run_app, wait_until, walferry};

/// What `replicate --once` tells on stderr.
fn told(arguments: &[&str], level: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("app.db");
    run_app(&["create", db.to_str().unwrap(), "4096", "none"]);
    let mut command = walferry();
    command.args(["replicate", "--once"]).args(arguments).arg(&db);
    command.arg(format!("file://{}/replica", folder.path().display()));
    command
        .env_remove("LOG_LEVEL")
        .envs(level.map(|level| ("LOG_LEVEL", level)));
    let output = command.output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn lines_are_text_or_json_and_never_coloured_for_a_program() {
    let text = told(&[], None);
    assert!(!text.is_empty());
    for line in text.lines() {
        assert!(
            line.starts_with("time=20") && line.contains("Z level=INFO msg="),
            "{line}"
        );
    }
    for line in told(&["-log-format", "json"], None).lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(
            line["time"].is_string() && line["level"] == "INFO" && line["msg"].is_string(),
            "{line}"
        );
    }
    let pretty = told(&["-log-format", "pretty", "-log-level", "debug"], None);
    assert!(pretty.contains("DEBUG") && !pretty.contains('\u{1b}'), "{pretty}");
}

#[test]
fn the_level_is_the_options_or_that_of_the_environment() {
    assert_eq!(told(&["-log-level", "error"], Some("debug")), "");
    assert_eq!(told(&[], Some("ERROR")), "");
    assert!(told(&[], Some("debug")).contains("level=DEBUG"));
    assert!(told(&[], Some("someone else's")).contains("level=INFO"));
}

#[test]
fn segments_under_load_are_not_told_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("app.db");
    run_app(&["create", db.to_str().unwrap(), "4096", "none"]);
    let replica = folder.path().join("replica");
    let mut command = walferry();
    command.args(["replicate", "-sync-interval", "20ms"]).arg(&db);
    command.arg(format!("file://{}", replica.display()));
    command.env_remove("LOG_LEVEL").stderr(Stdio::piped());
    let mut ferry = Process::start(&mut command);
    wait_until("the first copy", Duration::from_secs(20), || {
        replica.join("ltx/9").is_dir()
    });
    let shipped = || std::fs::read_dir(replica.join("ltx/0")).map_or(0, Iterator::count);
    for round in 0..4 {
        run_app(&["commit", db.to_str().unwrap(), &format!("round {round}")]);
        wait_until("the segment", Duration::from_secs(20), || shipped() > round);
    }
    let stderr = ferry.0.stderr.take().unwrap();
    assert_eq!(ferry.terminate(), Some(0));
    let told = std::io::read_to_string(stderr).unwrap();
    assert_eq!(
        told.lines().filter(|line| line.contains("msg=shipped")).count(),
        1,
        "{told}"
    );
    assert!(
        told.lines()
            .any(|line| line.contains("msg=shipped") && line.contains("replica=file://"))
    );
}
