//! A container of Azure Blob Storage is a store, and a way in and out: walferry and the real Litestream restore each other's.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use support::azure::Azure;
use support::litestream::litestream;
use support::{Process, app, assert_same_file, ended, run_app, said, walferry};
use walferry::ltx::{DbSum, Txid};
use walferry::native::store::{AbsSettings, Access, Counted, Destination, Secret};
use walferry::store::{Error, Store, conformance};

fn open(server: &Azure, path: &str) -> Rc<Counted> {
    let settings = AbsSettings {
        account: Some(Azure::ACCOUNT.to_owned()),
        container: Azure::CONTAINER.to_owned(),
        path: path.to_owned(),
        endpoint: Some(server.endpoint()),
        account_key: Some(Secret::new(Azure::KEY)),
        sas_token: None,
    };
    Destination::Abs(settings).open(&Access::default()).unwrap()
}

#[test]
fn a_container_conforms_and_one_of_many_creators_wins() {
    let folder = tempfile::tempdir().unwrap();
    let server = Azure::start(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let test = async {
        let store = open(&server, "my apps/ü & co+/app=1.db");
        conformance::run(&*store).await;
        let (segment, bytes, _) = conformance::segment(1, &mut DbSum::EMPTY.clone());
        let creators = (0..16).map(|_| {
            let store = open(&server, "raced.db");
            let bytes = bytes.clone();
            async move { store.create(segment, &bytes).await }
        });
        let results = join_all(creators).await;
        let won = results.iter().filter(|result| result.is_ok()).count();
        let lost = results
            .iter()
            .filter(|result| matches!(result, Err(Error::Exists(_))))
            .count();
        assert_eq!((won, lost), (1, 15), "{results:?}");
        let found = open(&server, "raced.db").list_all(Txid::ZERO).await.unwrap();
        assert_eq!(found.len(), 1);
    };
    runtime.block_on(tokio::task::LocalSet::new().run_until(test));
}

#[test]
fn both_ship_there_and_restore_what_the_other_shipped() {
    let folder = tempfile::tempdir().unwrap();
    let server = Azure::start(&folder.path().join("azure"));
    for (path, ship, fetch) in [
        (
            "ours",
            walferry as fn() -> Command,
            litestream_0_5_17 as fn() -> Command,
        ),
        ("theirs", litestream_0_5_17, walferry),
        ("our own", walferry, walferry),
    ] {
        let database = folder.path().join(format!("{path}.db"));
        let config = folder.path().join(format!("{path}.yml"));
        fs::write(&config, server.config(&database, path)).unwrap();
        let db = database.to_str().unwrap();
        run_app(&["create", db, "4096", "none"]);
        let mut command = ship();
        command.args(["replicate", "-config"]).arg(&config);
        let ferry = Process::start(&mut command);
        let mut writer = Process::start(&mut app(&["write", db, "1", "2"]));
        assert_eq!(writer.wait_for(Duration::from_secs(60)), Some(0));
        run_app(&["commit", db, "the last row"]);
        // Litestream looks once a second.
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(ferry.terminate(), Some(0), "{path}");
        run_app(&["finish", db]);
        let restored = folder.path().join(format!("{path}.restored.db"));
        restore(fetch(), &config, &database, &restored);
        assert_same_file(&database, &restored, 4096);
    }
}

fn litestream_0_5_17() -> Command {
    litestream("0.5.17")
}

fn restore(mut command: Command, config: &Path, database: &Path, out: &Path) {
    command
        .args(["restore", "-config"])
        .arg(config)
        .arg("-o")
        .arg(out)
        .arg(database);
    let output = command.output().unwrap();
    ended(&output, 0);
    assert!(out.exists(), "{}", said(&output));
}
