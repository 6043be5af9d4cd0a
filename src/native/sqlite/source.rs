//! One live database followed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::changed_pages::Overlay;
use super::connection::Connection;
use super::files::{Database, Wal, io_error, wal_path};
use super::pin::Pin;
use super::shared_memory::WalIndex;
use super::{ChangedPages, Committed, Error, Location, View};
use crate::ltx::{PageSize, Pgno};
use crate::wal::{Changed, Changes, Checksum, FrameHeader, Salts};

/// The first version without the WAL-reset bug.
const SQLITE_VERSION: i32 = 3_051_003;
/// How often the wal-index is read anew while a writer is at it, and how long to wait in between. A writer needs less
/// than a microsecond for it, unless it was put to sleep, or killed.
const READS: u32 = 50;
const READ_PAUSE: Duration = Duration::from_micros(20);

/// How to open a database.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Switch a database that is not in WAL mode.
    pub set_wal: bool,
}

/// A live database. All calls are synchronous and short, but for checkpoints, which sync files.
#[derive(Debug)]
pub struct Source {
    /// Holds a read transaction: the pin.
    pub(super) pinned: Connection,
    /// Holds none, between calls.
    pub(super) idle: Connection,
    pub(super) pin: Pin,
    wal: Wal,
    page_size: PageSize,
    /// The last to be dropped: closing it would drop the locks of the connections.
    pub(super) database: Database,
}

impl Source {
    /// Opens a database and pins its newest commit.
    ///
    /// The pin may find all frames copied back, and then guards none of those that are there already. So the first
    /// [`changes`](Self::changes) or [`view`](Self::view) may say [`Error::Moved`]; from the first that succeeds, no
    /// frame is lost unless it was held (a new salt then means: go on at frame 1).
    pub fn open(path: &Path, options: &Options) -> Result<Self, Error> {
        if rusqlite::version_number() < SQLITE_VERSION {
            return Err(Error::TooOld(rusqlite::version().into()));
        }
        let path = path
            .canonicalize()
            .map_err(|source| io_error("look at", path, source))?;
        let database = Database::open(path)?;
        let path = database.path();
        let wal_mode = database.header()?.is_some_and(|header| header.wal_mode);
        if !wal_mode && !options.set_wal {
            return Err(Error::NotWal(path.into()));
        }
        let pinned = Connection::open(path)?;
        if !wal_mode {
            pinned.set_wal()?;
            tracing::info!(database = %path.display(), "switched to WAL mode");
        }
        let header = database.header()?.ok_or_else(|| Error::NotSqlite(path.into()))?;
        let idle = Connection::open(path)?;
        // A connection that has never read does not know that there is a WAL to follow or to check.
        for connection in [&pinned, &idle] {
            connection.begin_read().map_err(|error| match error {
                Error::Busy { .. } => Error::Exclusive(path.into()),
                other => other,
            })?;
            connection.end()?;
        }
        let wal = Wal::open(path, header.page_size)?;
        let pin = Pin::default();
        let mut source = Self {
            pinned,
            idle,
            pin,
            wal,
            page_size: header.page_size,
            database,
        };
        let before = source.index()?;
        source.pinned.begin_read()?;
        source.pin = Pin::taken(&before, &source.index()?);
        Ok(source)
    }

    /// The path, absolute, symbolic links resolved.
    pub fn path(&self) -> &Path {
        self.database.path()
    }

    /// The path of the WAL.
    pub fn wal_path(&self) -> PathBuf {
        wal_path(self.path())
    }

    /// The size of the database's pages.
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// The committed state, as the wal-index says now.
    pub fn committed(&mut self) -> Result<Committed, Error> {
        let index = self.index()?;
        self.committed_in(&index)
    }

    pub(super) fn committed_in(&self, index: &WalIndex) -> Result<Committed, Error> {
        let &WalIndex { header, backfilled } = index;
        let commit = match header.commit {
            0 => self.database.pages(self.page_size)?,
            pages => pages,
        };
        Ok(Committed {
            salts: header.salts,
            mx_frame: header.mx_frame,
            commit,
            backfilled,
            frame_checksum: header.frame_checksum,
        })
    }

    /// Whether the WAL file holds a frame beyond the committed ones: a commit is under way (look again after 0.5, 1,
    /// 2, 4 … ms), or was given up.
    pub fn commit_under_way(&self, committed: &Committed) -> Result<bool, Error> {
        let next = self.wal.frame_header(committed.mx_frame.saturating_add(1))?;
        // A connection that has never checkpointed draws new salts when it begins an empty WAL; the wal-index learns of
        // them with the commit. What a restart left in the file is older by one.
        let drawn =
            |salts: Salts| committed.mx_frame == 0 && salts.0[0].wrapping_add(1) != committed.salts.0[0];
        Ok(next
            .is_some_and(|frame| (frame.salts == committed.salts || drawn(frame.salts)) && frame.pgno.0 != 0))
    }

    /// The pages changed by the frames after `from_frame`, up to `committed`; `previous_commit` is the size of the
    /// database in pages before them. To be read before the pin is moved: where a page is, is true only until then.
    pub fn changes(
        &mut self,
        from_frame: u32,
        previous_commit: u32,
        committed: &Committed,
    ) -> Result<ChangedPages, Error> {
        if from_frame > committed.mx_frame {
            return Err(self.moved());
        }
        let changed = self.scan(from_frame, previous_commit, committed)?;
        let grown = changed.lowest_commit < committed.commit;
        let newest = if grown && from_frame > committed.backfilled {
            // A page that came back without being written may have a frame from before.
            self.scan(committed.backfilled, previous_commit, committed)?
                .newest
        } else {
            changed.newest.clone()
        };
        // Without a frame to read, a restart takes nothing away.
        if from_frame < committed.mx_frame || grown {
            self.still(committed)?;
        }
        let changed = Changed {
            commit: committed.commit,
            ..changed
        };
        let frames = Overlay::new(newest, committed.backfilled);
        Ok(ChangedPages::new(changed, frames, self.page_size.lock_page()))
    }

    /// The whole database at `committed`. Where a page is, is true only until the pin is moved.
    pub fn view(&mut self, committed: &Committed) -> Result<View, Error> {
        let newest = self
            .scan(committed.backfilled, committed.commit, committed)?
            .newest;
        self.still(committed)?;
        Ok(View::new(
            committed.commit,
            Overlay::new(newest, committed.backfilled),
        ))
    }

    /// Reads one page; `page` is as long as a page. [`Error::Moved`] if a TRUNCATE has taken the frame away: all frames
    /// are in the database file then.
    pub fn read_page(&self, pgno: Pgno, location: Location, page: &mut [u8]) -> Result<(), Error> {
        match location {
            Location::Frame(frame) => match self.wal.read_page(frame, page)? {
                true => Ok(()),
                false => Err(self.moved()),
            },
            Location::File => self.database.read_page(pgno, self.page_size, page),
        }
    }

    /// The salts and the running checksum in the head of a frame; `None` beyond the end of the file.
    pub fn frame_checksum_at(&self, frame: u32) -> Result<Option<(Salts, Checksum)>, Error> {
        let header = self.wal.frame_header(frame)?;
        Ok(header.map(|header| (header.salts, header.checksum)))
    }

    /// Whether the file at the path, or its WAL, is no longer the one that is open: replaced or deleted. Then open
    /// it anew, and compare pages.
    pub fn replaced(&self) -> Result<bool, Error> {
        Ok(self.database.replaced()? || self.wal.replaced()?)
    }

    /// The wal-index as it is now.
    pub(super) fn index(&mut self) -> Result<WalIndex, Error> {
        for _ in 0..READS {
            if let Some(index) = self.index_once()? {
                return Ok(index);
            }
            std::thread::sleep(READ_PAUSE);
        }
        let busy = || Error::Busy {
            action: "read the wal-index of",
            path: self.path().into(),
        };
        // A writer was killed while it wrote the header. Any reader then rebuilds it from the WAL file.
        if self.idle.is_idle() {
            self.idle.begin_read()?;
            self.idle.end()?;
        }
        self.index_once()?.ok_or_else(busy)
    }

    fn index_once(&self) -> Result<Option<WalIndex>, Error> {
        let index = WalIndex::read(&self.pinned)?;
        match index.and_then(|index| index.header.page_size) {
            Some(size) if size != self.page_size => Err(Error::Damaged {
                path: self.path().into(),
                what: "its WAL has pages of another size",
            }),
            _ if index.is_some_and(|index| !self.pin.stands(&index)) => Err(self.moved()),
            _ => Ok(index),
        }
    }

    /// Reads the heads of the frames after `from`, up to `committed`.
    fn scan(&self, from: u32, previous_commit: u32, committed: &Committed) -> Result<Changed, Error> {
        let mut changes = Changes::new(previous_commit);
        let mut last: Option<FrameHeader> = None;
        for frame in from.saturating_add(1)..=committed.mx_frame {
            let header = self
                .wal
                .frame_header(frame)?
                .filter(|header| header.salts == committed.salts);
            let header = header.ok_or_else(|| self.moved())?;
            changes.push(frame, header.pgno, header.commit);
            last = Some(header);
        }
        // The last frame is the one that SQLite means: nothing was overwritten, and it is the same file.
        match last {
            Some(last) if (last.commit, last.checksum) != (committed.commit, committed.frame_checksum) => {
                Err(self.moved())
            }
            _ => Ok(changes.finish()),
        }
    }

    /// The WAL was not restarted while it was read: a restart is in the wal-index before it is in the file.
    fn still(&mut self, committed: &Committed) -> Result<(), Error> {
        if self.index()?.header.salts == committed.salts {
            Ok(())
        } else {
            Err(self.moved())
        }
    }

    pub(super) fn moved(&self) -> Error {
        Error::Moved(self.path().into())
    }
}
