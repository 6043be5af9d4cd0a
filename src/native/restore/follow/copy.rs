//! The copy itself: one state, and the step to the next.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use super::super::Error;
use super::changes::Changes;
use super::journal::Journal;
use super::locked_file::{Lock, LockedFile};
use super::state::{self, HEADER, State};
use crate::ltx::Pgno;

/// So long new readers are held off while those that read are waited for; then all go on for a while.
const HOLD: Duration = Duration::from_millis(200);
const REST: Duration = Duration::from_millis(300);
/// After so many of these the wait is told.
const TOLD_AFTER: u32 = 20;

#[derive(Debug)]
pub(super) struct Copy {
    file: LockedFile,
    state: State,
}

impl Copy {
    /// Opens the copy at `path`, which is absolute.
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        let states = state::read(&path)?;
        let file = LockedFile::open(&path)?;
        let counter = counter(&file)?;
        let state = states.into_iter().find(|state| state.counter == counter);
        let state = state.ok_or(Error::Changed(path))?;
        Ok(Self { file, state })
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Reads a page as the source has it. Nobody writes to the copy but this process.
    pub(super) fn read(&self, pgno: Pgno, page: &mut [u8]) -> Result<(), Error> {
        self.file.read(page, self.state.page_size.offset_of(pgno))?;
        if pgno.0 == 1 {
            self.state.unserve(page);
        }
        Ok(())
    }

    /// Moves to the next state. Waits for those who read; if this is dropped meanwhile, the copy stays as it is.
    pub(super) async fn apply(mut self, changes: Changes, next: State) -> Result<Self, Error> {
        let given_up = GivenUp::default();
        let flag = Arc::clone(&given_up.0);
        super::super::blocking(move || self.step(&changes, next, &flag).map(|()| self)).await
    }

    fn step(&mut self, changes: &Changes, next: State, given_up: &AtomicBool) -> Result<(), Error> {
        // What the copy can be in from now on, until it is one of them for sure.
        state::write(self.path(), &[self.state.clone(), next.clone()])?;
        let journal = self.enter(changes, &next, given_up)?;
        // From here to the journal's end a crash or an error takes the copy back: by SQLite, when it is next opened.
        let write = || {
            let mut page = vec![0; self.state.page_size.len()];
            let mut has_first = false;
            for (place, &pgno) in changes.numbers().iter().enumerate() {
                changes
                    .read(place, &mut page)
                    .map_err(|error| self.failure(error))?;
                if pgno.0 == 1 {
                    next.serve(&mut page);
                    has_first = true;
                }
                self.file.write(&page, next.page_size.offset_of(pgno))?;
            }
            if !has_first {
                let mut header = [0; HEADER];
                self.file.read(&mut header, 0)?;
                next.serve(&mut header);
                self.file.write(&header, 0)?;
            }
            self.file.set_len(next.page_size.file_size(next.commit))?;
            self.file.sync()
        };
        let written = write().and_then(|()| journal.delete().map_err(|error| self.failure(error)));
        self.file.unlock()?;
        written?;
        self.state = next;
        Ok(())
    }

    /// Waits until the copy is ours alone, its pages as they are in a journal.
    fn enter(&self, changes: &Changes, next: &State, given_up: &AtomicBool) -> Result<Journal, Error> {
        let mut tries = 0u32;
        loop {
            if self.file.lock(Lock::Shared, HOLD)? {
                let entered = self.enter_once(changes, next);
                match entered {
                    Ok(Some(journal)) => return Ok(journal),
                    Ok(None) => self.file.unlock()?,
                    Err(error) => {
                        self.file.unlock()?;
                        return Err(error);
                    }
                }
            }
            if given_up.load(Ordering::Relaxed) {
                return Err(Error::Broken("it was given up".to_owned()));
            }
            tries = tries.saturating_add(1);
            if tries == TOLD_AFTER {
                tracing::warn!(
                    "{} stays behind: someone has been reading it in one transaction for {:?}",
                    self.path().display(),
                    (HOLD + REST).saturating_mul(TOLD_AFTER),
                );
            }
            sleep(REST);
        }
    }

    /// With a shared lock held; `None` if others are in the way.
    fn enter_once(&self, changes: &Changes, next: &State) -> Result<Option<Journal>, Error> {
        if !self.file.lock(Lock::Reserved, HOLD)? {
            return Ok(None);
        }
        if counter(&self.file)? != self.state.counter {
            return Err(Error::Changed(self.path().to_owned()));
        }
        let journal = self.journal(changes, next)?;
        match self.file.lock(Lock::Exclusive, HOLD) {
            Ok(true) => Ok(Some(journal)),
            // Before the lock goes: else others would take the journal for a crash's.
            other => {
                journal.delete().map_err(|error| self.failure(error))?;
                other.map(|_| None)
            }
        }
    }

    /// All pages that will be overwritten or cut off.
    fn journal(&self, changes: &Changes, next: &State) -> Result<Journal, Error> {
        let (page_size, commit) = (self.state.page_size, self.state.commit);
        let overwritten = changes
            .numbers()
            .iter()
            .copied()
            .filter(|pgno| (2..=commit.min(next.commit)).contains(&pgno.0));
        let cut = (next.commit.saturating_add(1)..=commit).map(Pgno);
        // Page 1 always gets a new counter; the lock page has no content.
        let old = std::iter::once(Pgno(1))
            .chain(overwritten)
            .chain(cut)
            .filter(|&pgno| pgno != page_size.lock_page());
        let count = u32::try_from(old.clone().count()).unwrap_or(u32::MAX);
        let failed = |error| self.failure(error);
        // Any number that differs from journal to journal.
        let nonce = next.counter ^ u32::try_from(next.sum.0 & 0xffff_ffff).unwrap_or_default();
        let mut journal = Journal::start(self.path(), count, commit, page_size, nonce).map_err(failed)?;
        let mut page = vec![0; page_size.len()];
        for pgno in old {
            self.file.read(&mut page, page_size.offset_of(pgno))?;
            journal.page(pgno, &page).map_err(failed)?;
        }
        journal.finish().map_err(failed)?;
        Ok(journal)
    }

    pub(super) fn failure(&self, source: io::Error) -> Error {
        Error::Output {
            path: self.path().to_owned(),
            source,
        }
    }

    pub(super) fn complaint(&self, why: &str) -> Error {
        Error::Copy {
            path: self.path().to_owned(),
            why: why.to_owned(),
        }
    }
}

/// The change counter in page 1, as it is there.
fn counter(file: &LockedFile) -> Result<u32, Error> {
    let mut header = [0; HEADER];
    file.read(&mut header, 0)?;
    let counter = header.get(24..).and_then(|rest| rest.first_chunk());
    Ok(counter.map_or(0, |bytes| u32::from_be_bytes(*bytes)))
}

/// Tells a thread, when it is dropped, that nobody waits for it any more.
#[derive(Debug, Default)]
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
