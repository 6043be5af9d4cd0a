//! Commits that came and went while walferry was away: the application's last connection copied them back into the
//! database and left the WAL as empty as it was found.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test"
)]

mod support;

use support::{Destination, assert_same_file, restore_ok, run_app, walferry};

#[test]
fn what_an_empty_wal_does_not_show_is_shipped() {
    let folder = tempfile::tempdir().unwrap();
    let (database, replica) = (folder.path().join("app.db"), folder.path().join("replica"));
    let (db, url) = (
        database.to_str().unwrap(),
        format!("file://{}", replica.display()),
    );
    run_app(&["create", db, "4096", "none"]);
    for round in 0..3 {
        let status = walferry()
            .args(["replicate", "--once", db, &url])
            .status()
            .unwrap();
        assert!(status.success());
        let out = folder.path().join(format!("out-{round}.db"));
        restore_ok(&Destination::Folder(replica.clone()), &out);
        assert_same_file(&database, &out, 4096);
        run_app(&["commit", db, "a row"]);
    }
}
