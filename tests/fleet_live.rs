//! Databases are taken up and let go while walferry runs: by its commands, and by requests as Litestream's scripts make them.
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
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Output;

use rusqlite::Connection;
use serde_json::{Value, json};
use support::fleet::{LONG, Scene, WATCHED, create, insert, rows};
use support::{restore_ok, wait_until, walferry};

const EMPTY: &str = "dbs: []\n";

fn run(scene: &Scene, words: &[&str], database: &str) -> Output {
    let mut command = walferry();
    command.args(words).arg("-socket").arg(scene.path("socket"));
    command.arg(scene.path(database)).output().unwrap()
}

fn done(scene: &Scene, words: &[&str], database: &str) -> Value {
    let words: Vec<&str> = words.iter().copied().chain(["-json"]).collect();
    let output = run(scene, &words, database);
    assert!(output.status.success(), "{words:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(scene: &Scene, words: &[&str], database: &str) -> String {
    let output = run(scene, words, database);
    assert_eq!(output.status.code(), Some(4), "{words:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// As a script asks with curl: the status, and the body.
fn ask(scene: &Scene, request: &str, body: Option<Value>) -> (u16, Value) {
    let mut stream = UnixStream::connect(scene.path("socket")).unwrap();
    let body = body.map_or(String::new(), |body| body.to_string());
    let length = body.len();
    let text = format!("{request} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

fn status_of(scene: &Scene, database: &str) -> Option<String> {
    let (_, list) = ask(scene, "GET /list", None);
    let path = scene.path(database);
    let databases = list.as_array().unwrap().iter();
    let mut found = databases.filter(|row| row["path"] == path.to_str().unwrap());
    Some(found.next()?["status"].as_str().unwrap().to_owned())
}

#[test]
fn a_database_is_registered_stopped_started_and_unregistered() {
    let scene = Scene::new();
    create(&scene.path("dbs/a.db"), 3);
    let fleet = scene.replicate(EMPTY, &[]);
    wait_until("the socket", LONG, || scene.path("socket").exists());
    let url = scene.replica("a").url();
    let register = ["register", "-replica", &url];
    let told = done(&scene, &register, "dbs/a.db");
    assert_eq!(told["status"], "registered");
    assert_eq!(told["db_path"], scene.path("dbs/a.db").to_str().unwrap());
    assert_eq!(told["replica"], url);
    assert_eq!(
        done(&scene, &register, "dbs/a.db")["status"],
        "already_registered"
    );
    scene.synced("dbs/a.db");

    // What is committed is shipped before it is let go, and the file is the operator's then.
    insert(&scene.path("dbs/a.db"), 5);
    let told = done(&scene, &["stop", "-timeout", "60"], "dbs/a.db");
    assert_eq!(
        (&told["status"], &told["state"]),
        (&json!("stopped"), &json!("stopped"))
    );
    let txid = told["txid"].as_u64().unwrap();
    assert!(txid > 0, "{told}");
    scene.proves("dbs/a.db", "a");
    let db = Connection::open(scene.path("dbs/a.db")).unwrap();
    let mode: String = db
        .query_row("pragma journal_mode=delete", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "delete", "nobody else has it open");
    let mode: String = db
        .query_row("pragma journal_mode=wal", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
    drop(db);
    assert_eq!(status_of(&scene, "dbs/a.db").unwrap(), "stopped");
    assert_eq!(done(&scene, &["stop"], "dbs/a.db")["status"], "already_stopped");
    insert(&scene.path("dbs/a.db"), 5);
    let output = scene.sync("dbs/a.db");
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("is stopped"));
    assert!(refused(&scene, &register, "dbs/a.db").contains("is stopped: start it"));

    // It goes on where it was.
    let told = done(&scene, &["start"], "dbs/a.db");
    assert_eq!(
        (&told["status"], &told["state"]),
        (&json!("started"), &json!("running"))
    );
    assert_eq!(told["txid"], txid);
    assert_eq!(done(&scene, &["start"], "dbs/a.db")["status"], "already_running");
    scene.synced("dbs/a.db");
    let restored = scene.path("a-again.db");
    restore_ok(&scene.replica("a"), &restored);
    assert_eq!(rows(&restored), 13);

    insert(&scene.path("dbs/a.db"), 2);
    let output = run(&scene, &["unregister", "-dry-run"], "dbs/a.db");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("would be shipped"),
        "{output:?}"
    );
    assert_eq!(status_of(&scene, "dbs/a.db").unwrap(), "replicating");
    assert_eq!(
        done(&scene, &["unregister"], "dbs/a.db")["status"],
        "unregistered"
    );
    assert_eq!(status_of(&scene, "dbs/a.db"), None);
    assert_eq!(
        done(&scene, &["unregister"], "dbs/a.db")["status"],
        "already_unregistered"
    );
    for command in ["start", "stop"] {
        assert!(refused(&scene, &[command], "dbs/a.db").contains("is not replicated here"));
    }
    scene.proves("dbs/a.db", "a");
    assert_eq!(fleet.terminate(), Some(0));
}

#[test]
fn scripts_that_ask_as_litestream_is_asked_are_answered_so() {
    let scene = Scene::new();
    create(&scene.path("dbs/a.db"), 3);
    create(&scene.path("dbs/b c.db"), 3);
    let dbs = "dbs: [{path: ROOT/dbs/a.db, replica: {path: ROOT/replicas/a}}]";
    let fleet = scene.replicate(dbs, &[]);
    scene.synced("dbs/a.db");
    let (a, b) = (scene.path("dbs/a.db"), scene.path("dbs/b c.db"));
    let (status, answer) = ask(&scene, &format!("GET /txid?path={}", a.display()), None);
    assert_eq!((status, &answer), (200, &json!({"txid": 1})));
    let url = scene.replica("b").url();
    let body = json!({"path": b, "replica_url": url});
    let (status, answer) = ask(&scene, "POST /register", Some(body));
    assert_eq!(
        (status, &answer),
        (200, &json!({"status": "registered", "path": b}))
    );
    scene.synced("dbs/b c.db");
    let query = format!("GET /txid?path={}", b.display().to_string().replace(' ', "%20"));
    assert_eq!(ask(&scene, &query, None), (200, json!({"txid": 1})));
    for (request, status) in [
        ("stop", "stopped"),
        ("stop", "already_stopped"),
        ("start", "started"),
        ("unregister", "unregistered"),
        ("unregister", "already_unregistered"),
    ] {
        let body = json!({"path": b, "timeout": 30});
        let (code, answer) = ask(&scene, &format!("POST /{request}"), Some(body));
        assert_eq!((code, &answer["status"]), (200, &json!(status)), "{answer}");
        assert_eq!(answer["path"], b.to_str().unwrap());
    }
    for (request, body, code, why) in [
        ("register", json!({"path": b}), 400, "replica_url is missing"),
        (
            "register",
            json!({"path": b, "replica_url": "foo://x"}),
            400,
            "foo",
        ),
        (
            "register",
            json!({"path": "b.db", "replica_url": url}),
            400,
            "is not absolute",
        ),
        (
            "register",
            json!({"path": b, "replica_url": scene.replica("a").url()}),
            409,
            "a.db already",
        ),
        (
            "register",
            json!({"path": b, "replica_url": scene.replica("a/ltx/0").url()}),
            409,
            "a.db already",
        ),
        ("start", json!({"path": b}), 404, "is not replicated here"),
        ("stop", json!({"pth": b}), 400, "unknown field"),
        (
            "stop",
            json!({"path": b, "timeout": -1}),
            400,
            "number of seconds",
        ),
    ] {
        let (status, answer) = ask(&scene, &format!("POST /{request}"), Some(body));
        assert_eq!(status, code, "{request}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(why), "{answer}");
    }
    assert_eq!(ask(&scene, "GET /stop", None).0, 405);
    assert_eq!(ask(&scene, "POST /add", Some(json!({}))).0, 404);
    assert_eq!(fleet.terminate(), Some(0));
}

#[test]
fn a_watched_folder_leaves_alone_what_was_stopped_or_unregistered() {
    let scene = Scene::new();
    for name in ["a", "b"] {
        create(&scene.path(&format!("dbs/{name}.db")), 3);
    }
    let fleet = scene.replicate(WATCHED, &[]);
    scene.synced("dbs/a.db");
    scene.synced("dbs/b.db");
    done(&scene, &["stop"], "dbs/a.db");
    done(&scene, &["unregister"], "dbs/b.db");
    // The folder is looked into again.
    create(&scene.path("dbs/c.db"), 3);
    scene.synced("dbs/c.db");
    assert_eq!(status_of(&scene, "dbs/a.db").unwrap(), "stopped");
    assert_eq!(status_of(&scene, "dbs/b.db"), None);
    insert(&scene.path("dbs/a.db"), 2);
    assert_eq!(done(&scene, &["start"], "dbs/a.db")["status"], "started");
    scene.synced("dbs/a.db");
    // One that goes goes, as before.
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(scene.path(&format!("dbs/c.db{end}")));
    }
    wait_until("c.db to be let go", LONG, || {
        status_of(&scene, "dbs/c.db").is_none()
    });
    assert_eq!(fleet.terminate(), Some(0));
    scene.proves("dbs/a.db", "a.db");
}
