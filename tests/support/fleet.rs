//! Many databases in a folder, a configuration, and the walferry that follows them.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests use it"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use rusqlite::Connection;

use super::{Destination, Process, assert_same_file, restore_ok, wait_until, walferry};

pub const LONG: Duration = Duration::from_secs(60);

/// A folder with databases, replicas, a configuration and a control socket.
pub struct Scene {
    pub folder: tempfile::TempDir,
}

impl Scene {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("dbs")).unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    pub fn replica(&self, name: &str) -> Destination {
        Destination::Folder(self.path("replicas").join(name))
    }

    /// `dbs` is what comes after that key; `ROOT` stands for the folder.
    pub fn configure(&self, text: &str) -> PathBuf {
        let file = self.path("walferry.yml");
        let text = format!("socket: {{enabled: true, path: ROOT/socket}}\n{text}");
        let root = self.folder.path().canonicalize().unwrap();
        fs::write(&file, text.replace("ROOT", root.to_str().unwrap())).unwrap();
        file
    }

    pub fn replicate(&self, dbs: &str, extra: &[&str]) -> Process {
        let file = self.configure(dbs);
        let mut command = walferry();
        command.args(["replicate", "--log-level", "warn", "-config"]);
        command.arg(file).args(extra);
        Process::start(&mut command)
    }

    pub fn sync(&self, database: &str) -> Output {
        let mut command = walferry();
        command
            .args(["sync", "-wait", "-json", "-socket"])
            .arg(self.path("socket"));
        command.arg(self.path(database)).output().unwrap()
    }

    /// Everything that is committed now is shipped.
    pub fn synced(&self, database: &str) {
        wait_until(&format!("{database} to be followed"), LONG, || {
            self.sync(database).status.success()
        });
    }

    pub fn proves(&self, database: &str, replica: &str) {
        let file = self.path(database);
        let _: i64 = Connection::open(&file)
            .unwrap()
            .query_row("pragma wal_checkpoint(truncate)", [], |row| row.get(0))
            .unwrap();
        let restored = self.path("restored.db");
        restore_ok(&self.replica(replica), &restored);
        assert_same_file(&file, &restored, 4096);
        fs::remove_file(&restored).unwrap();
    }
}

pub fn create(path: &Path, rows: u32) {
    let db = Connection::open(path).unwrap();
    db.execute_batch("pragma journal_mode = wal; pragma synchronous = off; create table t (x)")
        .unwrap();
    insert_into(&db, rows);
}

pub fn insert(path: &Path, rows: u32) {
    let db = Connection::open(path).unwrap();
    db.busy_timeout(Duration::from_secs(20)).unwrap();
    insert_into(&db, rows);
}

fn insert_into(db: &Connection, rows: u32) {
    for _ in 0..rows {
        db.execute("insert into t values (randomblob(300))", []).unwrap();
    }
}

pub fn rows(path: &Path) -> u32 {
    let db = Connection::open(path).unwrap();
    db.query_row("select count(*) from t", [], |row| row.get(0))
        .unwrap()
}

pub const WATCHED: &str = "dbs: [{dir: ROOT/dbs, pattern: '*.db', recursive: true, watch: true, \
    replica: {path: ROOT/replicas}}]";
