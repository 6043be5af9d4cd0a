//! The local copy of a database: four files, and the order in which they are written.
//!
//! * `db`: the database, byte for byte as the source has it;
//! * `present`: while not all of it is here, which pages are, see [`part`];
//! * `position`: the [`State`] that `db` holds, written last, so that a half-done restore is never taken for whole;
//! * `redo`: a refresh on its way, see [`redo`].
//!
//! At every moment, whatever of the last unflushed writes survives a crash, [`Database::open`] finds either a
//! proven state or none.

mod changes;
mod hydrate;
mod part;
mod progress;
mod redo;
mod refresh;
mod restore;
mod served;
mod state;

pub use changes::Changes;
pub use part::Reach;
pub use progress::{Phase, Progress};
pub use state::State;

use std::cell::{Cell, RefCell};
use std::task::Waker;

use super::Error;
use super::file::{self, File};
use crate::replica::PageSet;
use part::Part;
use redo::Redo;

/// The files of one database.
#[derive(Debug)]
pub struct Files<F> {
    /// The database itself.
    pub db: F,
    /// Which state it holds.
    pub position: F,
    /// What is being applied to it.
    pub redo: F,
    /// Which pages are here, if not all.
    pub present: F,
}

/// The local copy of one database.
#[derive(Debug)]
pub struct Database<F> {
    files: Files<F>,
    state: Cell<Option<State>>,
    /// What is here of it, while that is not all.
    part: RefCell<Option<Part>>,
    /// Why a page could not be read, more exactly than SQLite can tell.
    failure: RefCell<Option<Error>>,
    /// A complete redo log that waits to be applied.
    ready: Cell<Option<Redo>>,
    /// What its records change, and what has been changed since anybody asked.
    fetched: RefCell<Changes>,
    changes: RefCell<Changes>,
    /// Pages that are read, while they are written down.
    recorded: RefCell<Option<PageSet>>,
    /// Statements that are reading, and who waits for them to end.
    readers: Cell<u32>,
    waiting: RefCell<Vec<Waker>>,
}

impl<F: File> Database<F> {
    /// Opens the files, new or used; finishes an apply that was interrupted.
    pub fn open(files: Files<F>) -> file::Result<Self> {
        let state = settle(&files)?;
        let part = state.filter(|state| !state.is_whole);
        let part = part.map(|state| Part::read(&files.present, state)).transpose()?;
        Ok(Self {
            files,
            state: Cell::new(state),
            part: RefCell::new(part),
            failure: RefCell::default(),
            ready: Cell::new(None),
            fetched: RefCell::default(),
            changes: RefCell::default(),
            recorded: RefCell::default(),
            readers: Cell::new(0),
            waiting: RefCell::new(Vec::new()),
        })
    }

    /// The state it holds; `None` until a restore is complete.
    pub fn state(&self) -> Option<State> {
        self.state.get()
    }

    /// A part of the database as the source has it; shorter at the end of the file.
    pub fn source_bytes(&self, offset: u64, buffer: &mut [u8]) -> file::Result<usize> {
        self.files.db.read(offset, buffer)
    }

    /// Writes down that the database file holds `state`.
    fn set_position(&self, state: State) -> file::Result<()> {
        write_position(&self.files.position, state)?;
        self.state.set(Some(state));
        Ok(())
    }
}

/// The proven state that the files hold, after finishing what was interrupted.
fn settle<F: File>(files: &Files<F>) -> file::Result<Option<State>> {
    let mut record = [0; State::LEN];
    let len = files.position.read(0, &mut record)?;
    let position = record.get(..len).and_then(State::decode);
    let state = match Redo::read(&files.redo)? {
        // The position was written, the log not yet dropped.
        Some(redo) if position == Some(redo.after) => position,
        // The apply had begun, perhaps. A position that cannot be read was being written when it ended: a restore
        // drops the log before it touches the database.
        Some(redo) if position.is_none_or(|state| state == redo.before) => {
            let mut pages = PageSet::default();
            let applied = redo.apply(&files.redo, &files.db, |pgno| {
                pages.insert(pgno);
            })?;
            if applied && !redo.before.is_whole {
                let mut part = Part::read(&files.present, redo.before)?;
                part.add(&pages, redo.after);
                part.write(&files.present)?;
            }
            if applied {
                write_position(&files.position, redo.after)?;
            }
            applied.then_some(redo.after)
        }
        Some(_) => None,
        None => position,
    };
    if files.redo.size()? > 0 {
        files.redo.truncate(0)?;
        files.redo.flush()?;
    }
    let size = files.db.size()?;
    Ok(state.filter(|state| size == state.file_size()))
}

fn write_position(file: &impl File, state: State) -> file::Result<()> {
    file.write(0, &state.encode())?;
    file.flush()
}

#[cfg(test)]
mod tests;
