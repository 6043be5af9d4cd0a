//! The copy's file as SQLite has it open: the only way to it that keeps SQLite's locks.

use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, ffi};

use super::super::Error;

/// Between two tries for a lock.
const PAUSE: Duration = Duration::from_millis(1);

/// A file that a connection of our own holds open. The connection itself is never used again once it has read: what
/// it would have cached does not matter.
#[derive(Debug)]
pub(super) struct LockedFile {
    db: Connection,
    path: PathBuf,
}

/// SQLite's locks on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    None = 0,
    /// Others may read.
    Shared = 1,
    /// Others may read, none may write.
    Reserved = 2,
    /// Nobody else may do anything.
    Exclusive = 4,
}

impl LockedFile {
    /// Opens the database at `path`. If a crash has left a journal, SQLite takes the database back by it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failed = |error: rusqlite::Error| sqlite(path, "open", &error.to_string());
        let db = Connection::open_with_flags(path, flags).map_err(failed)?;
        db.busy_timeout(Duration::from_secs(60)).map_err(failed)?;
        db.query_row("PRAGMA schema_version", [], |row| row.get::<_, i64>(0))
            .map_err(failed)?;
        let path = path.to_owned();
        Ok(Self { db, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fills `page` from `offset`.
    pub(super) fn read(&self, page: &mut [u8], offset: u64) -> Result<(), Error> {
        let (len, at) = numbers(page.len(), offset);
        self.call("read", |file, methods| {
            // SAFETY: `page` is `len` bytes long and ours alone; the file is open.
            methods
                .xRead
                .map(|read| unsafe { read(file, page.as_mut_ptr().cast(), len, at) })
        })
    }

    pub(super) fn write(&self, page: &[u8], offset: u64) -> Result<(), Error> {
        let (len, at) = numbers(page.len(), offset);
        self.call("write", |file, methods| {
            // SAFETY: `page` is `len` bytes long; the file is open.
            methods
                .xWrite
                .map(|write| unsafe { write(file, page.as_ptr().cast(), len, at) })
        })
    }

    pub(super) fn set_len(&self, len: u64) -> Result<(), Error> {
        let (_, len) = numbers(0, len);
        self.call("resize", |file, methods| {
            // SAFETY: the file is open.
            methods.xTruncate.map(|truncate| unsafe { truncate(file, len) })
        })
    }

    pub(super) fn sync(&self) -> Result<(), Error> {
        self.call("sync", |file, methods| {
            // SAFETY: the file is open.
            methods
                .xSync
                .map(|sync| unsafe { sync(file, ffi::SQLITE_SYNC_NORMAL) })
        })
    }

    /// Takes a lock, the next above the one that is held; whether it was to be had within `patience`.
    pub(super) fn lock(&self, lock: Lock, patience: Duration) -> Result<bool, Error> {
        let start = Instant::now();
        loop {
            let mut busy = false;
            self.call("lock", |file, methods| {
                // SAFETY: the file is open; the levels are SQLite's, and taken in its order.
                let code = methods.xLock.map(|take| unsafe { take(file, lock as c_int) });
                busy = code == Some(ffi::SQLITE_BUSY);
                if busy { Some(ffi::SQLITE_OK) } else { code }
            })?;
            if !busy {
                return Ok(true);
            }
            if start.elapsed() >= patience {
                return Ok(false);
            }
            sleep(PAUSE);
        }
    }

    /// Gives up all locks.
    pub(super) fn unlock(&self) -> Result<(), Error> {
        self.call("unlock", |file, methods| {
            // SAFETY: the file is open.
            methods
                .xUnlock
                .map(|unlock| unsafe { unlock(file, Lock::None as c_int) })
        })
    }

    fn call(
        &self,
        what: &str,
        method: impl FnOnce(*mut ffi::sqlite3_file, &ffi::sqlite3_io_methods) -> Option<c_int>,
    ) -> Result<(), Error> {
        let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
        // SAFETY: the handle is open, the name is a C string, and this operation gives a file pointer.
        let code = unsafe {
            ffi::sqlite3_file_control(
                self.db.handle(),
                c"main".as_ptr(),
                ffi::SQLITE_FCNTL_FILE_POINTER,
                (&raw mut file).cast(),
            )
        };
        // SAFETY: SQLite has just given the file; it lives as long as the connection, which only this thread uses now.
        let methods = unsafe { file.as_ref().and_then(|file| file.pMethods.as_ref()) };
        let code = match methods.filter(|_| code == ffi::SQLITE_OK) {
            Some(methods) => method(file, methods).unwrap_or(ffi::SQLITE_MISUSE),
            None => ffi::SQLITE_MISUSE,
        };
        match code {
            ffi::SQLITE_OK => Ok(()),
            code => Err(sqlite(&self.path, what, &ffi::Error::new(code).to_string())),
        }
    }
}

/// As SQLite counts: no page and no file is too large for it.
fn numbers(len: usize, offset: u64) -> (c_int, i64) {
    (
        c_int::try_from(len).unwrap_or(c_int::MAX),
        i64::try_from(offset).unwrap_or(i64::MAX),
    )
}

fn sqlite(path: &Path, what: &str, why: &str) -> Error {
    Error::Copy {
        path: path.to_owned(),
        why: format!("cannot {what} it: {why}"),
    }
}
