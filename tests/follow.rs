//! A followed copy is one state or the next, whoever reads it and whenever its follower dies.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

#[path = "support/replica.rs"]
mod replica;
mod support;

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::thread::sleep;
use std::time::Duration;

use futures_util::FutureExt;
use replica::Replica;
use rusqlite::Connection;
use support::{Destination, Process, app, content, replicate, run_app, wait_until, walferry};
use walferry::ltx::{Codec, Txid};
use walferry::native::restore::{Error, Event, Options, follow};
use walferry::native::store::Patient;
use walferry::replica::{Level, SegmentId, Target};
use walferry::store::Store;

const LIMIT: Duration = Duration::from_secs(60);

fn start(destination: &Destination, out: &Path) -> Process {
    let mut command = walferry();
    command.args(["restore", "-f", "-follow-interval", "20ms", "-o"]);
    command.arg(out).arg(destination.url()).stdout(Stdio::null());
    Process::start(&mut command)
}

/// An application writes, VACUUMs and shrinks; the follower is killed again and again; readers see whole states only.
#[test]
fn readers_never_see_a_torn_state() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (database, out, stop) = (at("app.db"), at("copy.db"), at("stop"));
    let db = database.to_str().unwrap();
    run_app(&["create", db, "512", "full"]);
    let destination = Destination::Folder(at("replica"));
    let shipping = replicate(&database, &destination, &["--sync-interval", "30ms"]);
    let mut writing = Process::start(&mut app(&["write", db, "7", "6"]));
    wait_until("the replica", LIMIT, || at("replica/ltx").exists());

    let mut following = Some(loop {
        let following = start(&destination, &out);
        sleep(Duration::from_millis(300));
        if out.exists() {
            break following;
        }
    });
    let mut command = Command::new("python3");
    command.arg(support::project().join("tests/support/reader.py"));
    command.arg(&out).arg(&stop).stdout(Stdio::piped());
    let mut reading = Process::start(&mut command);
    for round in 0..12u64 {
        sleep(Duration::from_millis(120 + round * 37 % 100));
        following.take().unwrap().kill();
        following = Some(start(&destination, &out));
    }
    assert_eq!(writing.wait_for(LIMIT), Some(0));
    assert_eq!(shipping.terminate(), Some(0));
    run_app(&["finish", db]);
    wait_until("the copy to be the database", LIMIT, || {
        content(&out) == content(&database)
    });
    fs::write(&stop, "").unwrap();
    assert_eq!(
        reading.wait_for(LIMIT),
        Some(0),
        "a reader saw what it must not see"
    );
    let mut seen = String::new();
    std::io::Read::read_to_string(&mut reading.0.stdout.take().unwrap(), &mut seen).unwrap();
    assert!(
        seen.trim().parse::<u32>().unwrap() >= 5,
        "the readers saw {seen} states only"
    );
    assert_eq!(following.take().unwrap().terminate(), Some(143));
    assert!(!at("copy.db-journal").exists());
}

/// A database made by SQLite, and a replica of it in memory.
struct Source {
    _folder: tempfile::TempDir,
    db: Connection,
    path: std::path::PathBuf,
    replica: Replica,
}

impl Source {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("source.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch("PRAGMA page_size = 1024; CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
            .unwrap();
        let replica = Replica::new(1024, Codec::Lz4);
        let mut source = Self {
            _folder: folder,
            db,
            path,
            replica,
        };
        source.commit("INSERT INTO t (x) VALUES (1)");
        source
    }

    fn commit(&mut self, sql: &str) -> SegmentId {
        self.db.execute_batch(sql).unwrap();
        self.replica.ship(&fs::read(&self.path).unwrap())
    }
}

/// Follows until the copy is at `txid`, or until it ends.
fn follow_to(store: &Rc<Shared>, out: &Path, txid: u64) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let reached = Cell::new(false);
        let store = Patient::new(store.clone());
        let options = Options::new(Target::Latest, out.to_owned());
        let tell = |event: Event<'_>| {
            let at = match event {
                Event::Restored(summary) => summary.txid,
                Event::Resumed(txid) | Event::Applied { txid, .. } => txid,
            };
            reached.set(at == Txid(txid));
        };
        let following = follow(&store, None, &options, Duration::from_millis(5), |_, _| {}, tell);
        let arriving = async {
            while !reached.get() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let both = async {
            tokio::select! {
                ended = following => match ended {
                    Err(error) => Err(error),
                },
                () = arriving => Ok(()),
            }
        };
        tokio::time::timeout(LIMIT, both)
            .await
            .expect("it neither arrives nor ends")
    })
}

fn rows(path: &Path) -> i64 {
    let db = Connection::open(path).unwrap();
    db.query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .unwrap()
}

/// A store in memory that the test goes on to fill.
type Shared = walferry::store::MemoryStore;

fn shared(source: &Source) -> Rc<Shared> {
    let store = Shared::default();
    refresh(source, &store);
    Rc::new(store)
}

/// Copies what the source's replica has and the store has not.
fn refresh(source: &Source, store: &Shared) {
    let all = source
        .replica
        .store
        .list_all(Txid::ZERO)
        .now_or_never()
        .unwrap()
        .unwrap();
    for segment in all {
        store.tamper(segment.id, source.replica.object(segment.id));
    }
}

/// An open connection notices; what a VACUUM cuts off goes.
#[test]
fn it_moves_on_under_open_connections() {
    let mut source = Source::new();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("copy.db");
    let store = shared(&source);
    follow_to(&store, &out, 1).unwrap();
    let open = Connection::open(&out).unwrap();
    let count = || {
        open.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(count(), 1);
    source.commit(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000) \
         INSERT INTO t (x) SELECT hex(randomblob(50)) FROM n",
    );
    source.commit("CREATE TABLE u (y)");
    refresh(&source, &store);
    follow_to(&store, &out, 3).unwrap();
    assert_eq!(count(), 3001);
    open.execute_batch("SELECT y FROM u").unwrap();
    assert_eq!(content(&out), content(&source.path));
    let large = fs::metadata(&out).unwrap().len();
    source.commit("DELETE FROM t WHERE id > 10; VACUUM");
    refresh(&source, &store);
    follow_to(&store, &out, 4).unwrap();
    assert_eq!(count(), 10);
    assert!(fs::metadata(&out).unwrap().len() < large / 10);
    assert_eq!(content(&out), content(&source.path));
    assert_eq!(
        open.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))
            .unwrap(),
        "ok"
    );
}

/// A transaction that stays open keeps its state: the copy waits for it.
#[test]
fn it_waits_for_who_reads() {
    let mut source = Source::new();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("copy.db");
    let store = shared(&source);
    follow_to(&store, &out, 1).unwrap();
    source.commit("INSERT INTO t (x) VALUES (2)");
    refresh(&source, &store);
    let reader = Connection::open(&out).unwrap();
    let count = || {
        reader
            .query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(count(), 1);
    let path = &out;
    std::thread::scope(|scope| {
        // What follows is another process in life: its locks are those of its own connection.
        let reading = scope.spawn(|| sleep(Duration::from_millis(900)));
        let store = walferry_in_a_process(&source, folder.path());
        reading.join().unwrap();
        assert_eq!(count(), 1, "the state changed under a transaction");
        assert_eq!(rows(path), 1);
        reader.execute_batch("COMMIT").unwrap();
        wait_until("the copy to move on", LIMIT, || {
            reader
                .query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))
                .ok()
                == Some(2)
        });
        assert_eq!(store.terminate(), Some(143));
    });
}

/// The follower of `copy.db` as a process, on the source's replica in a folder.
fn walferry_in_a_process(source: &Source, folder: &Path) -> Process {
    let replica = folder.join("replica");
    let all = source
        .replica
        .store
        .list_all(Txid::ZERO)
        .now_or_never()
        .unwrap()
        .unwrap();
    for segment in all {
        let path = replica.join(segment.id.key(walferry::replica::Layout::Folder));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, source.replica.object(segment.id)).unwrap();
    }
    start(&Destination::Folder(replica), &folder.join("copy.db"))
}

/// While it was away its segments were compacted and deleted: a snapshot leads over the gap.
#[test]
fn a_gap_is_bridged_by_a_snapshot_or_told() {
    let mut source = Source::new();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("copy.db");
    let store = shared(&source);
    follow_to(&store, &out, 1).unwrap();
    let ids: Vec<SegmentId> = (2..=5)
        .map(|round| source.commit(&format!("INSERT INTO t (x) VALUES ({round})")))
        .collect();
    refresh(&source, &store);
    for gone in [ids[0], ids[1]] {
        store.delete(gone).now_or_never().unwrap().unwrap();
    }
    let error = follow_to(&store, &out, 5).unwrap_err();
    assert!(error.to_string().contains("gap"), "{error}");
    assert_eq!(rows(&out), 1, "it stays what it was");

    let id = SegmentId::new(Level::SNAPSHOT, Txid(1), ids[3].max).unwrap();
    store.tamper(id, source.replica.snapshot());
    follow_to(&store, &out, 5).unwrap();
    assert_eq!(rows(&out), 5);
    assert_eq!(content(&out), content(&source.path));
}

/// A damaged segment changes nothing; a copy that someone wrote to is not gone on with.
#[test]
fn nothing_unproven_is_applied() {
    let mut source = Source::new();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("copy.db");
    let store = shared(&source);
    follow_to(&store, &out, 1).unwrap();
    let before = fs::read(&out).unwrap();
    let id = source.commit("INSERT INTO t (x) VALUES (2)");
    let mut bytes = source.replica.object(id).to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    store.tamper(id, bytes.into());
    let error = follow_to(&store, &out, 2).unwrap_err();
    assert!(error.to_string().contains(&id.to_string()), "{error}");
    assert!(fs::read(&out).unwrap() == before);
    refresh(&source, &store);
    follow_to(&store, &out, 2).unwrap();

    let db = Connection::open(&out).unwrap();
    db.execute_batch("INSERT INTO t (x) VALUES ('ours')").unwrap();
    drop(db);
    let error = follow_to(&store, &out, 2).unwrap_err();
    assert!(matches!(error, Error::Changed(_)), "{error}");

    // A file that is no copy of ours.
    let other = folder.path().join("other.db");
    fs::copy(&source.path, &other).unwrap();
    let error = follow_to(&store, &other, 2).unwrap_err();
    assert!(matches!(error, Error::Exists(_)), "{error}");
}
