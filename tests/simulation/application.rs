//! The application: real SQLite in this process, with everything that it offers in WAL mode. It waits for nobody: an
//! answer of BUSY to anything but a checkpoint is a failure of ours.
//!
//! In one process with the engine, two things differ from life. SQLite accounts for the locks of all its connections
//! here by itself, so that nothing is lost when a plain descriptor of the database is closed (the engine's, or ours when
//! a file is copied), which would drop the POSIX locks of a process: those only hold off *other* processes, and there
//! are none. And statements of the application run to their end between two steps of the engine, so what happens in the
//! middle of one is not met here; `tests/source` has other processes for that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ffi, params};
use walferry::native::watch::Wake;

use super::random::Random;

/// What hears of what it does.
pub(crate) const WROTE: Wake = Wake {
    wal: true,
    database: false,
};
pub(crate) const BOTH: Wake = Wake {
    wal: true,
    database: true,
};

pub(crate) struct Application {
    pub(crate) path: PathBuf,
    pub(crate) settings: Settings,
    open: Option<Open>,
}

struct Open {
    db: Connection,
    /// Looks at what is committed, from beside.
    observer: Connection,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) page_size: u32,
    pub(crate) auto_vacuum: u32,
    pub(crate) autocheckpoint: u32,
    pub(crate) cache: u32,
}

impl Settings {
    pub(crate) fn draw(random: &mut Random) -> Self {
        Self {
            page_size: random.pick(&[512, 512, 1024, 4096]),
            auto_vacuum: random.pick(&[0, 0, 1, 2]),
            autocheckpoint: random.pick(&[0, 5, 50, 1000]),
            cache: random.pick(&[2, 10, 100]),
        }
    }
}

impl Application {
    /// A new database.
    pub(crate) fn create(path: &Path, settings: Settings) -> Self {
        let db = Connection::open(path).expect("create");
        db.execute_batch(&format!(
            "pragma page_size = {}; pragma auto_vacuum = {}; pragma journal_mode = wal; pragma synchronous = off;
             create table item (id integer primary key, name text, body blob);
             create index item_name on item (name)",
            settings.page_size, settings.auto_vacuum
        ))
        .expect("schema");
        drop(db);
        let mut application = Self {
            path: path.into(),
            settings,
            open: None,
        };
        application.open();
        application
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(crate) fn open(&mut self) {
        let connect = || {
            let db = Connection::open(&self.path).expect("open");
            db.busy_timeout(Duration::ZERO).expect("busy timeout");
            db.execute_batch(&format!(
                "pragma synchronous = off; pragma wal_autocheckpoint = {}; pragma cache_size = {}",
                self.settings.autocheckpoint, self.settings.cache
            ))
            .expect("settings");
            db
        };
        self.open = Some(Open {
            db: connect(),
            observer: connect(),
        });
    }

    /// Closes as a program does that ends in order: if nobody else has the database open, SQLite copies the WAL back
    /// and deletes it.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    /// Ends as a program does that is killed.
    pub(crate) fn die(&mut self) {
        if let Some(open) = &self.open {
            for db in [&open.db, &open.observer] {
                db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
                    .expect("configure");
            }
        }
        self.open = None;
    }

    /// The database as a reader sees it, byte for byte.
    pub(crate) fn image(&self) -> Vec<u8> {
        let db = &self.opened().observer;
        let mut size = 0;
        // SAFETY: the handle is open, the name is a C string, SQLite gives memory of `size` bytes that is ours to free.
        unsafe {
            let bytes = ffi::sqlite3_serialize(db.handle(), c"main".as_ptr(), &raw mut size, 0);
            assert!(!bytes.is_null(), "the database cannot be read");
            let image = std::slice::from_raw_parts(bytes, size as usize).to_vec();
            ffi::sqlite3_free(bytes.cast());
            image
        }
    }

    /// A transaction, or several statements that are one each.
    pub(crate) fn work(&mut self, random: &mut Random) -> Wake {
        match random.below(100) {
            0..45 => self.insert(random, 1, 900),
            45..60 => self.run(
                "update item set body = ?1, name = name || 'x' where id = ?2",
                random,
            ),
            60..72 => self.run("delete from item where id = ?2 and length(?1) >= 0", random),
            72..80 => self.savepoints(random),
            80..84 => self.batch(&format!("delete from item where id % 3 = {}", random.below(3))),
            84..87 => self.batch("delete from item"),
            87..90 => self.batch("vacuum"),
            90..94 => self.batch(&format!("pragma incremental_vacuum({})", random.below(20) + 1)),
            94..97 => self.batch(
                "create table if not exists other (a, b); create index if not exists ab on other (b, a)",
            ),
            _ => self.batch("drop table if exists other"),
        }
        self.wrote()
    }

    /// One small transaction.
    pub(crate) fn small(&mut self, random: &mut Random) {
        self.insert(random, 1, 300);
    }

    /// Begins a transaction that is larger than the cache: frames reach the WAL before it is committed. It must be
    /// [ended](Self::end).
    pub(crate) fn begin_large(&mut self, random: &mut Random) -> Wake {
        self.batch("begin immediate");
        let rows = 5 + random.below(60);
        self.insert(random, rows, 2000);
        WROTE
    }

    pub(crate) fn end(&mut self, commit: bool) {
        self.batch(if commit { "commit" } else { "rollback" });
    }

    /// Any checkpoint; BUSY is an answer. On a connection of its own, if it is somebody else's.
    pub(crate) fn checkpoint(&mut self, random: &mut Random, foreign: bool) -> Wake {
        let mode = random.pick(&["passive", "passive", "full", "restart", "truncate"]);
        let sql = format!("pragma wal_checkpoint({mode})");
        let row = |db: &Connection| db.query_row(&sql, [], |row| row.get::<_, i64>(0));
        let answer = if foreign {
            let db = Connection::open(&self.path).expect("open");
            db.busy_timeout(Duration::ZERO).expect("busy timeout");
            row(&db)
        } else {
            row(&self.opened().db)
        };
        answer.unwrap_or_else(|error| panic!("{sql}: {error}"));
        BOTH
    }

    /// SQLite's own word on the database.
    pub(crate) fn integrity_check(path: &Path) {
        let db = Connection::open(path).expect("open the restored database");
        let said: String = db
            .query_row("pragma integrity_check", [], |row| row.get(0))
            .expect("check");
        assert_eq!(said, "ok");
    }

    fn insert(&self, random: &mut Random, rows: u64, longest: u64) {
        for _ in 0..rows {
            let (name, len) = (format!("name {}", random.below(200)), random.below(longest));
            self.opened()
                .db
                .prepare_cached("insert into item (name, body) values (?, ?)")
                .and_then(|mut insert| insert.execute(params![name, random.bytes(len)]))
                .unwrap_or_else(|error| panic!("insert: {error}"));
        }
    }

    fn savepoints(&self, random: &mut Random) {
        self.batch("begin; savepoint a");
        let (first, second) = (random.below(10), random.below(10));
        self.insert(random, first, 500);
        self.batch(if random.once_in(2) {
            "rollback to a"
        } else {
            "release a"
        });
        self.insert(random, second, 500);
        self.batch(if random.once_in(3) { "rollback" } else { "commit" });
    }

    fn run(&self, sql: &str, random: &mut Random) {
        let newest: i64 = self
            .opened()
            .db
            .query_row("select coalesce(max(id), 1) from item", [], |row| row.get(0))
            .expect("max");
        let id = random.below(newest as u64) as i64 + 1;
        let len = random.below(600);
        self.opened()
            .db
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params![random.bytes(len), id]))
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn batch(&self, sql: &str) {
        self.opened()
            .db
            .execute_batch(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn wrote(&self) -> Wake {
        // It may have copied frames back by itself.
        if self.settings.autocheckpoint > 0 {
            BOTH
        } else {
            WROTE
        }
    }

    fn opened(&self) -> &Open {
        self.open.as_ref().expect("the application runs")
    }
}

/// The files of a database as they are on the disk at a moment.
pub(crate) struct Copy {
    database: Vec<u8>,
    wal: Option<Vec<u8>>,
}

impl Copy {
    pub(crate) fn take(path: &Path) -> Self {
        Self {
            database: std::fs::read(path).expect("the database"),
            wal: std::fs::read(beside(path, "-wal")).ok(),
        }
    }

    /// What a machine finds after a power cut: the files of then. Nobody has them open.
    pub(crate) fn put_back(&self, path: &Path) {
        for end in ["-wal", "-shm"] {
            std::fs::remove_file(beside(path, end)).ok();
        }
        std::fs::write(path, &self.database).expect("put back");
        if let Some(wal) = &self.wal {
            std::fs::write(beside(path, "-wal"), wal).expect("put back");
        }
    }
}

pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}
