//! Reads the wal-index out of the memory that the processes share, and shares the lock of its mark 0.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{Ordering, fence};

use rusqlite::ffi;

use super::Error;
use super::connection::Connection;
use crate::wal::{self, Backfill, IndexHeader};

/// SQLite maps the wal-index in regions of this size; the headers lie at the start of the first.
const REGION_LEN: c_int = 32 * 1024;
/// The lock of mark 0; before it lie those of the writer, of the checkpoint and of recovery.
const READ_LOCK_0: c_int = 3;
/// Two copies of the header, then the backfill.
const READ_LEN: usize = Backfill::OFFSET + Backfill::LEN;

/// One state of the wal-index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WalIndex {
    pub(super) header: IndexHeader,
    /// Frames copied back; at most the committed ones.
    pub(super) backfilled: u32,
}

impl WalIndex {
    /// Whether all frames are in the database file too.
    pub(super) fn is_copied_back(&self) -> bool {
        self.backfilled == self.header.mx_frame
    }

    /// Reads the wal-index once, through a connection that has read before. `None` while a writer is at it, or if
    /// one was killed at it: a read by SQLite then repairs it.
    ///
    /// Never by opening the -shm file: closing it would drop the locks of this process, and the pin with them.
    pub(super) fn read(connection: &Connection) -> Result<Option<Self>, Error> {
        let region = map(connection)?;
        let (before, after) = (copy(region), copy(region));
        let Some(header) = header(connection, &before)? else {
            return Ok(None);
        };
        if self::header(connection, &after)? != Some(header) {
            return Ok(None);
        }
        // The first copy was read between two equal states of the header, but a restart sets the header first and
        // the backfill to 0 after it: so it counts only up to what is committed.
        let backfill = before.last_chunk().map(Backfill::parse);
        let backfilled = backfill.map_or(0, |backfill| backfill.done).min(header.mx_frame);
        Ok(Some(Self { header, backfilled }))
    }
}

/// The header, if its two copies are one and whole.
fn header(connection: &Connection, bytes: &[u8; READ_LEN]) -> Result<Option<IndexHeader>, Error> {
    let (Some((first, rest)), path) = (bytes.split_first_chunk(), connection.path()) else {
        return Ok(None);
    };
    let Some(second) = rest.first_chunk() else {
        return Ok(None);
    };
    match IndexHeader::parse(first, second) {
        Ok(header) => Ok(Some(header)),
        Err(wal::Error::IndexInFlux | wal::Error::IndexUninitialized | wal::Error::IndexChecksum) => Ok(None),
        Err(source) => Err(Error::WalIndex {
            path: path.into(),
            source,
        }),
    }
}

/// Shares the lock of mark 0, as who reads the database file alone does: false while somebody copies frames back, who
/// has it alone. To be given back with [`give_back_mark_0`], unless a read has made it its own meanwhile.
pub(super) fn share_mark_0(connection: &Connection) -> Result<bool, Error> {
    match lock_mark_0(connection, ffi::SQLITE_SHM_LOCK)? {
        ffi::SQLITE_OK => Ok(true),
        ffi::SQLITE_BUSY => Ok(false),
        _ => Err(unmapped(connection)),
    }
}

/// Of a connection that is idle.
pub(super) fn give_back_mark_0(connection: &Connection) -> Result<(), Error> {
    match lock_mark_0(connection, ffi::SQLITE_SHM_UNLOCK)? {
        ffi::SQLITE_OK => Ok(()),
        _ => Err(unmapped(connection)),
    }
}

fn lock_mark_0(connection: &Connection, action: c_int) -> Result<c_int, Error> {
    let (file, methods) = file_of(connection)?;
    let lock = methods.xShmLock.ok_or_else(|| unmapped(connection))?;
    // SAFETY: as in `map`; a lock is asked for without waiting, and what is held already is not taken twice.
    Ok(unsafe { lock(file, READ_LOCK_0, 1, action | ffi::SQLITE_SHM_SHARED) })
}

/// Where the first region is mapped. It stays there for as long as the connection lives.
fn map(connection: &Connection) -> Result<*const u32, Error> {
    let (file, methods) = file_of(connection)?;
    let map = methods.xShmMap.ok_or_else(|| unmapped(connection))?;
    let mut region: *mut c_void = std::ptr::null_mut();
    // SAFETY: SQLite has just given the file; it lives as long as the connection, and only this thread uses it now.
    // Not to be extended: the connection has read, so it is there.
    let code = unsafe { map(file, 0, REGION_LEN, 0, &raw mut region) };
    if code != ffi::SQLITE_OK || region.is_null() {
        return Err(unmapped(connection));
    }
    Ok(region.cast_const().cast())
}

/// The database file as SQLite has it open, and what can be done with it.
fn file_of(connection: &Connection) -> Result<(*mut ffi::sqlite3_file, &ffi::sqlite3_io_methods), Error> {
    let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
    connection.control(ffi::SQLITE_FCNTL_FILE_POINTER, &mut file)?;
    // SAFETY: SQLite has just given the file; it and its methods live as long as the connection.
    let methods = unsafe { file.as_ref().and_then(|file| file.pMethods.as_ref()) };
    // Shared memory came with the second version.
    let methods = methods.filter(|methods| methods.iVersion >= 2);
    Ok((file, methods.ok_or_else(|| unmapped(connection))?))
}

fn unmapped(connection: &Connection) -> Error {
    Error::Damaged {
        path: connection.path().into(),
        what: "it keeps no wal-index in shared memory, without which nobody can follow it",
    }
}

/// Copies the start of the region, word after word, in the order in which SQLite wants it read: the first copy of the
/// header before the second, the header before the backfill.
fn copy(region: *const u32) -> [u8; READ_LEN] {
    let mut bytes = [0; READ_LEN];
    for (at, word) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        if at.is_multiple_of(IndexHeader::LEN / 4) {
            fence(Ordering::SeqCst);
        }
        // SAFETY: the region is mapped, aligned to a page and longer than what is read. Other processes write it
        // meanwhile: hence volatile reads of whole words, and nothing is believed before it was compared and summed.
        *word = unsafe { region.add(at).read_volatile() }.to_ne_bytes();
    }
    fence(Ordering::SeqCst);
    bytes
}
