//! The database file and its WAL, as plain files to read from.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::Error;
use crate::ltx::{PageSize, Pgno};
use crate::wal::{FrameHeader, frame_offset};

/// The database file, open for as long as it is followed.
#[derive(Debug)]
pub(super) struct Database {
    file: File,
    path: PathBuf,
    /// Given up after the file is closed.
    claim: Claim,
}

/// What the header of a database says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) page_size: PageSize,
    pub(super) wal_mode: bool,
}

impl Database {
    /// Opens the file at `path`, which is absolute.
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        let metadata = std::fs::metadata(&path).map_err(|source| io_error("look at", &path, source))?;
        if !metadata.is_file() {
            return Err(Error::NotAFile(path));
        }
        let claim = Claim::new(&metadata).ok_or_else(|| Error::AlreadyOpen(path.clone()))?;
        let file = File::open(&path).map_err(|source| io_error("open", &path, source))?;
        Ok(Self { file, path, claim })
    }

    /// The header; `None` of a file that is empty, which to SQLite is an empty database.
    pub(super) fn header(&self) -> Result<Option<Header>, Error> {
        let mut bytes = [0; 20];
        let len =
            read_at(&self.file, &mut bytes, 0).map_err(|source| io_error("read", &self.path, source))?;
        let [magic @ .., size1, size2, write_version, read_version] = bytes;
        let not_sqlite = || Error::NotSqlite(self.path.clone());
        if len == 0 {
            return Ok(None);
        }
        if &magic != b"SQLite format 3\0" || len < bytes.len() {
            return Err(not_sqlite());
        }
        let page_size = match u16::from_be_bytes([size1, size2]) {
            1 => 65_536,
            other => u32::from(other),
        };
        Ok(Some(Header {
            page_size: PageSize::new(page_size).map_err(|_| not_sqlite())?,
            wal_mode: [write_version, read_version] == [2, 2],
        }))
    }

    /// Its size in pages, counting a part of one.
    pub(super) fn pages(&self, page_size: PageSize) -> Result<u32, Error> {
        let len = self
            .file
            .metadata()
            .map_err(|source| io_error("look at", &self.path, source))?
            .len();
        Ok(u32::try_from(len.div_ceil(u64::from(page_size.get()))).unwrap_or(u32::MAX))
    }

    /// Reads a page; zeros beyond the end.
    pub(super) fn read_page(&self, pgno: Pgno, page_size: PageSize, page: &mut [u8]) -> Result<(), Error> {
        let len = read_at(&self.file, page, page_size.offset_of(pgno))
            .map_err(|source| io_error("read", &self.path, source))?;
        page.get_mut(len..).unwrap_or_default().fill(0);
        Ok(())
    }

    /// Writes what others wrote to the disk, so that a checkpoint under the lock finds little to wait for.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.file
            .sync_data()
            .map_err(|source| io_error("sync", &self.path, source))
    }

    /// Whether another file is at the path, or none.
    pub(super) fn replaced(&self) -> Result<bool, Error> {
        Ok(Some(self.claim.0) != identity_at(&self.path)?)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// The WAL file.
#[derive(Debug)]
pub(super) struct Wal {
    file: File,
    path: PathBuf,
    page_size: PageSize,
}

impl Wal {
    /// Opens the WAL of the database at `database`, which a connection has read before, so that it is there.
    pub(super) fn open(database: &Path, page_size: PageSize) -> Result<Self, Error> {
        let path = wal_path(database);
        let file = File::open(&path).map_err(|source| io_error("open", &path, source))?;
        Ok(Self {
            file,
            path,
            page_size,
        })
    }

    /// The head of a frame; `None` beyond the end of the file.
    pub(super) fn frame_header(&self, frame: u32) -> Result<Option<FrameHeader>, Error> {
        let mut bytes = [0; FrameHeader::LEN];
        let len = read_at(&self.file, &mut bytes, frame_offset(self.page_size, frame))
            .map_err(|source| io_error("read", &self.path, source))?;
        Ok((len == bytes.len()).then(|| FrameHeader::parse(&bytes)))
    }

    /// Reads the page in a frame; false beyond the end of the file.
    pub(super) fn read_page(&self, frame: u32, page: &mut [u8]) -> Result<bool, Error> {
        let offset = frame_offset(self.page_size, frame).saturating_add(FrameHeader::LEN as u64);
        match self.file.read_exact_at(page, offset) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(source) => Err(io_error("read", &self.path, source)),
        }
    }

    /// Whether another file is at the path, or none.
    pub(super) fn replaced(&self) -> Result<bool, Error> {
        let open = self
            .file
            .metadata()
            .map_err(|source| io_error("look at", &self.path, source))?;
        Ok(Some(identity(&open)) != identity_at(&self.path)?)
    }
}

/// Where SQLite keeps the WAL of a database.
pub(super) fn wal_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// A file, whatever its name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
}

fn identity(metadata: &Metadata) -> Identity {
    Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
    }
}

fn identity_at(path: &Path) -> Result<Option<Identity>, Error> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(identity(&metadata))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("look at", path, error)),
    }
}

/// The right of this process to open a database, once.
#[derive(Debug)]
struct Claim(Identity);

static CLAIMED: Mutex<Option<HashSet<Identity>>> = Mutex::new(None);

impl Claim {
    fn new(metadata: &Metadata) -> Option<Self> {
        let identity = identity(metadata);
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        claimed
            .get_or_insert_default()
            .insert(identity)
            .then(|| Self(identity))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.get_or_insert_default().remove(&self.0);
    }
}

/// Reads as much as there is.
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut len = 0;
    while let Some(rest) = bytes.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(len as u64)) {
            Ok(0) => break,
            Ok(read) => len = len.saturating_add(read),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

pub(super) fn io_error(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    match source.kind() {
        ErrorKind::NotFound => Error::Missing(path.into()),
        _ => Error::Io {
            action,
            path: path.into(),
            source,
        },
    }
}
