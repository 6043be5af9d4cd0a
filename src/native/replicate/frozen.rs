//! The database as it was at one commit, read in slices while the application writes on and the WAL moves.
//!
//! What keeps it readable: a page that no later commit changed is where it was, or in the database file once it is
//! copied back. A page that a later commit changed is copied back only when the pin moves beyond that commit, and
//! before the pin moves it is saved ([`Frozen::save_before`]).

use std::path::PathBuf;

use super::Error;
use super::page_set::PageSet;
use super::saved_pages::SavedPages;
use super::state::WalMark;
use crate::ltx::{PageSize, Pgno};
use crate::native::sqlite::{self, Committed, Location, Source, View};

/// How many bytes of pages are read before it is checked that the WAL is still the same.
const BATCH: usize = 256 * 1024;

/// Some pages of that state, of which some are read already.
#[derive(Debug)]
pub(super) struct Frozen {
    /// The state.
    at: WalMark,
    /// Its size in pages.
    commit: u32,
    /// Where pages are while the WAL of that commit is there; later all are in the file.
    view: Option<View>,
    wanted: PageSet,
    /// The first page that may still be wanted.
    next: Pgno,
    saved: SavedPages,
    /// What was committed since, up to here, is saved.
    noted: WalMark,
    /// The size of the database there.
    noted_commit: u32,
    lock_page: Pgno,
}

/// Pages that were read, in one allocation that is used again.
#[derive(Debug)]
pub(super) struct Batch {
    numbers: Vec<Pgno>,
    bytes: Vec<u8>,
    page_size: PageSize,
}

impl Batch {
    pub(super) fn new(page_size: PageSize) -> Self {
        Self {
            numbers: Vec::new(),
            bytes: Vec::new(),
            page_size,
        }
    }

    /// The pages, ascending.
    pub(super) fn pages(&self) -> impl Iterator<Item = (Pgno, &[u8])> {
        let pages = self.bytes.chunks_exact(self.page_size.len());
        self.numbers.iter().copied().zip(pages)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

impl Frozen {
    /// Some pages of the state `committed`, which is the newest; `view` knows where they are. The pin must not move
    /// from now on without [`save_before`](Self::save_before).
    pub(super) fn new(
        source: &Source,
        committed: &Committed,
        view: View,
        wanted: PageSet,
        folder: PathBuf,
    ) -> Self {
        let at = WalMark::newest(committed);
        Self {
            at,
            commit: committed.commit,
            view: Some(view),
            wanted,
            next: Pgno(1),
            saved: SavedPages::new(folder, source.page_size()),
            noted: at,
            noted_commit: committed.commit,
            lock_page: source.page_size().lock_page(),
        }
    }

    /// Takes the next pages into `batch`; none when all are read.
    pub(super) fn read(&mut self, source: &mut Source, batch: &mut Batch) -> Result<(), Error> {
        batch.numbers.clear();
        let page_len = batch.page_size.len();
        let mut pgno = self.next;
        while (batch.numbers.len().saturating_add(1)).saturating_mul(page_len) <= BATCH {
            let Some(next) = self.next_wanted(pgno) else { break };
            batch.numbers.push(next);
            pgno = Pgno(next.0.saturating_add(1));
        }
        batch
            .bytes
            .resize(batch.numbers.len().saturating_mul(page_len), 0);
        loop {
            for (&pgno, page) in batch.numbers.iter().zip(batch.bytes.chunks_exact_mut(page_len)) {
                self.read_page(source, pgno, page)?;
            }
            // A restart of the WAL is in the wal-index before it is in the file. It comes only after everything was
            // copied back.
            if self.view.is_none() || source.committed()?.salts == self.at.salts {
                break;
            }
            self.view = None;
        }
        self.next = pgno;
        Ok(())
    }

    /// Saves what `committed`, or a commit before it, changes. To be called before the pin moves there.
    pub(super) fn save_before(&mut self, source: &mut Source, committed: &Committed) -> Result<(), Error> {
        if committed.salts != self.at.salts {
            self.view = None;
        }
        let from = match self.noted.salts == committed.salts {
            true => self.noted.frame,
            false => 0,
        };
        if (committed.salts, committed.mx_frame) == (self.noted.salts, self.noted.frame) {
            return Ok(());
        }
        let changes = source.changes(from, self.noted_commit, committed)?;
        let mut page = vec![0; source.page_size().len()];
        for (pgno, _) in changes.iter() {
            self.save(source, pgno, &mut page)?;
        }
        // A checkpoint cuts these off.
        let mut pgno = Pgno(changes.lowest_commit().saturating_add(1)).max(self.next);
        while let Some(next) = self.next_wanted(pgno) {
            self.save(source, next, &mut page)?;
            pgno = Pgno(next.0.saturating_add(1));
        }
        self.noted = WalMark::newest(committed);
        self.noted_commit = committed.commit;
        Ok(())
    }

    fn save(&mut self, source: &mut Source, pgno: Pgno, page: &mut [u8]) -> Result<(), Error> {
        let needed = pgno >= self.next
            && pgno.0 <= self.commit
            && self.wanted.contains(pgno)
            && !self.saved.contains(pgno);
        if needed {
            self.read_page(source, pgno, page)?;
            self.saved.save(pgno, page).map_err(side_file)?;
        }
        Ok(())
    }

    fn read_page(&mut self, source: &mut Source, pgno: Pgno, page: &mut [u8]) -> Result<(), Error> {
        if self.saved.contains(pgno) {
            return self.saved.read(pgno, page).map_err(side_file);
        }
        if let Some(view) = &self.view {
            match source.read_page(pgno, view.location(pgno), page) {
                // A TRUNCATE came in between, after everything was copied back.
                Err(sqlite::Error::Moved(_)) if source.committed()?.salts != self.at.salts => {
                    self.view = None
                }
                read => return Ok(read?),
            }
        }
        Ok(source.read_page(pgno, Location::File, page)?)
    }

    fn next_wanted(&self, from: Pgno) -> Option<Pgno> {
        let next = match self.wanted.next_from(from)? {
            lock if lock == self.lock_page => self.wanted.next_from(Pgno(lock.0.saturating_add(1)))?,
            next => next,
        };
        (next.0 <= self.commit).then_some(next)
    }
}

fn side_file(source: std::io::Error) -> Error {
    Error::Io {
        what: "cannot save pages beside the database while a copy of it is under way".to_owned(),
        source,
    }
}
