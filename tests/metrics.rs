//! The metrics of a walferry that runs move with real writes, and its health turns while the destination is away.
#![cfg(feature = "native")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use std::time::Duration;

use serde_json::Value;
use support::running::{LONG, Scene, get, metric};
use support::s3::free_port;
use support::{Process, replicate, wait_until, walferry};

#[test]
fn metrics_move_with_writes_and_health_turns_while_the_destination_is_away() {
    let mut scene = Scene::new();
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let ferry = replicate(
        &scene.db,
        &scene.replica(),
        &["-addr", &address, "-sync-interval", "100ms"],
    );
    let position = || metric(port, "walferry_position_txid");
    wait_until("the first copy", LONG, || position() == 1.0);
    let puts = metric(port, "walferry_requests_total");
    let sent = metric(port, "walferry_sent_bytes_total");
    for round in 0..3 {
        scene.commit(&format!("round {round}"));
        wait_until("the commit", LONG, || position() == f64::from(round + 2));
    }
    assert!(metric(port, "walferry_requests_total") >= puts + 3.0);
    assert!(metric(port, "walferry_sent_bytes_total") > sent);
    assert!(metric(port, "walferry_segments_total") >= 4.0);
    assert!(metric(port, "walferry_wal_size_bytes") > 4096.0);
    let bytes = std::fs::metadata(&scene.db).unwrap().len();
    assert!(metric(port, "walferry_database_size_bytes") >= bytes as f64);
    assert_eq!(metric(port, "walferry_replication_lag_seconds"), 0.0);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    assert!((now - metric(port, "walferry_last_sync_timestamp_seconds")).abs() < 60.0);
    assert_eq!(get(port, "/health?max-lag=1s").unwrap().0, 200);

    // Idle is idle: nothing is asked of the destination.
    // Every half a minute of the clock, what has come is merged once; that may be now.
    wait_until("two seconds without a request", LONG, || {
        let before = metric(port, "walferry_requests_total");
        std::thread::sleep(Duration::from_secs(2));
        metric(port, "walferry_requests_total") == before
    });

    let (code, status) = scene.status(&scene.replica(), &["-addr", &address]);
    assert_eq!(code, Some(0), "{status}");
    assert!(status["counted"]["put"].as_f64().unwrap() >= 4.0, "{status}");

    scene.s3.stop();
    scene.commit("while it is away");
    wait_until("the health to turn", LONG, || {
        get(port, "/health?max-lag=1s").unwrap().0 == 503
    });
    let (_, reasons) = get(port, "/health?max-lag=1s").unwrap();
    assert!(
        reasons.contains("app.db") && reasons.contains("s behind"),
        "{reasons}"
    );
    let lag = metric(port, "walferry_replication_lag_seconds");
    assert!(lag > 1.0, "{lag}");
    std::thread::sleep(Duration::from_millis(300));
    assert!(metric(port, "walferry_replication_lag_seconds") > lag + 0.2);
    assert!(metric(port, "walferry_errors_total") > 0.0);
    assert_eq!(metric(port, "walferry_replica_up"), 0.0);

    scene.s3.go_on();
    wait_until("the rest", LONG, || position() == 5.0);
    assert_eq!(get(port, "/health?max-lag=1s").unwrap().0, 200);
    assert_eq!(metric(port, "walferry_replication_lag_seconds"), 0.0);
    assert_eq!(metric(port, "walferry_replica_up"), 1.0);
    assert_eq!(ferry.terminate(), Some(0));
}

/// Alerts, the dashboard and the page of the metrics, against all that a walferry tells that has been through it.
#[test]
fn alerts_and_dashboard_name_metrics_that_exist() {
    let mut scene = Scene::new();
    let port = free_port();
    let config = scene.folder.path().join("walferry.yml");
    let url = scene.replica().url();
    let db = scene.db.display();
    let text = format!(
        "addr: \"127.0.0.1:{port}\"\ndbs:\n  - path: {db}\n    replica:\n      url: {url}\n      verify-interval: 500ms\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut command = walferry();
    scene.replica().authorize(&mut command);
    let ferry = Process::start(command.args(["replicate", "-config"]).arg(&config));
    wait_until("a drill", LONG, || metric(port, "walferry_verify_ok") == 1.0);
    scene.s3.stop();
    scene.commit("while it is away");
    wait_until("an error", LONG, || {
        metric(port, "walferry_request_errors_total") > 0.0
    });
    let (_, page) = get(port, "/metrics").unwrap();
    let names = page.lines().filter(|line| !line.starts_with('#'));
    let told: Vec<String> = names
        .map(|line| line.split(['{', ' ']).next().unwrap().to_owned())
        .collect();
    scene.s3.go_on();
    assert_eq!(ferry.terminate(), Some(0));

    let used = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names = words.filter(|word| word.starts_with("walferry_") || word.starts_with("process_"));
        names.map(str::to_owned).collect()
    };
    let alerts = std::fs::read_to_string(support::project().join("docs/alerts.yml")).unwrap();
    let expressions: Vec<&str> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "))
        .collect();
    assert!(expressions.len() >= 8, "{expressions:?}");
    let dashboard = std::fs::read_to_string(support::project().join("docs/grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap());
    let queries: Vec<&str> = queries.map(|target| target["expr"].as_str().unwrap()).collect();
    let page = std::fs::read_to_string(support::project().join("docs/monitoring.md")).unwrap();
    for text in expressions.into_iter().chain(queries).chain(page.lines()) {
        for name in used(text) {
            assert!(told.contains(&name), "{name} in {text:?} is not told: {told:?}");
        }
    }
}
