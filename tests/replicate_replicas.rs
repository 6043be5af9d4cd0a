//! Several replicas of one database, and several databases that claim one replica.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod support;

use std::cell::Cell;
use std::fs;
use std::future::Future;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use support::{Destination, assert_same_file, restore_ok, run_app};
use tokio::sync::{mpsc, oneshot};
use walferry::ltx::{Codec, Txid};
use walferry::native::replicate::{
    self, Environment, Error, Options, Replica, ReplicaOptions, SyncRequest, Synced,
};
use walferry::native::status::{DatabaseStatus, ReplicaStatus};
use walferry::native::store::FolderStore;
use walferry::native::upkeep::Policy;
use walferry::replica::{Level, SegmentId, SegmentInfo};
use walferry::store::{self, Body, Source, Store};

const LONG: Duration = Duration::from_secs(30);

/// A folder that can be away, and counts what is read of it.
struct Gate {
    folder: FolderStore,
    is_away: Cell<bool>,
    /// So many reads find nothing.
    gone: Cell<u32>,
    read: Cell<u64>,
}

impl Gate {
    fn new(root: &Path) -> Rc<Self> {
        Rc::new(Self {
            folder: FolderStore::new(root),
            is_away: Cell::new(false),
            gone: Cell::new(0),
            read: Cell::new(0),
        })
    }

    fn pass(&self) -> store::Result<()> {
        match self.is_away.get() {
            true => Err(store::Error::Unavailable("the gate is closed".to_owned())),
            false => Ok(()),
        }
    }
}

#[async_trait(?Send)]
impl Source for Gate {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> store::Result<Bytes> {
        self.pass()?;
        if let Some(left) = self.gone.get().checked_sub(1) {
            self.gone.set(left);
            return Err(store::Error::NotFound(format!("segment {id}")));
        }
        self.read.set(self.read.get() + range.end - range.start);
        self.folder.read(id, range).await
    }
}

#[async_trait(?Send)]
impl Store for Gate {
    async fn list(&self, level: Level, after: Txid) -> store::Result<Vec<SegmentInfo>> {
        self.pass()?;
        self.folder.list(level, after).await
    }

    async fn stat(&self, id: SegmentId) -> store::Result<Option<SegmentInfo>> {
        self.pass()?;
        self.folder.stat(id).await
    }

    async fn create(&self, id: SegmentId, body: &dyn Body) -> store::Result<()> {
        self.pass()?;
        self.folder.create(id, body).await
    }

    async fn delete(&self, id: SegmentId) -> store::Result<()> {
        self.pass()?;
        self.folder.delete(id).await
    }
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        run_app(&[
            "create",
            folder.path().join("app.db").to_str().unwrap(),
            "4096",
            "none",
        ]);
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn db(&self) -> String {
        self.path("app.db").to_str().unwrap().to_owned()
    }

    /// Restores what is in a folder and holds it against the database.
    fn proves(&self, replica: &str) {
        run_app(&["finish", &self.db()]);
        let restored = self.path(&format!("{replica}.restored"));
        restore_ok(&Destination::Folder(self.path(replica)), &restored);
        assert_same_file(&self.path("app.db"), &restored, 4096);
    }
}

/// An engine that runs.
struct Running {
    task: tokio::task::JoinHandle<Result<(), Error>>,
    shutdown: oneshot::Sender<()>,
    requests: mpsc::Sender<SyncRequest>,
    statuses: Vec<Rc<ReplicaStatus>>,
}

fn start(
    database: &Path,
    stores: &[&Rc<Gate>],
    adjust: impl FnOnce(&mut Options, &mut ReplicaOptions),
) -> Running {
    let (requests, asked) = mpsc::channel(1);
    let (shutdown, told) = oneshot::channel::<()>();
    let mut options = Options::new(database.to_owned());
    let mut replica_options = ReplicaOptions {
        sync_interval: Duration::from_millis(50),
        ..ReplicaOptions::new(Codec::Lz4)
    };
    adjust(&mut options, &mut replica_options);
    options.requests = Some(asked);
    let replicas: Vec<Replica> = stores
        .iter()
        .enumerate()
        .map(|(number, store)| Replica {
            store: Rc::clone(store) as Rc<dyn Store>,
            options: replica_options.clone(),
            status: ReplicaStatus::new(format!("replica-{number}"), "file"),
        })
        .collect();
    let statuses: Vec<_> = replicas
        .iter()
        .map(|replica| Rc::clone(&replica.status))
        .collect();
    let status = DatabaseStatus::new(options.database.clone(), statuses.clone());
    let task = tokio::task::spawn_local(async move {
        let told = async {
            told.await.ok();
        };
        replicate::run(options, replicas, status, &Environment::system(), told).await
    });
    Running {
        task,
        shutdown,
        requests,
        statuses,
    }
}

impl Running {
    async fn sync(&self) -> Vec<Synced> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(SyncRequest { reply }).await.unwrap();
        tokio::time::timeout(LONG, answer).await.unwrap().unwrap()
    }

    async fn stop(self) -> Result<(), Error> {
        self.shutdown.send(()).ok();
        tokio::time::timeout(LONG, self.task).await.unwrap().unwrap()
    }

    async fn ended(self) -> Error {
        tokio::time::timeout(LONG, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap_err()
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

/// Another process does it, and the engine has its turn meanwhile.
async fn app(arguments: &[&str]) {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run_app(&arguments);
    })
    .await
    .unwrap();
}

async fn truncate(db: &str) -> (String, Duration) {
    let db = db.to_owned();
    tokio::task::spawn_blocking(move || {
        let script = "import sqlite3, sys
d = sqlite3.connect(sys.argv[1], timeout=10)
print(d.execute('pragma wal_checkpoint(truncate)').fetchone()[0])";
        let since = Instant::now();
        let output = Command::new("python3")
            .args(["-c", script, &db])
            .output()
            .unwrap();
        (
            String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            since.elapsed(),
        )
    })
    .await
    .unwrap()
}

#[test]
fn a_replica_that_is_away_holds_back_neither_the_others_nor_the_wal() {
    run(async {
        let place = Place::new();
        let (near, far) = (Gate::new(&place.path("near")), Gate::new(&place.path("far")));
        let running = start(&place.path("app.db"), &[&near, &far], |options, _| {
            // Some wait as segments, the rest as a set of pages.
            options.queue_segments = 3;
        });
        let first = running.sync().await;
        assert_eq!(first.len(), 2);
        far.is_away.set(true);
        for round in 0..8 {
            app(&["commit", &place.db(), &format!("round {round}")]).await;
            let since = Instant::now();
            while running.statuses[0].confirmed.get().unwrap().txid.0 < round + 2 {
                assert!(since.elapsed() < LONG, "the near replica waits for the far one");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
            if round > 3 {
                let (busy, took) = truncate(&place.db()).await;
                assert_eq!(busy, "0", "the application's checkpoint must not be busy");
                assert!(took < Duration::from_secs(4), "{took:?}");
                assert_eq!(fs::metadata(place.path("app.db-wal")).unwrap().len(), 0);
            }
        }
        assert!(running.statuses[1].behind_since.get().is_some());
        assert!(running.statuses[1].failure.borrow().is_some());
        assert_eq!(running.statuses[1].confirmed.get().unwrap().txid, Txid(1));
        far.is_away.set(false);
        let synced = running.sync().await;
        assert_eq!(
            synced[0].position.sum, synced[1].position.sum,
            "the same state on both"
        );
        assert!(synced[1].position.txid.0 > 1);
        running.stop().await.unwrap();
        place.proves("near");
        place.proves("far");
    });
}

#[test]
fn two_databases_never_share_a_replica_unless_one_takes_it_over() {
    run(async {
        let (ours, theirs) = (Place::new(), Place::new());
        let gate = Gate::new(&ours.path("replica"));
        let first = start(&ours.path("app.db"), &[&gate], |_, _| {});
        first.sync().await;
        app(&["commit", &theirs.db(), "another database"]).await;
        let error = start(&theirs.path("app.db"), &[&gate], |_, _| {}).ended().await;
        let sentence = error.to_string();
        assert!(matches!(error, Error::Owned { .. }), "{sentence}");
        assert!(sentence.contains(&ours.db()), "it names the owner: {sentence}");
        assert!(!error.may_pass());
        assert_eq!(
            gate.list_all(Txid::ZERO).await.unwrap().len(),
            1,
            "nothing was written"
        );

        let second = start(&theirs.path("app.db"), &[&gate], |options, _| {
            options.takeover = true
        });
        second.sync().await;
        app(&["commit", &ours.db(), "too late"]).await;
        let error = first.ended().await;
        let sentence = error.to_string();
        assert!(matches!(error, Error::TakenOver { .. }), "{sentence}");
        assert!(
            sentence.contains(&theirs.db()),
            "it names the new owner: {sentence}"
        );
        second.stop().await.unwrap();
        fs::rename(ours.path("replica"), theirs.path("replica")).unwrap();
        theirs.proves("replica");
    });
}

#[test]
fn a_folder_copied_with_its_local_state_is_another_database() {
    run(async {
        let (ours, theirs) = (Place::new(), Place::new());
        let gate = Gate::new(&ours.path("replica"));
        let first = start(&ours.path("app.db"), &[&gate], |_, _| {});
        first.sync().await;
        first.stop().await.unwrap();
        let copied = Command::new("cp")
            .arg("-a")
            .args([ours.path("app.db"), ours.path(".app.db-walferry")])
            .arg(theirs.folder.path())
            .status();
        assert!(copied.unwrap().success());
        app(&["commit", &theirs.db(), "of the copy"]).await;
        let error = start(&theirs.path("app.db"), &[&gate], |_, _| {}).ended().await;
        let sentence = error.to_string();
        assert!(matches!(error, Error::Owned { .. }), "{sentence}");
        assert!(sentence.contains(&ours.db()), "it names the owner: {sentence}");
        assert_eq!(
            gate.list_all(Txid::ZERO).await.unwrap().len(),
            1,
            "nothing was written"
        );

        let second = start(&theirs.path("app.db"), &[&gate], |options, _| {
            options.takeover = true
        });
        second.sync().await;
        second.stop().await.unwrap();
        let error = start(&ours.path("app.db"), &[&gate], |_, _| {}).ended().await;
        assert!(matches!(error, Error::Owned { .. }), "{error}");

        // What was moved, local state and all, is the same database as before.
        let moved = Place::new();
        for file in ["app.db", "app.db-wal", "app.db-shm", ".app.db-walferry"] {
            fs::rename(theirs.path(file), moved.path(file)).ok();
        }
        app(&["commit", &moved.db(), "of the copy, moved"]).await;
        let third = start(&moved.path("app.db"), &[&gate], |_, _| {});
        third.sync().await;
        third.stop().await.unwrap();
    });
}

#[test]
fn a_copy_restored_elsewhere_goes_on_with_its_replica() {
    run(async {
        let place = Place::new();
        let gate = Gate::new(&place.path("replica"));
        let first = start(&place.path("app.db"), &[&gate], |_, _| {});
        first.sync().await;
        first.stop().await.unwrap();
        let moved = Place {
            folder: tempfile::tempdir().unwrap(),
        };
        restore_ok(&Destination::Folder(place.path("replica")), &moved.path("app.db"));
        let again = start(&moved.path("app.db"), &[&gate], |options, _| {
            options.set_wal = true
        });
        again.sync().await;
        app(&["commit", &moved.db(), "on the new machine"]).await;
        again.sync().await;
        again.stop().await.unwrap();
        fs::rename(place.path("replica"), moved.path("replica")).unwrap();
        moved.proves("replica");
    });
}

#[test]
fn what_upkeep_moves_between_the_listing_and_the_reading_is_listed_anew() {
    run(async {
        let place = Place::new();
        let gate = Gate::new(&place.path("replica"));
        let begin = || start(&place.path("app.db"), &[&gate], |_, _| {});
        let first = begin();
        first.sync().await;
        first.stop().await.unwrap();

        app(&["commit", &place.db(), "after"]).await;
        gate.gone.set(2);
        let again = begin();
        again.sync().await;
        again.stop().await.unwrap();
        place.proves("replica");

        gate.gone.set(u32::MAX);
        let ended = begin().ended().await;
        assert!(ended.to_string().contains("does not exist"), "{ended}");
    });
}

#[test]
fn a_lost_local_state_comes_back_from_the_table_beside_the_snapshot() {
    run(async {
        let place = Place::new();
        app(&["write", &place.db(), "1", "2"]).await;
        let gate = Gate::new(&place.path("replica"));
        let with_upkeep =
            |_: &mut Options, replica: &mut ReplicaOptions| replica.upkeep = Some(Policy::default());
        let running = start(&place.path("app.db"), &[&gate], with_upkeep);
        running.sync().await;
        let since = Instant::now();
        while gate.list(Level::SUMS, Txid::ZERO).await.unwrap().is_empty() {
            assert!(since.elapsed() < LONG);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        running.stop().await.unwrap();
        fs::remove_dir_all(place.path(".app.db-walferry")).unwrap();
        app(&["commit", &place.db(), "after"]).await;
        let whole: u64 = gate
            .list_all(Txid::ZERO)
            .await
            .unwrap()
            .iter()
            .map(|object| object.size)
            .sum();
        gate.read.set(0);
        let again = start(&place.path("app.db"), &[&gate], with_upkeep);
        again.sync().await;
        again.stop().await.unwrap();
        assert!(
            gate.read.get() < whole / 10,
            "{} of {whole} bytes were read",
            gate.read.get()
        );
        place.proves("replica");
    });
}

/// Nobody writes any more when it is due: it is taken all the same, from the database and not from the replica, with the
/// table beside it; and only one, since nothing changes after it.
#[test]
fn a_snapshot_that_is_due_is_taken_of_a_database_that_is_idle() {
    run(async {
        let place = Place::new();
        let gate = Gate::new(&place.path("replica"));
        let running = start(&place.path("app.db"), &[&gate], |_, replica| {
            replica.upkeep = Some(Policy {
                snapshot_interval: Duration::from_secs(2),
                ..Policy::default()
            });
        });
        running.sync().await;
        app(&["commit", &place.db(), "the last row"]).await;
        running.sync().await;
        gate.read.set(0);
        let snapshots = async || gate.list(Level::SNAPSHOT, Txid::ZERO).await.unwrap();
        let since = Instant::now();
        while snapshots().await.len() < 2 {
            assert!(since.elapsed() < LONG, "no snapshot of an idle database");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(snapshots().await.len(), 2, "nothing has changed since");
        assert_eq!(gate.list(Level::SUMS, Txid::ZERO).await.unwrap().len(), 2);
        let (first, newest) = (snapshots().await[0], snapshots().await[1]);
        assert!(
            gate.read.get() < first.size + newest.size,
            "it was read from the replica"
        );
        assert!(newest.id.max > first.id.max);
        running.stop().await.unwrap();
        place.proves("replica");
    });
}
