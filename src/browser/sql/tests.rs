//! Query, apply, query on one connection, natively: the same VFS over files in memory.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::FutureExt;
use rsqlite_vfs::VfsResult;

use super::*;
use crate::browser::database::{Database, Files};
use crate::browser::file::{self, File};
use crate::browser::test_replica::Replica;
use crate::ltx::Codec;
use crate::replica::{Position, Target};
use crate::restore::Restore;

#[derive(Debug, Default)]
struct Memory(RefCell<Vec<u8>>);

impl File for Memory {
    fn size(&self) -> file::Result<u64> {
        Ok(self.0.borrow().len() as u64)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> file::Result<usize> {
        let bytes = self.0.borrow();
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write(&self, offset: u64, data: &[u8]) -> file::Result<()> {
        let mut bytes = self.0.borrow_mut();
        let end = offset as usize + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(data);
        Ok(())
    }

    fn truncate(&self, size: u64) -> file::Result<()> {
        self.0.borrow_mut().resize(size as usize, 0);
        Ok(())
    }

    fn flush(&self) -> file::Result<()> {
        Ok(())
    }
}

struct Os;

impl OsCallback for Os {
    fn sleep(&self, _: Duration) {}

    fn random(&self, _: &mut [u8]) -> usize {
        0
    }

    fn epoch_timestamp_in_ms(&self) -> VfsResult<i64> {
        Ok(0)
    }
}

#[derive(Debug, Default, PartialEq)]
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Sink for Table {
    fn columns(&mut self, names: &[&str]) {
        self.columns = names.iter().map(|&name| name.to_owned()).collect();
    }

    fn row(&mut self) {
        self.rows.push(Vec::new());
    }

    fn value(&mut self, value: ValueRef<'_>) {
        self.rows
            .last_mut()
            .unwrap()
            .push(Value::try_from(value).unwrap());
    }
}

fn run(
    reader: &Reader<Database<Memory>>,
    sql: &str,
    parameters: &Parameters,
) -> Result<Vec<Vec<Value>>, Error> {
    let mut table = Table::default();
    reader.query(sql, parameters, usize::MAX, &mut table)?;
    Ok(table.rows)
}

fn none() -> Parameters {
    Parameters::Positional(Vec::new())
}

fn integer(rows: &[Vec<Value>]) -> i64 {
    match rows {
        [row] if let [Value::Integer(value)] = row[..] => value,
        other => panic!("one integer expected, not {other:?}"),
    }
}

/// A source in WAL mode, as its file is after a checkpoint.
struct Source {
    connection: Connection,
    path: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Source {
    fn new(page_size: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("source.db");
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "page_size", page_size).unwrap();
        connection
            .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
            .unwrap();
        Self {
            connection,
            path,
            _dir: dir,
        }
    }

    fn run(&self, sql: &str) -> Vec<u8> {
        self.connection.execute_batch(sql).unwrap();
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();
        std::fs::read(&self.path).unwrap()
    }
}

fn new_copy() -> Rc<Database<Memory>> {
    let files = Files {
        db: Memory::default(),
        position: Memory::default(),
        present: Memory::default(),
        redo: Memory::default(),
    };
    Rc::new(Database::open(files).unwrap())
}

/// As far as the second step, which a reader may hold up.
fn fetch(copy: &Database<Memory>, replica: &Replica) {
    let from = copy.state().map_or(Position::EMPTY, |state| state.position());
    let restore = Restore::prepare(&replica.store, Target::Latest, from);
    let restore = restore.now_or_never().unwrap().unwrap().unwrap();
    if from == Position::EMPTY {
        copy.restore(&restore, |_| {}).now_or_never().unwrap().unwrap();
    } else {
        copy.fetch(&restore, &mut |_| {}).now_or_never().unwrap().unwrap();
    }
}

#[test]
fn a_cursor_yields_the_rows_of_one_state_a_batch_at_a_time() {
    let source = Source::new(4096);
    let mut replica = Replica::new(4096, Codec::Deflate);
    replica.ship(
        &source.run("CREATE TABLE t (a); INSERT INTO t SELECT value FROM json_each('[1,2,3,4,5,6,7]')"),
    );
    let copy = new_copy();
    fetch(&copy, &replica);
    let reader = Rc::new(Reader::open(copy.clone(), Os).unwrap());
    let open = |skip| {
        let sql = "SELECT a FROM t ORDER BY a".to_owned();
        Cursor::<Table>::new(reader.clone(), sql, none(), skip)
    };
    let values = |table: &Table| table.rows.iter().map(|row| row[0].clone()).collect::<Vec<_>>();
    let numbers = |range: std::ops::RangeInclusive<i64>| range.map(Value::Integer).collect::<Vec<_>>();

    let mut cursor = open(0);
    let (table, is_over) = cursor.next(3).unwrap();
    assert_eq!((table.columns, is_over), (vec!["a".to_owned()], false));
    // Another statement on the same connection, and a state that waits for the cursor.
    assert_eq!(
        integer(&run(&reader, "SELECT count(*) FROM t", &none()).unwrap()),
        7
    );
    replica.ship(&source.run("DELETE FROM t"));
    fetch(&copy, &replica);
    assert!(matches!(copy.apply(), Err(Error::Reading)));
    let (table, is_over) = cursor.next(3).unwrap();
    assert_eq!((values(&table), is_over), (numbers(4..=6), false));
    assert_eq!(values(&open(5).next(9).unwrap().0), numbers(6..=7));
    let (table, is_over) = cursor.next(3).unwrap();
    assert_eq!((values(&table), is_over), (numbers(7..=7), true));
    assert_eq!(values(&cursor.next(3).unwrap().0), []);
    copy.apply().unwrap();
    assert_eq!(values(&open(0).next(9).unwrap().0), []);

    // One that is left lets go; the last batch that is exactly full is the last.
    replica.ship(&source.run("INSERT INTO t VALUES (1), (2)"));
    fetch(&copy, &replica);
    copy.apply().unwrap();
    let mut left = open(0);
    assert!(!left.next(1).unwrap().1);
    drop(left);
    assert!(!copy.is_being_read());
    let mut exact = open(0);
    assert!(exact.next(2).unwrap().1);
    let mut failing = Cursor::<Table>::new(reader.clone(), "SELECT * FROM missing".to_owned(), none(), 0);
    assert_eq!(failing.next(1).unwrap_err().code(), "SQLITE_ERROR");
}

#[test]
fn a_watched_query_is_concerned_by_what_it_has_read_alone() {
    let source = Source::new(512);
    let mut replica = Replica::new(512, Codec::Deflate);
    replica.ship(
        &source.run(
            "CREATE TABLE a (x); CREATE TABLE b (x); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1);
         CREATE TABLE many (x); INSERT INTO many SELECT randomblob(400) FROM generate_series(1, 50)"
                .replace(
                    "generate_series(1, 50)",
                    &format!("json_each('[{}]')", ["1"; 50].join(",")),
                )
                .as_str(),
        ),
    );
    let copy = new_copy();
    fetch(&copy, &replica);
    let reader = Reader::open(copy.clone(), Os).unwrap();
    let watch = |sql| {
        reader
            .query("SELECT * FROM many", &none(), usize::MAX, &mut Table::default())
            .unwrap();
        reader
            .watch(sql, &none(), usize::MAX, &mut Table::default())
            .unwrap()
            .1
    };
    let mut step = |sql| {
        let read = (watch("SELECT * FROM a"), watch("SELECT * FROM b"));
        copy.changes();
        replica.ship(&source.run(sql));
        fetch(&copy, &replica);
        copy.apply().unwrap();
        let changes = copy.changes();
        (changes.concern(&read.0), changes.concern(&read.1))
    };
    assert_eq!(step("UPDATE a SET x = 2"), (true, false));
    assert_eq!(step("UPDATE b SET x = 2"), (false, true));
    assert_eq!(step("UPDATE a SET x = 3; UPDATE b SET x = 3"), (true, true));
    assert_eq!(step("CREATE TABLE c (x)"), (true, true), "another schema");
    assert_eq!(step("DELETE FROM many WHERE rowid > 4"), (false, false));
}

#[test]
fn one_connection_sees_what_is_applied() {
    for page_size in [512, 4096, 65_536] {
        let source = Source::new(page_size);
        let mut replica = Replica::new(page_size, Codec::Deflate);
        replica.ship(&source.run("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'one')"));
        let copy = new_copy();
        fetch(&copy, &replica);
        let reader = Reader::open(copy.clone(), Os).unwrap();
        assert_eq!(
            integer(&run(&reader, "SELECT count(*) FROM t", &none()).unwrap()),
            1
        );

        for round in 1..=20 {
            // Rows alone, a new schema, a database that grows, shrinks, and is rewritten.
            let sql = match round {
                5 => "CREATE TABLE u (x); INSERT INTO t VALUES (0, zeroblob(100000))",
                9 => "DELETE FROM t WHERE typeof(b) = 'blob'; INSERT INTO t VALUES (9, 9); VACUUM",
                _ => "INSERT INTO t VALUES (2, 'more')",
            };
            replica.ship(&source.run(sql));
            fetch(&copy, &replica);
            copy.apply().unwrap();
            let expected: i64 = source
                .connection
                .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
                .unwrap();
            assert_eq!(
                integer(&run(&reader, "SELECT count(*) FROM t", &none()).unwrap()),
                expected,
                "page size {page_size}, round {round}"
            );
            let check = run(&reader, "PRAGMA integrity_check", &none()).unwrap();
            assert_eq!(check, [[Value::Text("ok".to_owned())]]);
            let mut bytes = vec![0; copy.size().unwrap() as usize];
            copy.source_bytes(0, &mut bytes).unwrap();
            assert!(bytes == replica.database(), "byte for byte");
        }
        run(&reader, "SELECT * FROM u", &none()).unwrap();
    }
}

#[test]
fn a_transaction_holds_up_the_apply() {
    let source = Source::new(4096);
    let mut replica = Replica::new(4096, Codec::Lz4);
    replica.ship(&source.run("CREATE TABLE t (a); INSERT INTO t VALUES (1)"));
    let copy = new_copy();
    fetch(&copy, &replica);
    let reader = Reader::open(copy.clone(), Os).unwrap();
    run(&reader, "BEGIN", &none()).unwrap();
    assert_eq!(
        integer(&run(&reader, "SELECT count(*) FROM t", &none()).unwrap()),
        1
    );
    replica.ship(&source.run("INSERT INTO t VALUES (2)"));
    fetch(&copy, &replica);
    assert!(matches!(copy.apply(), Err(Error::Reading)));
    assert_eq!(
        integer(&run(&reader, "SELECT count(*) FROM t", &none()).unwrap()),
        1
    );
    run(&reader, "COMMIT", &none()).unwrap();
    copy.apply().unwrap();
    assert_eq!(
        integer(&run(&reader, "SELECT count(*) FROM t", &none()).unwrap()),
        2
    );
}

#[test]
fn parameters_and_mistakes() {
    let source = Source::new(4096);
    let mut replica = Replica::new(4096, Codec::Lz4);
    replica.ship(&source.run("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2), (3)"));
    let copy = new_copy();
    fetch(&copy, &replica);
    let reader = Reader::open(copy, Os).unwrap();
    let one = |value: i64| Value::Integer(value);
    let positional = |values: &[i64]| Parameters::Positional(values.iter().map(|&v| one(v)).collect());
    let named = |values: &[(&str, i64)]| {
        Parameters::Named(
            values
                .iter()
                .map(|&(name, v)| (name.to_owned(), one(v)))
                .collect(),
        )
    };

    assert_eq!(
        run(&reader, "SELECT ? + ?", &positional(&[1, 2])).unwrap(),
        [[one(3)]]
    );
    let sum = "SELECT :a + @b + $c + :a -- a comment behind it\n;  ";
    assert_eq!(
        run(&reader, sum, &named(&[("a", 1), ("@b", 10), ("c", 100)])).unwrap(),
        [[one(112)]]
    );
    let mut table = Table::default();
    assert!(reader.query("SELECT a FROM t", &none(), 2, &mut table).unwrap());
    assert_eq!((table.columns, table.rows.len()), (vec!["a".to_owned()], 2));
    let mut all = Table::default();
    assert!(!reader.query("SELECT a FROM t", &none(), 3, &mut all).unwrap());

    let code = |sql: &str, parameters: &Parameters| run(&reader, sql, parameters).unwrap_err().code();
    assert_eq!(code("SELECT ?", &none()), "INVALID");
    assert_eq!(code("SELECT 1", &positional(&[1])), "INVALID");
    assert_eq!(code("SELECT :a", &named(&[])), "INVALID");
    assert_eq!(code("SELECT :a", &named(&[("a", 1), ("b", 1)])), "INVALID");
    assert_eq!(code("SELECT ?", &named(&[("a", 1)])), "INVALID");
    assert_eq!(code("SELECT 1; SELECT 2", &none()), "INVALID");
    assert_eq!(code(" -- nothing", &none()), "INVALID");
    assert_eq!(code("SELECT * FROM missing", &none()), "SQLITE_ERROR");
    for write in [
        "INSERT INTO t VALUES (4)",
        "DELETE FROM t",
        "CREATE TABLE u (x)",
        "VACUUM",
        "PRAGMA user_version = 5",
    ] {
        assert_eq!(code(write, &none()), "SQLITE_READONLY", "{write}");
    }
    assert_eq!(code("ATTACH 'other' AS other", &none()), "SQLITE_CANTOPEN");
    assert_eq!(
        integer(&run(&reader, "SELECT count(*) FROM t", &none()).unwrap()),
        3
    );
}
