//! The first copy: pages straight into the database file, the position last.

use futures_util::StreamExt;

use super::{Database, Files, Phase, Progress, State};
use crate::browser::Error;
use crate::browser::file::{File, WriteBuffer};
use crate::ltx::DbSum;
use crate::restore::{Restore, Scratch};

impl<F: File> Database<F> {
    /// Replaces whatever there is. Until it has returned, and after an error, there is no database.
    ///
    /// Nobody may be reading.
    pub async fn restore(
        &self,
        restore: &Restore<'_>,
        mut progress: impl FnMut(Progress),
    ) -> Result<State, Error> {
        self.forget()?;
        let size = restore.page_size().file_size(restore.commit());
        self.files.db.truncate(size)?;
        let state = self.fill(restore, Phase::Restore, &mut progress).await?;
        self.note_another();
        Ok(state)
    }

    /// Brings all of a copy that was begun without a promise of its sum, and proves it by what it is read from. Others may read
    /// meanwhile; nothing may be applied.
    pub async fn complete(
        &self,
        restore: &Restore<'_>,
        mut progress: impl FnMut(Progress),
    ) -> Result<(), Error> {
        if self.state().map(|state| state.position()) != Some(restore.position()) {
            return Err(Error::PositionMoved);
        }
        match self.fill(restore, Phase::Hydrate, &mut progress).await {
            // What was read of it may have been the same.
            Err(error @ Error::Restore(crate::restore::Error::Damaged { .. })) => {
                self.forget()?;
                Err(error)
            }
            filled => filled.map(|_| ()),
        }
    }

    /// Writes all pages, and the position when they are proven.
    async fn fill(
        &self,
        restore: &Restore<'_>,
        phase: Phase,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<State, Error> {
        let (page_size, commit) = (restore.page_size(), restore.commit());
        let mut done = Progress::start(phase, restore);
        progress(done);

        let mut out = WriteBuffer::new(&self.files.db);
        let mut scratch = Scratch::default();
        let mut sum = DbSum::EMPTY;
        let mut chunks = restore.chunks();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            let mut written = Vec::new();
            let part = chunk.decode(&mut scratch, |pgno, _, page| {
                written.push(pgno);
                out.write(page_size.offset_of(pgno), page).map_err(Error::from)
            })?;
            sum = sum.join(part);
            done.advance(written.len() as u64, chunk.fetched());
            if let Some(part) = &mut *self.part.borrow_mut() {
                // Whoever reads a page of a part must find it in the file.
                out.pass_on()?;
                part.present.extend(written);
            }
            progress(done);
        }
        let position = restore.prove(sum)?;
        out.flush()?;
        let state = State {
            page_size,
            commit,
            txid: position.txid,
            sum,
            timestamp: restore.timestamp(),
            is_whole: true,
        };
        self.part.take();
        self.set_position(state)?;
        Ok(state)
    }

    /// Drops the database. The position goes first, and the redo log before the database: a log with a position
    /// that cannot be read would be applied.
    pub fn forget(&self) -> Result<(), Error> {
        self.state.set(None);
        self.ready.set(None);
        self.part.take();
        let Files {
            position,
            redo,
            present,
            db,
        } = &self.files;
        for file in [position, redo, present, db] {
            file.truncate(0)?;
            file.flush()?;
        }
        Ok(())
    }
}
