//! One live database followed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Checkpointed, Committed, Error, Held, Location, Pinned};
use crate::ltx::{PageSize, Pgno};
use crate::wal::{Checksum, Salts};

/// How to open a database.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Switch a database that is not in WAL mode.
    pub set_wal: bool,
}

/// A live database. All calls are synchronous and short, but for checkpoints, which sync files.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    page_size: PageSize,
}

impl Source {
    /// Opens a database and pins its newest commit. Until the first [`changes`](Self::changes) or
    /// [`view`](Self::view) after this has succeeded, the WAL may restart under the reader (the pin may be at mark 0
    /// with frames nobody holds): those calls then say [`Error::Moved`]. From then on no frame is lost unheld.
    pub fn open(path: &Path, options: &Options) -> Result<Self, Error> {
        let _ = options;
        Err(Error::Missing(path.into()))
    }

    /// The path, absolute, symbolic links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the WAL.
    pub fn wal_path(&self) -> PathBuf {
        self.path.clone()
    }

    /// The size of the database's pages.
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// The committed state, as the wal-index says now.
    pub fn committed(&mut self) -> Result<Committed, Error> {
        Err(Error::Missing(self.path.clone()))
    }

    /// Whether the WAL file holds frames beyond the committed ones: a commit is under way (look again after 0.5, 1,
    /// 2, 4 … ms), or was given up.
    pub fn commit_under_way(&self, committed: &Committed) -> Result<bool, Error> {
        let _ = committed;
        Err(Error::Missing(self.path.clone()))
    }

    /// Moves the pin to the newest commit without a gap. `held`: what is safe elsewhere. Without it the pin only
    /// moves to a newer frame; with everything up to the old pin held it may fall to the database file.
    pub fn advance(&mut self, held: Held) -> Result<Pinned, Error> {
        let _ = held;
        Err(Error::Missing(self.path.clone()))
    }

    /// The pages changed by the frames after `from_frame`, up to `committed`, at their newest.
    pub fn changes(
        &mut self,
        from_frame: u32,
        previous_commit: u32,
        committed: &Committed,
    ) -> Result<ChangedPages, Error> {
        let _ = (from_frame, previous_commit, committed);
        Err(Error::Missing(self.path.clone()))
    }

    /// The whole database at `committed`; stays readable while the pin is not moved.
    pub fn view(&mut self, committed: &Committed) -> Result<View, Error> {
        let _ = committed;
        Err(Error::Missing(self.path.clone()))
    }

    /// Reads one page; `page` is as long as a page.
    pub fn read_page(&self, pgno: Pgno, location: Location, page: &mut [u8]) -> Result<(), Error> {
        let _ = (pgno, location, page);
        Err(Error::Missing(self.path.clone()))
    }

    /// The salts and the running checksum in the header of a frame; `None` beyond the end of the file.
    pub fn frame_checksum_at(&self, frame: u32) -> Result<Option<(Salts, Checksum)>, Error> {
        let _ = frame;
        Err(Error::Missing(self.path.clone()))
    }

    /// Copies frames back without the write lock, up to the pin, and moves the pin as [`advance`](Self::advance)
    /// does: to the database file if everything was copied back and is held.
    pub fn checkpoint_passive(&mut self, held: Held) -> Result<Checkpointed, Error> {
        let _ = held;
        Err(Error::Missing(self.path.clone()))
    }

    /// Copies all frames back under the write lock, so that the next writer restarts the WAL. `read_rest` is called
    /// under the lock with the state that is then committed: what it has not taken into memory when it returns, the
    /// WAL may lose. If the lock is not to be had for `patience`: [`Error::Busy`], nothing has changed.
    pub fn checkpoint_locked<E: From<Error>>(
        &mut self,
        patience: Duration,
        read_rest: impl FnOnce(&mut Self, &Committed) -> Result<(), E>,
    ) -> Result<Checkpointed, E> {
        let _ = (patience, read_rest);
        Err(Error::Missing(self.path.clone()).into())
    }

    /// Whether the file at the path, or its WAL, is no longer the one that is open: replaced or deleted.
    pub fn replaced(&self) -> Result<bool, Error> {
        Err(Error::Missing(self.path.clone()))
    }
}

/// Which pages a range of frames changed, and where their newest versions are.
#[derive(Clone, Debug)]
pub struct ChangedPages {
    commit: u32,
}

impl ChangedPages {
    /// The size of the database in pages after the last commit.
    pub fn commit(&self) -> u32 {
        self.commit
    }

    /// How many pages there are.
    pub fn len(&self) -> usize {
        0
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pages, ascending, without the lock page.
    pub fn iter(&self) -> impl Iterator<Item = (Pgno, Location)> + '_ {
        std::iter::empty()
    }
}

/// The whole database at one commit: the frames that lie over the file.
#[derive(Clone, Debug)]
pub struct View {
    commit: u32,
}

impl View {
    /// The size of the database in pages.
    pub fn commit(&self) -> u32 {
        self.commit
    }

    /// Where a page is.
    pub fn location(&self, pgno: Pgno) -> Location {
        let _ = pgno;
        Location::File
    }
}
