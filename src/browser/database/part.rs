//! A copy of which not all pages are here yet: who reads one that is missing has it brought, with its neighbours.
//!
//! The file `present` has a bit for each page. It is written when what it tells of is durable in `db`, and a bit is never
//! taken back, so whatever of it survives a crash is true. What is here is of the state that the position names: an apply
//! writes the pages that differ, and they are present then; so a page that is missing is still the one that the page map
//! tells of, whichever state between then and now that was asked for.

use std::ops::RangeInclusive;
use std::rc::Rc;

use super::{Database, State};
use crate::browser::Error;
use crate::browser::distant::{Far, Gaps, Mapped, ReadAhead};
use crate::browser::file::{self, File, WriteBuffer};
use crate::ltx::{DbSum, PageSize, Pgno, Txid};
use crate::replica::PageSet;
use crate::{restore, store};

/// How to come to a state that is somewhere else: that of a transaction, or the newest.
pub type Reach = Box<dyn Fn(Option<Txid>) -> Rc<dyn Far>>;

/// What is here, and how to come to the rest.
pub(super) struct Part {
    pub(super) present: PageSet,
    /// Something is here that the file does not tell of.
    pub(super) unsaved: bool,
    /// What is being brought behind at this moment.
    pub(super) coming: PageSet,
    /// Somebody waits for that: nothing more is to be brought behind until they have had their turn.
    pub(super) is_awaited: bool,
    /// What this life has brought: pages, and the bytes that they came in.
    pub(super) pages: u32,
    pub(super) bytes: u64,
    /// Whether each page that is here was held against a check of its own. Not known of those of an earlier life.
    is_verified: bool,
    reach: Option<Reach>,
    mapped: Option<Mapped<Rc<dyn Far>>>,
    ahead: ReadAhead,
}

impl Part {
    /// Nothing is here.
    fn empty() -> Self {
        Self {
            present: PageSet::default(),
            unsaved: false,
            coming: PageSet::default(),
            is_awaited: false,
            pages: 0,
            bytes: 0,
            is_verified: true,
            reach: None,
            mapped: None,
            ahead: ReadAhead::default(),
        }
    }

    /// What an earlier life left.
    pub(super) fn read(file: &impl File, state: State) -> file::Result<Self> {
        let mut bytes = vec![0; usize::try_from(file.size()?).unwrap_or_default()];
        let len = file.read(0, &mut bytes)?;
        let bytes = bytes.get(..len).unwrap_or_default();
        Ok(Self {
            present: PageSet::from_bytes(bytes, state.page_size, state.commit),
            is_verified: false,
            ..Self::empty()
        })
    }

    /// What is told must be durable.
    pub(super) fn write(&mut self, file: &impl File) -> file::Result<()> {
        file.write(0, &self.present.to_bytes())?;
        self.unsaved = false;
        file.flush()
    }

    /// These were applied, and led to this state.
    pub(super) fn add(&mut self, pages: &PageSet, after: State) {
        self.present.cut(after.commit);
        self.present
            .extend((1..=after.commit).map(Pgno).filter(|pgno| pages.contains(*pgno)));
    }

    /// The map of the state at hand, or of one before it.
    pub(super) fn mapped(&mut self, state: State) -> Result<&mut Mapped<Rc<dyn Far>>, Error> {
        match &mut self.mapped {
            Some(mapped) => Ok(mapped),
            none => {
                let reach = self.reach.as_ref().ok_or_else(|| {
                    store::Error::Unavailable(
                        "not all of the database is here yet, and without the Worker the rest cannot be had"
                            .into(),
                    )
                })?;
                Ok(none.insert(Mapped::open(reach(Some(state.txid)))?))
            }
        }
    }

    pub(super) fn note_brought(&mut self, pages: u32, bytes: u64) {
        self.pages = self.pages.saturating_add(pages);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Asks anew where pages lie: what the map names was merged and deleted.
    pub(super) fn map_again(&mut self) {
        // What it brought stays what it was.
        self.is_verified &= self.mapped.take().is_none_or(|mapped| mapped.is_verified());
    }

    /// The missing pages with which this one is brought.
    fn neighbours(&mut self, pgno: Pgno, state: State) -> Vec<Pgno> {
        let pages = ReadAhead::pages(state.page_size);
        let block = pgno.0.saturating_sub(1).checked_div(pages).unwrap_or_default();
        let end = block.saturating_add(self.ahead.blocks(block));
        let first = block.saturating_mul(pages).saturating_add(1);
        let last = end.saturating_mul(pages).min(state.commit);
        let missing = self.missing(Pgno(first)..=Pgno(last), state.page_size);
        missing.filter(|pgno| !self.coming.contains(*pgno)).collect()
    }

    /// The pages of these that are missing.
    pub(super) fn missing(
        &self,
        pages: RangeInclusive<Pgno>,
        page_size: PageSize,
    ) -> impl Iterator<Item = Pgno> + '_ {
        let pages = (pages.start().0..=pages.end().0).map(Pgno);
        pages.filter(move |&pgno| pgno != page_size.lock_page() && !self.present.contains(pgno))
    }

    fn bring<F: File>(&mut self, db: &F, pgno: Pgno, state: State) -> Result<(), Error> {
        if self.coming.contains(pgno) {
            return Err(Error::OnItsWay);
        }
        let pages = self.neighbours(pgno, state);
        for is_again in [false, true] {
            let mut out = WriteBuffer::new(db);
            let mut brought = PageSet::default();
            let result = self
                .mapped(state)?
                .bring(pages.iter().copied(), Gaps::Brought, |pgno, page| {
                    brought.insert(pgno);
                    Ok(out.write(state.page_size.offset_of(pgno), page)?)
                });
            out.pass_on()?;
            self.present
                .extend(pages.iter().copied().filter(|pgno| brought.contains(*pgno)));
            self.unsaved = true;
            match result {
                Err(error) if !is_again && is_gone(&error) => self.map_again(),
                result => {
                    self.note_brought(brought.len(), result?);
                    return Ok(());
                }
            }
            if self.present.contains(pgno) {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl<F: File> Database<F> {
    /// Begins a copy of the state that is mapped, of which nothing is here yet. Where nothing tells the sum that will prove the
    /// whole, it ends with this life: no position is written, and it is [completed](Database::complete) instead of hydrated.
    pub fn begin(&self, mapped: Mapped<Rc<dyn Far>>, reach: Reach) -> Result<(), Error> {
        let position = mapped.position();
        let state = State {
            page_size: mapped.page_size(),
            commit: mapped.commit(),
            txid: position.txid,
            sum: position.sum.unwrap_or(DbSum::EMPTY),
            timestamp: mapped.timestamp(),
            is_whole: false,
        };
        self.forget()?;
        // So that it is known at once whether there is room.
        self.files.db.truncate(state.file_size())?;
        self.files.db.flush()?;
        self.part.replace(Some(Part {
            reach: Some(reach),
            mapped: Some(mapped),
            ..Part::empty()
        }));
        match state.is_promised() {
            true => self.set_position(state)?,
            false => self.state.set(Some(state)),
        }
        self.note_another();
        // Every query begins there.
        Ok(self.bring_for(state, 0, 1)?)
    }

    /// From now on, what is missing can be had so.
    pub fn reach(&self, reach: Reach) {
        if let Some(part) = &mut *self.part.borrow_mut() {
            if let Some(mapped) = &mut part.mapped {
                mapped.go_by(reach(Some(mapped.position().txid)));
            }
            part.reach = Some(reach);
        }
    }

    /// What is on its way behind is to come, and nothing more, until whoever asks for this has had their turn.
    pub fn hold(&self) {
        if let Some(part) = &mut *self.part.borrow_mut() {
            part.is_awaited = true;
        }
    }

    /// Whether every page that is here was held against a check: its own, or that of the whole.
    pub fn is_verified(&self) -> bool {
        self.part
            .borrow()
            .as_ref()
            .is_none_or(|part| part.is_verified && part.mapped.as_ref().is_none_or(Mapped::is_verified))
    }

    /// Why the last read failed, more exactly than SQLite can tell.
    pub fn take_failure(&self) -> Option<Error> {
        self.failure.take()
    }

    /// Makes sure that what is read there is here.
    pub(super) fn bring_for(&self, state: State, offset: u64, len: usize) -> file::Result<()> {
        let mut part = self.part.borrow_mut();
        let Some(part) = part.as_mut().filter(|_| len > 0) else {
            return Ok(());
        };
        let size = state.page_size.len() as u64;
        let last = offset.saturating_add(len as u64).saturating_sub(1);
        let page = |at: u64| u32::try_from(at / size).unwrap_or(u32::MAX).saturating_add(1);
        for pgno in (page(offset)..=page(last).min(state.commit)).map(Pgno) {
            if pgno == state.page_size.lock_page() || part.present.contains(pgno) {
                continue;
            }
            part.bring(&self.files.db, pgno, state).map_err(|error| {
                let why = error.to_string();
                self.failure.replace(Some(error));
                file::Error::Failed {
                    what: "bringing a page that is not here yet".to_owned(),
                    why,
                }
            })?;
        }
        Ok(())
    }

    /// These pages were applied, and are durable.
    pub(super) fn note_present(&self, pages: &PageSet, after: State) -> file::Result<()> {
        match &mut *self.part.borrow_mut() {
            Some(part) => {
                part.add(pages, after);
                part.write(&self.files.present)
            }
            None => Ok(()),
        }
    }
}

/// What the map names is not there any more.
pub(super) fn is_gone(error: &Error) -> bool {
    matches!(
        error,
        Error::Restore(restore::Error::Store(store::Error::NotFound(_)))
    )
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part")
            .field("present", &self.present.len())
            .finish_non_exhaustive()
    }
}
