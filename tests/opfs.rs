//! The local copy on real OPFS files, in a dedicated worker of a real browser: restore, refresh, what an end at each
//! step leaves, and SQL on a connection that lives through it.
#![cfg(target_family = "wasm")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

#[path = "support/replica.rs"]
mod replica;

use std::rc::Rc;

use bytes::Bytes;
use replica::Replica;
use rusqlite::Connection;
use rusqlite::types::{Value, ValueRef};
use sqlite_wasm_rs::WasmOsCallback;
use walferry::browser::database::{Database, State};
use walferry::browser::file::{self, File};
use walferry::browser::opfs::{Folder, OpfsFile};
use walferry::browser::sql::{Parameters, Reader, Sink};
use walferry::browser::{Error, file::Error::Locked};
use walferry::ltx::Codec;
use walferry::replica::{Position, Target};
use walferry::restore::Restore;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// A database that SQLite writes in memory; its file as a checkpointed WAL database has it, whose change counter
/// need not move.
struct Source(Connection);

impl Source {
    fn new(name: &str, page_size: u32) -> Self {
        let connection = Connection::open(format!("{name}-{page_size}")).unwrap();
        connection
            .execute_batch(&format!(
                "PRAGMA page_size = {page_size}; CREATE TABLE t (id INTEGER PRIMARY KEY, a)"
            ))
            .unwrap();
        Self(connection)
    }

    fn run(&mut self, sql: &str) -> Vec<u8> {
        self.0.execute_batch(sql).unwrap();
        let mut bytes = self.0.serialize("main").unwrap().to_vec();
        bytes[18..20].copy_from_slice(&[2, 2]);
        bytes[24..28].copy_from_slice(&[0, 0, 0, 1]);
        bytes[92..96].copy_from_slice(&[0, 0, 0, 1]);
        bytes
    }
}

/// A folder of its own for a test, empty at the start.
async fn folder(name: &str) -> Folder {
    let folder = Folder::of("https://example.com/a b", name);
    folder.delete().await.unwrap();
    folder
}

async fn open(folder: &Folder) -> Rc<Database<OpfsFile>> {
    Rc::new(Database::open(folder.open().await.unwrap()).unwrap())
}

/// As far as the second step.
async fn fetch(copy: &Database<OpfsFile>, replica: &Replica) -> Result<(), Error> {
    let from = copy.state().map_or(Position::EMPTY, |state| state.position());
    let restore = Restore::prepare(&replica.store, Target::Latest, from)
        .await?
        .unwrap();
    if from == Position::EMPTY {
        copy.restore(&restore, |_| {}).await.map(drop)
    } else {
        copy.fetch(&restore, &mut |_| {}).await
    }
}

async fn catch_up(copy: &Database<OpfsFile>, replica: &Replica) -> State {
    fetch(copy, replica).await.unwrap();
    copy.apply().unwrap().unwrap()
}

fn content(copy: &Database<OpfsFile>) -> Vec<u8> {
    let mut bytes = vec![0; copy.size().unwrap() as usize + 1];
    let len = copy.source_bytes(0, &mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

#[derive(Default)]
struct Values(Vec<Value>);

impl Sink for Values {
    fn columns(&mut self, _: &[&str]) {}
    fn row(&mut self) {}
    fn value(&mut self, value: ValueRef<'_>) {
        self.0.push(Value::try_from(value).unwrap());
    }
}

fn query(reader: &Reader<Database<OpfsFile>>, sql: &str) -> Vec<Value> {
    let mut values = Values::default();
    let none = Parameters::Positional(Vec::new());
    reader.query(sql, &none, usize::MAX, &mut values).unwrap();
    values.0
}

const COUNT: &str = "SELECT count(*) FROM t";

#[wasm_bindgen_test]
async fn one_connection_sees_what_is_applied() {
    for page_size in [512, 4096, 65_536] {
        let folder = folder("one-connection").await;
        let mut source = Source::new("one-connection", page_size);
        let mut replica = Replica::new(page_size, Codec::Deflate);
        replica.ship(&source.run("INSERT INTO t (a) VALUES (zeroblob(300000)), (2)"));
        let copy = open(&folder).await;
        assert_eq!(copy.state(), None);
        catch_up(&copy, &replica).await;
        let reader = Reader::open(copy.clone(), WasmOsCallback).unwrap();
        assert_eq!(query(&reader, COUNT), [Value::Integer(2)]);
        for (rows, sql) in [
            (3, "INSERT INTO t (a) VALUES ('three')"),
            (3, "CREATE TABLE u (x); UPDATE t SET a = 'x' || id"),
            (2, "DELETE FROM t WHERE id = 1; VACUUM"),
            (3, "INSERT INTO t (a) VALUES (zeroblob(200000))"),
        ] {
            replica.ship(&source.run(sql));
            let state = catch_up(&copy, &replica).await;
            assert_eq!(state.txid, replica.txid);
            assert_eq!(
                query(&reader, COUNT),
                [Value::Integer(rows)],
                "page size {page_size}: {sql}"
            );
            assert_eq!(
                query(&reader, "PRAGMA integrity_check"),
                [Value::Text("ok".to_owned())]
            );
            assert!(content(&copy) == replica.database(), "byte for byte");
        }
        drop(reader);
        let state = copy.state();
        drop(copy);
        assert_eq!(
            open(&folder).await.state(),
            state,
            "it is there when it is opened again"
        );
    }
}

#[wasm_bindgen_test]
async fn a_second_opening_is_refused_until_the_first_has_ended() {
    let folder = folder("locked").await;
    let first = open(&folder).await;
    assert!(matches!(folder.open().await, Err(Locked(_))));
    assert!(matches!(folder.delete().await, Err(Locked(_))));
    drop(first);
    folder.open().await.unwrap();
}

#[wasm_bindgen_test]
async fn a_restore_that_was_cut_off_starts_again() {
    let folder = folder("cut-off").await;
    let mut source = Source::new("cut-off", 4096);
    let mut replica = Replica::new(4096, Codec::Lz4);
    // Some megabytes that do not compress, so that there are several chunks.
    let id = replica.ship(&source.run("INSERT INTO t (a) VALUES (randomblob(5000000))"));
    let whole = replica.object(id);

    // The page is closed in the middle.
    let copy = open(&folder).await;
    let restore = Restore::prepare(&replica.store, Target::Latest, Position::EMPTY);
    let restore = restore.await.unwrap().unwrap();
    let mut chunks = 0;
    {
        let mut restoring = Box::pin(copy.restore(&restore, |progress| {
            chunks += 1;
            if progress.pages > 300 {
                replica.store.tamper(id, Bytes::new());
            }
        }));
        restoring.as_mut().await.unwrap_err();
    }
    assert!(chunks > 2, "{chunks}");
    drop(copy);
    let copy = open(&folder).await;
    assert_eq!(copy.state(), None);
    Reader::open(copy.clone(), WasmOsCallback)
        .and_then(|reader| {
            reader.query(
                COUNT,
                &Parameters::Positional(Vec::new()),
                1,
                &mut Values::default(),
            )
        })
        .expect_err("half a database is not read");

    replica.store.tamper(id, whole);
    catch_up(&copy, &replica).await;
    assert!(content(&copy) == replica.database());
}

#[wasm_bindgen_test]
async fn an_apply_that_was_cut_off_is_done_again() {
    let folder = folder("apply").await;
    let mut source = Source::new("apply", 512);
    let mut replica = Replica::new(512, Codec::Deflate);
    replica.ship(&source.run("INSERT INTO t (a) VALUES (zeroblob(20000))"));
    let copy = open(&folder).await;
    catch_up(&copy, &replica).await;
    drop(copy);

    for sql in [
        "INSERT INTO t (a) VALUES (zeroblob(30000))",
        "DELETE FROM t WHERE id > 1; VACUUM",
        "UPDATE t SET a = randomblob(20000)",
    ] {
        let copy = open(&folder).await;
        let before = content(&copy);
        replica.ship(&source.run(sql));
        fetch(&copy, &replica).await.unwrap();
        assert!(
            content(&copy) == before,
            "nothing is applied before it is asked for"
        );
        drop(copy);
        // Every second page of the new state has been written when the browser dies.
        let files = folder.open().await.unwrap();
        for (pgno, page) in (0u64..).zip(&replica.pages).filter(|(pgno, _)| pgno % 2 == 0) {
            files.db.write(pgno * 512, page).unwrap();
        }
        drop(files);
        let copy = open(&folder).await;
        assert_eq!(copy.state().unwrap().txid, replica.txid);
        assert!(content(&copy) == replica.database(), "{sql}");
    }
}

#[wasm_bindgen_test]
async fn what_is_damaged_is_refused_and_the_copy_stands() {
    let folder = folder("damaged").await;
    let mut source = Source::new("damaged", 4096);
    let mut replica = Replica::new(4096, Codec::Deflate);
    replica.ship(&source.run("INSERT INTO t (a) VALUES (1)"));
    let copy = open(&folder).await;
    let state = catch_up(&copy, &replica).await;
    let before = content(&copy);
    let id = replica.ship(&source.run("INSERT INTO t (a) VALUES (2)"));
    let intact = replica.object(id);
    let reader = Reader::open(copy.clone(), WasmOsCallback).unwrap();

    let mut bad = vec![intact.slice(..intact.len() - 1), intact.slice(..50), Bytes::new()];
    for at in (100..intact.len()).step_by(37) {
        let mut bytes = intact.to_vec();
        bytes[at] ^= 1;
        bad.push(Bytes::from(bytes));
    }
    for bytes in bad {
        replica.store.tamper(id, bytes);
        let error = fetch(&copy, &replica).await.unwrap_err();
        assert_eq!(error.code(), "DAMAGED", "{error}");
        copy.apply().unwrap();
        assert_eq!(copy.state(), Some(state));
        assert_eq!(query(&reader, COUNT), [Value::Integer(1)]);
    }
    assert!(content(&copy) == before);
    replica.store.tamper(id, intact);
    catch_up(&copy, &replica).await;
    assert_eq!(query(&reader, COUNT), [Value::Integer(2)]);
}

#[wasm_bindgen_test]
async fn a_file_that_lost_its_end_is_no_database() {
    let folder = folder("short").await;
    let mut source = Source::new("short", 4096);
    let mut replica = Replica::new(4096, Codec::Lz4);
    replica.ship(&source.run("INSERT INTO t (a) VALUES (zeroblob(50000))"));
    let copy = open(&folder).await;
    catch_up(&copy, &replica).await;
    drop(copy);
    let files = folder.open().await.unwrap();
    let size: file::Result<u64> = files.db.size();
    files.db.truncate(size.unwrap() - 4096).unwrap();
    drop(files);
    assert_eq!(open(&folder).await.state(), None);
}
