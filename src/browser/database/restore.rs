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
        let (page_size, commit) = (restore.page_size(), restore.commit());
        let db = &self.files.db;
        db.truncate(page_size.file_size(commit))?;
        let mut done = Progress::start(Phase::Restore, restore);
        progress(done);

        let mut out = WriteBuffer::new(db);
        let mut scratch = Scratch::default();
        let mut sum = DbSum::EMPTY;
        let mut chunks = restore.chunks();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            let mut pages = 0;
            let part = chunk.decode(&mut scratch, |pgno, _, page| {
                pages += 1;
                out.write(page_size.offset_of(pgno), page).map_err(Error::from)
            })?;
            sum = sum.join(part);
            done.advance(pages, chunk.fetched());
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
        self.set_position(state)?;
        self.note_another();
        Ok(state)
    }

    /// Drops the database. The position goes first, and the redo log before the database: a log with a position
    /// that cannot be read would be applied.
    pub(super) fn forget(&self) -> Result<(), Error> {
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
