//! The restore drill, asked of the program itself: what it proves, what it prints, and how it ends where a replica is damaged.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use support::{ended, json, run_app, said, walferry};

/// A database, its replica, and a folder for the drill.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// With a first copy and so many transactions after it.
    fn new(transactions: usize) -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let db = place.text("app.db");
        run_app(&["create", &db, "4096", "none"]);
        place.ship();
        for _ in 0..transactions {
            run_app(&["commit", &db, "a row"]);
            place.ship();
        }
        run_app(&["finish", &db]);
        fs::create_dir(place.path("drill")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn url(&self) -> String {
        format!("file://{}", self.text("replica"))
    }

    fn ship(&self) {
        let arguments = ["replicate", "-once", &self.text("app.db"), &self.url()];
        assert!(walferry().args(arguments).status().unwrap().success());
    }

    /// Drills, in a folder where nothing may be left.
    fn verify(&self, arguments: &[&str]) -> Output {
        let mut command = walferry();
        command.args(["verify", "-dir", &self.text("drill")]);
        let output = command.args(arguments).output().unwrap();
        let left = fs::read_dir(self.path("drill")).unwrap().count();
        assert_eq!(left, 0, "a drill leaves something behind");
        output
    }

    /// The only object of a level.
    fn object(&self, level: u32) -> PathBuf {
        let mut found = fs::read_dir(self.path(&format!("replica/ltx/{level}"))).unwrap();
        found.next().unwrap().unwrap().path()
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_good_replica_is_proven() {
    let place = Place::new(3);
    let size = fs::metadata(place.path("app.db")).unwrap().len();
    let output = place.verify(&[&place.url()]);
    ended(&output, 0);
    let told = said(&output);
    for part in [
        "can be restored",
        "transaction 0000000000000004",
        &format!("all {} pages", size / 4096),
        "integrity_check found nothing",
        "recovery: ",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let report = json(&place.verify(&["-json", &place.url()]));
    assert_eq!(report["txid"], "0000000000000004");
    assert_eq!(report["bytes"], size);
    assert_eq!(report["replaced"].as_array().unwrap().len(), 0);
    for number in ["seconds", "integrity_seconds", "requests", "fetched"] {
        assert!(report[number].as_f64().unwrap() > 0.0, "{report}");
    }
    assert!(told.contains(report["sum"].as_str().unwrap()), "{told} {report}");

    let at = json(&place.verify(&["-json", "-txid", "0000000000000002", &place.url()]));
    assert_eq!(at["txid"], "0000000000000002");
    ended(&place.verify(&["-txid", "0000000000000009", &place.url()]), 3);
    ended(&place.verify(&["-timestamp", "1 day ago", &place.url()]), 3);
    let newest = json(&place.verify(&["-json", "-timestamp", "0s ago", &place.url()]));
    assert_eq!(newest["txid"], report["txid"]);
}

/// A random point is one of those that can be restored; not always the same.
#[test]
fn random_points() {
    let place = Place::new(3);
    let mut seen = BTreeSet::new();
    for _ in 0..14 {
        let output = place.verify(&["-random", "-json", &place.url()]);
        ended(&output, 0);
        seen.insert(json(&output)["txid"].as_str().unwrap().to_owned());
    }
    assert!(seen.len() > 1, "{seen:?}");
    let all: BTreeSet<String> = (1..=4).map(|txid| format!("{txid:016x}")).collect();
    assert!(seen.is_subset(&all), "{seen:?}");
    ended(
        &place.verify(&["-random", "-txid", "0000000000000001", &place.url()]),
        2,
    );
}

/// Exit code 7, whatever is wrong with the only copy of something.
#[test]
fn damage_has_an_exit_code_of_its_own() {
    let place = Place::new(1);
    let damaged = |what: &str| {
        let output = place.verify(&["-json", &place.url()]);
        ended(&output, 7);
        assert_eq!(json(&output)["error"]["code"], "damaged", "{what}");
        assert!(
            said(&output).contains("was not proven"),
            "{what}: {}",
            said(&output)
        );
        ended(&place.verify(&[&place.url()]), 7);
    };
    for level in [9, 0] {
        let object = place.object(level);
        let whole = fs::read(&object).unwrap();
        for at in [20, 150, whole.len() / 2, whole.len() - 20] {
            flip(&object, at);
            damaged(&format!("byte {at} of level {level}"));
            fs::write(&object, &whole).unwrap();
        }
        for len in [0, 90, whole.len() - 1] {
            fs::write(&object, &whole[..len]).unwrap();
            damaged(&format!("{len} bytes of level {level}"));
        }
        fs::write(&object, &whole).unwrap();
    }
    ended(&place.verify(&[&place.url()]), 0);
    let newest = place.object(0);
    let whole = fs::read(&newest).unwrap();
    // Without the snapshot there is nothing to start from.
    fs::remove_file(place.object(9)).unwrap();
    damaged("no snapshot");
    fs::remove_file(&newest).unwrap();
    damaged("an empty replica");
    drop(whole);
    let missing = format!("file://{}", place.text("missing"));
    ended(&place.verify(&[&missing]), 7);
}

/// Found by the database's path; where it has several replicas, the one that reaches furthest.
#[test]
fn from_the_configuration() {
    let place = Place::new(2);
    let config = place.text("walferry.yml");
    fs::create_dir(place.path("empty")).unwrap();
    let text = format!(
        "dbs:\n  - path: {}\n    replicas:\n      - path: {}\n      - path: {}\n",
        place.text("app.db"),
        place.text("empty"),
        place.text("replica"),
    );
    fs::write(&config, text).unwrap();
    let output = place.verify(&["-config", &config, "-json", &place.text("app.db")]);
    ended(&output, 0);
    assert_eq!(json(&output)["txid"], "0000000000000003");
    let output = place.verify(&["-config", &config, &place.text("app.db")]);
    assert!(said(&output).contains(&place.url()), "{}", said(&output));
    ended(&place.verify(&["-config", &config, "/nowhere.db"]), 2);
}
