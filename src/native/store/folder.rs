//! A replica in a local folder, laid out as Litestream lays out its own.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;

use crate::ltx::{Header, Timestamp, Txid};
use crate::native::new_file::{self, NewFile};
use crate::replica::{Layout, Level, SegmentId, SegmentInfo};
use crate::store::{Body, Error, Result, Source, Store};

/// How much of a body is held in memory at a time.
const PIECE: u64 = 1024 * 1024;
/// Reads longer than this leave the event loop.
const LONG_READ: u64 = 64 * 1024;
/// Reads are hardly longer than this.
const USUAL_READ: u64 = 2 * 1024 * 1024;

/// Segments as files `ltx/<level>/<min>-<max>.ltx`, each with its segment's time as modification time, as
/// Litestream has them.
///
/// Nothing is ever overwritten. Folders and files are made for their owner only: they hold a database.
#[derive(Debug)]
pub struct FolderStore {
    root: PathBuf,
    /// Whether what a crash left has been removed. Only writers do that, once.
    swept: Cell<bool>,
}

impl FolderStore {
    /// The replica at `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            swept: Cell::new(false),
        }
    }

    fn path(&self, id: SegmentId) -> PathBuf {
        self.root.join(id.key(Layout::Folder))
    }

    fn folder(&self, level: Level) -> PathBuf {
        self.root.join(Layout::Folder.prefix(level))
    }

    fn sweep(&self) {
        for folder in Level::all()
            .chain(Level::shelves())
            .map(|level| self.folder(level))
        {
            match new_file::sweep(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!("cannot remove what a crash left in {}: {error}", folder.display());
                }
                _ => {}
            }
        }
    }
}

#[async_trait(?Send)]
impl Source for FolderStore {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        let path = self.path(id);
        let len = range.end.saturating_sub(range.start);
        let is_long = len > LONG_READ;
        // Taken here, and not by one of many threads: the allocator keeps what each of those ever had.
        let buffer = Vec::with_capacity(usize::try_from(len.min(USUAL_READ)).unwrap_or_default());
        let read = move || read(&path, range, buffer);
        if is_long { blocking(read).await } else { read() }
    }
}

#[async_trait(?Send)]
impl Store for FolderStore {
    async fn list(&self, level: Level, after: Txid) -> Result<Vec<SegmentInfo>> {
        let folder = self.folder(level);
        blocking(move || list(&folder, level, after)).await
    }

    async fn stat(&self, id: SegmentId) -> Result<Option<SegmentInfo>> {
        let path = self.path(id);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(info(id, &metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failure("cannot look at", &path, error)),
        }
    }

    async fn create(&self, id: SegmentId, body: &dyn Body) -> Result<()> {
        if !self.swept.replace(true) {
            self.sweep();
        }
        let mut file = {
            let (folder, path) = (self.folder(id.level), self.path(id));
            let begins = id.min == Txid::FIRST || id.level == Level::OWNER;
            let replica = (!begins).then(|| self.root.join("ltx"));
            blocking(move || start(&folder, &path, replica.as_deref())).await?
        };
        let mut time = None;
        let mut at = 0;
        while at < body.len() {
            let end = at.saturating_add(PIECE).min(body.len());
            let piece = body.read(at..end).await?;
            if at == 0 {
                time = header_time(&piece);
            }
            let path = self.path(id);
            let write = move || file.file().write_all_at(&piece, at).map(|()| file);
            file = blocking(move || write().map_err(|error| failure("cannot write", &path, error))).await?;
            at = end;
        }
        let path = self.path(id);
        blocking(move || finish(file, time, &path)).await
    }

    async fn delete(&self, id: SegmentId) -> Result<()> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failure("cannot delete", &path, error))
            }
            _ => Ok(()),
        }
    }
}

/// Runs what waits for the disk beside the event loop.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let stopped = |error| Error::Unavailable(format!("a disk operation was broken off: {error}"));
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(stopped(error)))
}

fn list(folder: &Path, level: Level, after: Txid) -> Result<Vec<SegmentInfo>> {
    let failed = |error| failure("cannot list", folder, error);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let named = name.to_str().map(|name| SegmentId::from_file_name(level, name));
        let Some(Ok(id)) = named else { continue };
        if id.max <= after {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => segments.push(info(id, &metadata)),
            Ok(_) => {}
            // Deleted while we list.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    segments.sort_unstable_by_key(|segment| segment.id);
    Ok(segments)
}

fn read(path: &Path, range: Range<u64>, mut bytes: Vec<u8>) -> Result<Bytes> {
    let out_of_range = || Error::OutOfRange(path.display().to_string());
    let failed = |error| failure("cannot read", path, error);
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NotFound(path.display().to_string()));
        }
        file => file.map_err(failed)?,
    };
    // Before memory is taken for it.
    if range.start > range.end || range.end > file.metadata().map_err(failed)?.len() {
        return Err(out_of_range());
    }
    let len = range.end.saturating_sub(range.start);
    file.seek(io::SeekFrom::Start(range.start)).map_err(failed)?;
    let mut file = file.take(len);
    file.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 == len {
        Ok(bytes.into())
    } else {
        Err(out_of_range())
    }
}

/// Starts a segment's file. Only a whole database begins a replica: where a later segment finds no `replica`, it was
/// deleted, or its disk is not mounted, and going on would leave a history without its beginning.
fn start(folder: &Path, path: &Path, replica: Option<&Path>) -> Result<NewFile> {
    if let Some(replica) = replica.filter(|replica| !replica.exists()) {
        let gone = format!(
            "the replica's folder {} is gone: mount its disk, or start again for a new replica",
            replica.display()
        );
        return Err(Error::Unavailable(gone));
    }
    new_file::create_folders(folder).map_err(|error| failure("cannot create the folder", folder, error))?;
    NewFile::create(path, 0o600).map_err(|error| failure("cannot create", path, error))
}

fn finish(file: NewFile, time: Option<SystemTime>, path: &Path) -> Result<()> {
    let set_time = time.map_or(Ok(()), |time| file.file().set_modified(time));
    match set_time.and_then(|()| file.publish()) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Error::Exists(path.display().to_string()))
        }
        result => result.map_err(|error| failure("cannot create", path, error)),
    }
}

/// The time of the segment that starts so.
fn header_time(start: &Bytes) -> Option<SystemTime> {
    let header = Header::parse(start.first_chunk()?).ok()?;
    let millis = u64::try_from(header.timestamp.0).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

fn info(id: SegmentId, metadata: &fs::Metadata) -> SegmentInfo {
    let modified = metadata.modified().ok();
    let since_epoch = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    SegmentInfo {
        id,
        size: metadata.len(),
        timestamp: since_epoch
            .and_then(|duration| i64::try_from(duration.as_millis()).ok())
            .map(Timestamp),
    }
}

/// Tells a folder that is closed to us, and one that cannot be, from a disk that fails.
fn failure(what: &str, path: &Path, source: io::Error) -> Error {
    let what = format!("{what} {}", path.display());
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Error::Denied(format!("{what}: {source}"))
        }
        // No waiting mends a path that goes through a file.
        io::ErrorKind::NotADirectory => Error::Refused(format!("{what}: {source}; check the URL")),
        _ => Error::Io { what, source },
    }
}
