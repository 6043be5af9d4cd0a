//! Newer pages on top of a copy: into the redo log first, then into the database, then the position moves.

use futures_util::StreamExt;

use super::redo::Writer;
use super::{Changes, Database, Phase, Progress, State};
use crate::browser::Error;
use crate::browser::file::{File, read_exact};
use crate::ltx::{DbSum, PageCrc, Pgno};
use crate::replica::PageSet;
use crate::restore::{Restore, Scratch};

impl<F: File> Database<F> {
    /// Brings the pages that lead from the state at hand to a newer one, and proves that state. The database stays
    /// as it is and can be read meanwhile; [`Database::apply`] is the second step.
    pub async fn fetch(
        &self,
        restore: &Restore<'_>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        let Some(before) = self.state() else {
            return Err(Error::NoCopy);
        };
        self.ready.set(None);
        let mut proof = Proof::new(&self.files.db, before, restore)?;
        let mut log = Writer::new(&self.files.redo)?;
        let mut changes = Changes::default();
        let mut done = Progress::start(Phase::Refresh, restore);
        progress(done);
        let mut scratch = Scratch::default();
        let mut chunks = restore.chunks();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            let mut pages = 0;
            chunk.decode(&mut scratch, |pgno, crc, page| {
                pages += 1;
                proof.replace(pgno, crc)?;
                changes.page(pgno);
                log.page(pgno, crc, page).map_err(Error::from)
            })?;
            done.advance(pages, chunk.fetched());
            progress(done);
        }
        let after = proof.finish()?;
        self.ready.set(Some(log.seal(before, after)?));
        self.fetched.replace(changes);
        Ok(())
    }

    /// Whether something was fetched and not yet applied.
    pub fn awaits_apply(&self) -> bool {
        self.ready.get().is_some()
    }

    /// Applies what was fetched, if there is something. [`Error::Reading`], with nothing done, while a statement
    /// reads: see [`Database::idle`].
    pub fn apply(&self) -> Result<Option<State>, Error> {
        let Some(redo) = self.ready.get() else {
            return Ok(self.state());
        };
        if self.is_being_read() {
            return Err(Error::Reading);
        }
        // From here to the new position the database is of no state. If this fails, it is done again, by the next
        // call or by the next opening.
        self.state.set(None);
        let cookie = self.cookie()?;
        let mut pages = PageSet::default();
        if !redo.apply(&self.files.redo, &self.files.db, |pgno| {
            pages.insert(pgno);
        })? {
            return Err(Error::LostWrites);
        }
        self.note_present(&pages, redo.after)?;
        self.set_position(redo.after)?;
        self.note_applied(self.fetched.take(), redo.before, redo.after, cookie)?;
        self.ready.set(None);
        self.files.redo.truncate(0)?;
        self.files.redo.flush()?;
        Ok(Some(redo.after))
    }
}

/// Follows the database sum from the old state to the new one: the parts of the old pages go, those of the new come. Where
/// the old pages are not all here, the new sum is taken as it is promised, until the whole is proven.
struct Proof<'a, F> {
    db: &'a F,
    restore: &'a Restore<'a>,
    before: State,
    sum: DbSum,
    old: Vec<u8>,
}

impl<'a, F: File> Proof<'a, F> {
    fn new(db: &'a F, before: State, restore: &'a Restore<'a>) -> Result<Self, Error> {
        restore.applies_to(before.page_size, before.commit)?;
        let mut proof = Self {
            db,
            restore,
            before,
            sum: before.sum,
            old: vec![0; before.page_size.len()],
        };
        if before.is_whole {
            for pgno in restore.commit().saturating_add(1)..=before.commit {
                proof.remove(Pgno(pgno))?;
            }
        }
        Ok(proof)
    }

    fn replace(&mut self, pgno: Pgno, crc: PageCrc) -> Result<(), Error> {
        if self.before.is_whole && pgno.0 <= self.before.commit {
            self.remove(pgno)?;
        }
        self.sum = self.sum.plus(crc);
        Ok(())
    }

    fn remove(&mut self, pgno: Pgno) -> Result<(), Error> {
        if pgno != self.before.page_size.lock_page() {
            read_exact(self.db, self.before.page_size.offset_of(pgno), &mut self.old)?;
            self.sum = self.sum.minus(PageCrc::of(pgno, &self.old));
        }
        Ok(())
    }

    fn finish(self) -> Result<State, Error> {
        let promised = self.restore.position().sum;
        let sum = match self.before.is_whole {
            true => self.sum,
            false => promised.ok_or_else(|| {
                Error::Diverged(
                    "what is newer does not promise the sum of a database that is not here whole".into(),
                )
            })?,
        };
        let position = self.restore.prove(sum)?;
        Ok(State {
            page_size: self.before.page_size,
            commit: self.restore.commit(),
            txid: position.txid,
            sum,
            is_whole: self.before.is_whole,
            timestamp: self.restore.timestamp(),
        })
    }
}
