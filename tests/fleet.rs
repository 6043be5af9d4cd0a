//! Many databases in one process: they come and go, fail and heal, without disturbing each other.
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

use support::fleet::{LONG, Scene, WATCHED, create, insert, rows};
use support::{restore_ok, wait_until, walferry};

#[test]
fn a_hundred_databases_are_shipped_and_restored_identical() {
    let scene = Scene::new();
    let names: Vec<String> = (0..100).map(|n| format!("dbs/{}/{n}.db", n % 3)).collect();
    (0..3).for_each(|n| fs::create_dir(scene.path(&format!("dbs/{n}"))).unwrap());
    for name in &names {
        create(&scene.path(name), 20);
    }
    let fleet = scene.replicate(WATCHED, &[]);
    std::thread::scope(|scope| {
        for part in names.chunks(25) {
            scope.spawn(|| {
                for _ in 0..4 {
                    part.iter().for_each(|name| insert(&scene.path(name), 5));
                }
            });
        }
    });
    wait_until("the first copies", LONG, || {
        names
            .iter()
            .all(|name| scene.path("replicas").join(&name[4..]).join("ltx").exists())
    });
    assert_eq!(fleet.terminate(), Some(0));
    for name in &names {
        scene.proves(name, &name[4..]);
    }
}

#[test]
fn databases_of_a_watched_folder_come_and_go() {
    let scene = Scene::new();
    create(&scene.path("dbs/a.db"), 3);
    fs::write(scene.path("dbs/notes.db"), "these are no pages").unwrap();
    let fleet = scene.replicate(WATCHED, &[]);
    scene.synced("dbs/a.db");
    // One that comes, in a folder that comes.
    fs::create_dir_all(scene.path("dbs/new/folder")).unwrap();
    create(&scene.path("dbs/new/folder/b.db"), 3);
    scene.synced("dbs/new/folder/b.db");
    // One that goes is not followed any more, and one that comes back is.
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(scene.path(&format!("dbs/a.db{end}")));
    }
    wait_until("a.db to be let go", LONG, || {
        String::from_utf8(scene.sync("dbs/a.db").stderr)
            .unwrap()
            .contains("not replicated here")
    });
    create(&scene.path("dbs/a.db"), 30);
    scene.synced("dbs/a.db");
    assert!(!scene.path("replicas/notes.db").exists());
    assert_eq!(fleet.terminate(), Some(0));
    scene.proves("dbs/a.db", "a.db");
    scene.proves("dbs/new/folder/b.db", "new/folder/b.db");
}

#[test]
fn one_that_cannot_be_followed_does_not_hold_up_the_others_and_heals() {
    let scene = Scene::new();
    create(&scene.path("dbs/good.db"), 3);
    fs::write(scene.path("dbs/broken.db"), vec![7; 8192]).unwrap();
    let one =
        |name: &str| format!("  - {{path: ROOT/dbs/{name}.db, replica: {{path: ROOT/replicas/{name}}}}}\n");
    let dbs = format!("dbs:\n{}{}{}", one("broken"), one("missing"), one("good"));
    let fleet = scene.replicate(&dbs, &[]);
    scene.synced("dbs/good.db");
    let says = |name: &str| String::from_utf8(scene.sync(name).stdout).unwrap();
    assert!(
        says("dbs/broken.db").contains("not followed now"),
        "{}",
        says("dbs/broken.db")
    );
    assert!(
        says("dbs/missing.db").contains("not there yet"),
        "{}",
        says("dbs/missing.db")
    );
    // Somebody makes the one, and puts a database in the place of the other.
    create(&scene.path("dbs/missing.db"), 3);
    create(&scene.path("other.db"), 5);
    fs::rename(scene.path("other.db"), scene.path("dbs/broken.db")).unwrap();
    scene.synced("dbs/missing.db");
    scene.synced("dbs/broken.db");
    // A database that is replaced while it is followed is followed anew.
    create(&scene.path("other.db"), 50);
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(scene.path(&format!("dbs/good.db{end}")));
    }
    fs::rename(scene.path("other.db"), scene.path("dbs/good.db")).unwrap();
    insert(&scene.path("dbs/good.db"), 1);
    wait_until("the new good.db", LONG, || {
        scene.synced("dbs/good.db");
        let restored = scene.path("good.db");
        restore_ok(&scene.replica("good"), &restored);
        let rows = rows(&restored);
        fs::remove_file(restored).unwrap();
        rows == 51
    });
    assert_eq!(fleet.terminate(), Some(0));
    for name in ["good", "missing", "broken"] {
        scene.proves(&format!("dbs/{name}.db"), name);
    }
}

#[test]
fn once_ships_all_that_can_be_and_names_the_others() {
    let scene = Scene::new();
    for name in ["a", "b"] {
        create(&scene.path(&format!("dbs/{name}.db")), 3);
    }
    let one =
        |name: &str| format!("  - {{path: ROOT/dbs/{name}.db, replica: {{path: ROOT/replicas/{name}}}}}\n");
    let file = scene.configure(&format!("dbs:\n{}{}{}", one("a"), one("none"), one("b")));
    let output = walferry()
        .args(["replicate", "-once", "-config"])
        .arg(file)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("dbs/none.db: "), "{stderr}");
    scene.proves("dbs/a.db", "a");
    scene.proves("dbs/b.db", "b");
}

#[test]
fn the_databases_of_a_configuration_are_listed() {
    let scene = Scene::new();
    create(&scene.path("dbs/a.db"), 1);
    fs::write(scene.path("dbs/notes.db"), "these are no pages").unwrap();
    let file = scene.configure(WATCHED);
    let run = |extra: &[&str]| {
        let output = walferry()
            .args(["databases", "-config"])
            .arg(&file)
            .args(extra)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let (dbs, replicas) = (scene.path("dbs"), scene.path("replicas"));
    assert!(run(&[]).contains(&format!("{}/*.db  file://{}", dbs.display(), replicas.display())));
    let json: serde_json::Value = serde_json::from_str(&run(&["-json"])).unwrap();
    assert_eq!(json[0]["path"], dbs.to_str().unwrap());
    assert_eq!(json[0]["pattern"], "*.db");
    // And what is in it, with the place that each has.
    assert_eq!(json[1]["path"], scene.path("dbs/a.db").to_str().unwrap());
    assert_eq!(json[1]["replicas"][0], scene.replica("a.db").url());
    assert_eq!(json.as_array().unwrap().len(), 2, "{json}");
    // It is found by the environment too, and what is wrong with it is a matter of usage.
    fs::write(&file, "dbs:\n  - pth: /a\n").unwrap();
    let output = walferry()
        .arg("databases")
        .env("LITESTREAM_CONFIG", &file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("walferry.yml:2:5: a database has no pth: did you mean path?"),
        "{stderr}"
    );
}

#[test]
fn nobody_else_may_use_the_socket_and_a_stale_one_is_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new();
    create(&scene.path("dbs/a.db"), 3);
    drop(std::os::unix::net::UnixListener::bind(scene.path("socket")).unwrap());
    let fleet = scene.replicate(WATCHED, &[]);
    scene.synced("dbs/a.db");
    let mode = scene.path("socket").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let file = scene.path("walferry.yml");
    let second = walferry()
        .args(["replicate", "-config"])
        .arg(file)
        .output()
        .unwrap();
    let stderr = String::from_utf8(second.stderr).unwrap();
    assert!(stderr.contains("another walferry listens there"), "{stderr}");
    assert_eq!(fleet.terminate(), Some(0));
    assert!(!scene.path("socket").exists());
    let stderr = String::from_utf8(scene.sync("dbs/a.db").stderr).unwrap();
    assert!(stderr.contains("no walferry takes commands at"), "{stderr}");
}

#[test]
fn sync_waits_until_every_replica_has_it() {
    let scene = Scene::new();
    create(&scene.path("dbs/a.db"), 3);
    // Left alone, what is committed after the first copy would be shipped in an hour.
    let fleet = scene.replicate(
        "sync-interval: 1h\ndbs: [{path: ROOT/dbs/a.db, replicas: [{path: ROOT/replicas/1}, {path: ROOT/replicas/2}]}]",
        &[],
    );
    scene.synced("dbs/a.db");
    for round in 0..3 {
        insert(&scene.path("dbs/a.db"), 2);
        let output = scene.sync("dbs/a.db");
        assert!(output.status.success(), "{output:?}");
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["status"], "synced");
        assert_eq!(answer["replicas"].as_array().unwrap().len(), 2, "{answer}");
        for replica in ["1", "2"] {
            let restored = scene.path(&format!("{round}-{replica}.db"));
            restore_ok(&scene.replica(replica), &restored);
            assert_eq!(rows(&restored), 3 + 2 * (round + 1));
        }
    }
    assert_eq!(fleet.terminate(), Some(0));
}

#[test]
fn the_walferry_that_runs_says_who_it_is_and_what_it_replicates() {
    let scene = Scene::new();
    create(&scene.path("dbs/a.db"), 3);
    fs::write(scene.path("dbs/b.db"), vec![7; 8192]).unwrap();
    let one =
        |name: &str| format!("  - {{path: ROOT/dbs/{name}.db, replica: {{path: ROOT/replicas/{name}}}}}\n");
    let fleet = scene.replicate(&format!("dbs:\n{}{}", one("a"), one("b")), &[]);
    scene.synced("dbs/a.db");
    // The socket is the configuration's, or is named.
    let ask = |command: &str, extra: &[&str]| {
        let mut asked = walferry();
        asked
            .args([command, "-config"])
            .arg(scene.path("walferry.yml"))
            .args(extra);
        asked.output().unwrap()
    };
    let json = |command: &str| -> serde_json::Value {
        let output = ask(command, &["-json"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let info = json("info");
    assert_eq!(info["pid"], fleet.0.id());
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["databases"], 2);
    assert!(info["uptime_seconds"].as_f64().unwrap() > 0.0);
    wait_until("b.db to be said", LONG, || json("list")[1]["status"] == "failing");
    let list = json("list");
    assert_eq!(list[0]["path"], scene.path("dbs/a.db").to_str().unwrap());
    assert_eq!(list[0]["status"], "replicating");
    assert_eq!(list[0]["replicas"][0]["replica"], scene.replica("a").url());
    assert_eq!(list[0]["replicas"][0]["txid"], "0000000000000001");
    assert!(
        list[1]["failure"]
            .as_str()
            .unwrap()
            .contains("is not an SQLite database"),
        "{list}"
    );
    let text = String::from_utf8(ask("list", &[]).stdout).unwrap();
    assert!(
        text.contains("a.db is replicating\n  file://") && text.contains("replicas/a has 0000000000000001\n"),
        "{text}"
    );
    let text = String::from_utf8(ask("info", &[]).stdout).unwrap();
    assert!(text.contains(&format!("process    {}", fleet.0.id())), "{text}");
    assert_eq!(fleet.terminate(), Some(3), "one could not be followed to the end");
    let silent = ask("list", &[]);
    assert_eq!(silent.status.code(), Some(4));
    let stderr = String::from_utf8(silent.stderr).unwrap();
    assert!(stderr.contains("no walferry takes commands at"), "{stderr}");
}
