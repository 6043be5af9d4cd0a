//! One of our connections to a live database. It never writes: it reads, pins, and copies frames back.

use std::ffi::c_int;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{ErrorCode, OpenFlags, ffi};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::geteuid;

use super::Error;

/// How long a lock that others hold only for moments is tried for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two tries. A busy timeout of SQLite's own would sleep longer and longer, and starve under load.
const PAUSE: Duration = Duration::from_micros(30);

/// A connection. Between calls it is idle, or in a read transaction, or holds the write lock.
#[derive(Debug)]
pub(super) struct Connection {
    db: rusqlite::Connection,
    path: PathBuf,
}

/// What a PASSIVE checkpoint answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passive {
    /// Another checkpoint was running.
    pub(super) busy: bool,
    pub(super) frames: u32,
    pub(super) backfilled: u32,
}

impl Connection {
    /// Opens a connection, without looking at the database yet. `path` is absolute (no `file:` URI).
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        configure_sqlite();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failed = |source| sqlite_error("open", path, source);
        let db = rusqlite::Connection::open_with_flags(path, flags).map_err(failed)?;
        db.busy_timeout(Duration::ZERO).map_err(failed)?;
        // The last connection to close would check the WAL into the database and delete it, unshipped frames too.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(failed)?;
        let connection = Self {
            db,
            path: path.into(),
        };
        connection.control(ffi::SQLITE_FCNTL_PERSIST_WAL, &mut { 1 as c_int })?;
        connection.no_lookaside();
        if connection.db.is_readonly("main").map_err(failed)? {
            return Err(Error::ReadOnly(path.into()));
        }
        connection
            .db
            .pragma_update(None, "wal_autocheckpoint", 0)
            .map_err(failed)?;
        Ok(connection)
    }

    /// Switches the database to WAL mode.
    pub(super) fn set_wal(&self) -> Result<(), Error> {
        let mode: String = self.patiently(PATIENCE, "switch to WAL mode", || {
            self.db.query_row("PRAGMA journal_mode=wal", [], |row| row.get(0))
        })?;
        if mode == "wal" {
            Ok(())
        } else {
            Err(Error::NotWal(self.path.clone()))
        }
    }

    /// Begins a read transaction on the newest commit.
    pub(super) fn begin_read(&self) -> Result<(), Error> {
        self.patiently(PATIENCE, "read", || self.run("BEGIN"))?;
        // Reads page 1, and nothing of the schema, however large it is.
        let read = self.patiently(PATIENCE, "read", || {
            self.db
                .prepare_cached("PRAGMA schema_version")?
                .query_row([], |row| row.get::<_, i64>(0))
        });
        match read {
            Ok(_) => Ok(()),
            Err(error) => {
                self.end()?;
                Err(error)
            }
        }
    }

    /// Takes the write lock. Others wait from here on.
    pub(super) fn begin_immediate(&self, patience: Duration) -> Result<(), Error> {
        self.patiently(patience, "take the write lock of", || self.run("BEGIN IMMEDIATE"))
    }

    /// Whether there is no transaction.
    pub(super) fn is_idle(&self) -> bool {
        self.db.is_autocommit()
    }

    /// Ends whichever transaction there is.
    pub(super) fn end(&self) -> Result<(), Error> {
        if self.db.is_autocommit() {
            return Ok(());
        }
        self.run("ROLLBACK")
            .map_err(|source| sqlite_error("end a read of", &self.path, source))
    }

    /// Copies frames back as far as readers allow, without the write lock. Needs a connection that is idle, and that
    /// has read before (else SQLite does not know yet that there is a WAL).
    pub(super) fn passive(&self) -> Result<Passive, Error> {
        let (mut frames, mut backfilled): (c_int, c_int) = (0, 0);
        // SAFETY: the handle is open, the name is a C string, both results outlive the call.
        let code = unsafe {
            ffi::sqlite3_wal_checkpoint_v2(
                self.db.handle(),
                c"main".as_ptr(),
                ffi::SQLITE_CHECKPOINT_PASSIVE,
                &raw mut frames,
                &raw mut backfilled,
            )
        };
        // Both are -1 when the checkpoint never came to look.
        let count = |number: c_int| u32::try_from(number).unwrap_or_default();
        match code & 0xff {
            ffi::SQLITE_OK | ffi::SQLITE_BUSY => Ok(Passive {
                busy: code != ffi::SQLITE_OK,
                frames: count(frames),
                backfilled: count(backfilled),
            }),
            _ => Err(sqlite_error("checkpoint", &self.path, self.last_error(code))),
        }
    }

    /// Runs a file control of the main database.
    pub(super) fn control<T>(&self, operation: c_int, argument: &mut T) -> Result<(), Error> {
        // SAFETY: the handle is open, the name is a C string; each caller passes the type that its operation asks
        // for, which SQLite does not keep beyond the call.
        let code = unsafe {
            ffi::sqlite3_file_control(
                self.db.handle(),
                c"main".as_ptr(),
                operation,
                std::ptr::from_mut(argument).cast(),
            )
        };
        match code {
            ffi::SQLITE_OK => Ok(()),
            _ => Err(sqlite_error("configure", &self.path, self.last_error(code))),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The memory set aside for statements is not worth having for ours.
    fn no_lookaside(&self) {
        let none = std::ptr::null_mut::<std::ffi::c_void>();
        // SAFETY: the handle is open; this option takes a pointer and two ints. If it is refused, memory is all it
        // costs.
        unsafe {
            ffi::sqlite3_db_config(
                self.db.handle(),
                ffi::SQLITE_DBCONFIG_LOOKASIDE,
                none,
                0 as c_int,
                0 as c_int,
            )
        };
    }

    fn run(&self, sql: &str) -> rusqlite::Result<()> {
        self.db.prepare_cached(sql)?.execute([]).map(|_| ())
    }

    /// Tries again while others are in the way.
    fn patiently<T>(
        &self,
        patience: Duration,
        action: &'static str,
        mut attempt: impl FnMut() -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let start = Instant::now();
        loop {
            match attempt() {
                Err(error) if is_busy(&error) && start.elapsed() < patience => std::thread::sleep(PAUSE),
                Err(error) => return Err(sqlite_error(action, &self.path, error)),
                Ok(value) => return Ok(value),
            }
        }
    }

    fn last_error(&self, code: c_int) -> rusqlite::Error {
        // SAFETY: the handle is open; the message is copied before the next call on it.
        let message = unsafe { std::ffi::CStr::from_ptr(ffi::sqlite3_errmsg(self.db.handle())) };
        rusqlite::Error::SqliteFailure(
            ffi::Error::new(code),
            Some(message.to_string_lossy().into_owned()),
        )
    }
}

/// No page cache set aside before it is used: our connections read one page. Only possible before SQLite is first
/// used; otherwise memory is all it costs.
fn configure_sqlite() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let none = std::ptr::null_mut::<std::ffi::c_void>();
        // SAFETY: this option takes a pointer and two ints; SQLite refuses it once it is running.
        unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_PAGECACHE, none, 0 as c_int, 0 as c_int) };
    });
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed)
    )
}

fn sqlite_error(action: &'static str, path: &Path, source: rusqlite::Error) -> Error {
    let path = path.to_path_buf();
    match source.sqlite_error_code() {
        _ if is_busy(&source) => Error::Busy { action, path },
        Some(ErrorCode::NotADatabase) => Error::NotSqlite(path),
        Some(ErrorCode::ReadOnly) => locked_out(&path).unwrap_or(Error::ReadOnly(path)),
        Some(ErrorCode::CannotOpen) => locked_out(&path).unwrap_or(Error::Sqlite { action, path, source }),
        _ => Error::Sqlite { action, path, source },
    }
}

/// The file beside a database that this user may not use, if that is what SQLite fails at: it does not say.
fn locked_out(database: &Path) -> Option<Error> {
    ["-wal", "-shm"].into_iter().find_map(|suffix| {
        let mut file = database.as_os_str().to_owned();
        file.push(suffix);
        let file = PathBuf::from(file);
        let owner = std::fs::metadata(&file).ok()?.uid();
        let wanted = Access::READ_OK | Access::WRITE_OK;
        let is_usable = accessat(CWD, &file, wanted, AtFlags::EACCESS).is_ok();
        let uid = geteuid().as_raw();
        (!is_usable).then_some(Error::Beside { file, uid, owner })
    })
}
