//! All that is missing of a copy, brought behind those who read it; and the proof of the whole.

use std::cell::Cell;
use std::collections::VecDeque;

use futures_util::{StreamExt, stream};

use super::part::is_gone;
use super::{Database, Phase, Progress, State};
use crate::browser::Error;
use crate::browser::distant::{Gaps, Read};
use crate::browser::file::{File, WriteBuffer};
use crate::ltx::{DbSum, PageCrc, PageSize, Pgno};
use crate::replica::PageSet;
use crate::store::Source;

/// Pages that are asked for together.
const GROUP: usize = 8 * 1024 * 1024;
/// Reads at once.
const PARALLEL: usize = 4;
/// So much is made durable at once.
const SAVED: u64 = 8 * 1024 * 1024;
/// What is proven without a pause.
const SLICE: usize = 4 * 1024 * 1024;
/// How often the map is asked for again.
const MAPS: u32 = 5;

impl<F: File> Database<F> {
    /// Brings what is missing, page by page, by reads of at most `longest` bytes. Others may read meanwhile, and newer states
    /// be applied. Says whether all is here: it ends before if it is to [hold](Database::hold).
    pub async fn hydrate(
        &self,
        source: &dyn Source,
        longest: u64,
        mut progress: impl FnMut(Progress),
    ) -> Result<bool, Error> {
        let mut maps = 0;
        while let Some(state) = self.state().filter(|state| !state.is_whole)
            && self.is_missing(state)
        {
            let brought = self.bring_all(source, longest, &mut progress).await;
            let is_awaited = self.nothing_comes();
            match brought {
                Err(error) if is_gone(&error) && maps < MAPS => {
                    maps += 1;
                    if let Some(part) = &mut *self.part.borrow_mut() {
                        part.map_again();
                    }
                }
                result => result?,
            }
            if is_awaited {
                self.save_part()?;
                return Ok(false);
            }
        }
        self.save_part()?;
        progress(self.hydrated());
        Ok(true)
    }

    /// Proves that all is here as it was promised, which is then a whole copy; between two slices, `pause` lets others have
    /// their turn. Nothing may be applied meanwhile. If it is not, there is no copy any more.
    pub async fn prove<P: Future<Output = ()>>(&self, pause: impl Fn() -> P) -> Result<(), Error> {
        let Some(state) = self.state().filter(|state| !state.is_whole) else {
            return Ok(());
        };
        let mut sum = DbSum::EMPTY;
        let size = state.page_size.len();
        let mut slice = vec![0; (SLICE / size).max(1).saturating_mul(size)];
        let (mut offset, mut pgno) = (0u64, 1u32);
        while pgno <= state.commit {
            let len = self.files.db.read(offset, &mut slice)?;
            for page in slice.get(..len).unwrap_or_default().chunks_exact(size) {
                if Pgno(pgno) != state.page_size.lock_page() {
                    sum = sum.plus(PageCrc::of(Pgno(pgno), page));
                }
                pgno = pgno.saturating_add(1);
            }
            if len < slice.len() {
                break;
            }
            offset = offset.saturating_add(len as u64);
            pause().await;
        }
        if sum != state.sum || pgno <= state.commit {
            self.forget()?;
            return Err(Error::LostWrites);
        }
        self.files.db.flush()?;
        self.set_position(State {
            is_whole: true,
            ..state
        })?;
        self.part.take();
        self.files.present.truncate(0)?;
        Ok(self.files.present.flush()?)
    }

    /// Nothing is on its way any more. Says whether somebody has waited for that.
    fn nothing_comes(&self) -> bool {
        self.part.borrow_mut().as_mut().is_some_and(|part| {
            part.coming = PageSet::default();
            std::mem::take(&mut part.is_awaited)
        })
    }

    async fn bring_all(
        &self,
        source: &dyn Source,
        longest: u64,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), Error> {
        let failed = Cell::new(None);
        let mut from = Pgno(1);
        let mut waiting: VecDeque<Read> = VecDeque::new();
        let next = std::iter::from_fn(|| {
            let next = self.next_read(longest, &mut waiting, &mut from);
            next.unwrap_or_else(|error| {
                failed.set(Some(error));
                None
            })
        });
        let mut reads = stream::iter(next)
            .map(async |read| {
                let bytes = source.read(read.object, read.range()).await;
                (read, bytes)
            })
            .buffer_unordered(PARALLEL);
        let mut unsaved = 0u64;
        while let Some((read, got)) = reads.next().await {
            let got = got?;
            self.take_in(&read, &got)?;
            unsaved = unsaved.saturating_add(got.len() as u64);
            if unsaved > SAVED {
                self.save_part()?;
                unsaved = 0;
            }
            progress(self.hydrated());
        }
        drop(reads);
        match failed.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// What is to be read next; nothing of it is here, at this moment, and it is on its way from now on.
    fn next_read(
        &self,
        longest: u64,
        waiting: &mut VecDeque<Read>,
        from: &mut Pgno,
    ) -> Result<Option<Read>, Error> {
        loop {
            let Some(read) = waiting.pop_front() else {
                match self.group(longest, from)? {
                    Some(reads) => waiting.extend(reads),
                    None => return Ok(None),
                }
                continue;
            };
            let mut part = self.part.borrow_mut();
            let (Some(part), Some(state)) = (part.as_mut(), self.state()) else {
                return Ok(None);
            };
            if part.is_awaited {
                return Ok(None);
            }
            // Somebody who reads may have had it brought since.
            let missing: Vec<Pgno> = read
                .pages()
                .filter(|pgno| !part.present.contains(*pgno))
                .collect();
            if missing.len() == read.pages().count() {
                part.coming.extend(missing);
                return Ok(Some(read));
            }
            for read in part
                .mapped(state)?
                .reads(missing.into_iter(), longest, Gaps::Left)?
                .into_iter()
                .rev()
            {
                waiting.push_front(read);
            }
        }
    }

    /// The reads for the next pages that are missing.
    fn group(&self, longest: u64, from: &mut Pgno) -> Result<Option<Vec<Read>>, Error> {
        let mut part = self.part.borrow_mut();
        let (Some(part), Some(state)) = (part.as_mut(), self.state()) else {
            return Ok(None);
        };
        while from.0 <= state.commit {
            let last = Pgno(
                from.0
                    .saturating_add(pages_of(GROUP, state.page_size))
                    .saturating_sub(1)
                    .min(state.commit),
            );
            let missing: Vec<Pgno> = part.missing(*from..=last, state.page_size).collect();
            *from = Pgno(last.0.saturating_add(1));
            if !missing.is_empty() {
                return Ok(Some(part.mapped(state)?.reads(
                    missing.into_iter(),
                    longest,
                    Gaps::Left,
                )?));
            }
        }
        Ok(None)
    }

    /// Writes down what has come, but for what is here already, or gone.
    fn take_in(&self, read: &Read, bytes: &[u8]) -> Result<(), Error> {
        let mut part = self.part.borrow_mut();
        let (Some(part), Some(state)) = (part.as_mut(), self.state()) else {
            return Ok(());
        };
        part.unsaved = true;
        for pgno in read.pages() {
            part.coming.remove(pgno);
        }
        let present = std::mem::take(&mut part.present);
        let mut brought = Vec::new();
        let mut out = WriteBuffer::new(&self.files.db);
        let taken = part.mapped(state).and_then(|mapped| {
            mapped.unpack(read, bytes, |pgno, page| {
                if pgno.0 <= state.commit && !present.contains(pgno) {
                    out.write(state.page_size.offset_of(pgno), page)?;
                    brought.push(pgno);
                }
                Ok(())
            })
        });
        let written = out.pass_on();
        part.present = present;
        if written.is_ok() {
            let pages = u32::try_from(brought.len()).unwrap_or(u32::MAX);
            part.note_brought(pages, bytes.len() as u64);
            part.present.extend(brought);
        }
        taken?;
        Ok(written?)
    }

    /// Makes what is here durable, and writes down that it is.
    fn save_part(&self) -> Result<(), Error> {
        let mut part = self.part.borrow_mut();
        let Some(part) = part.as_mut().filter(|part| part.unsaved) else {
            return Ok(());
        };
        self.files.db.flush()?;
        Ok(part.write(&self.files.present)?)
    }

    fn is_missing(&self, state: State) -> bool {
        let part = self.part.borrow();
        part.as_ref()
            .is_some_and(|part| part.present.len() < state.page_size.stored_pages(state.commit))
    }

    /// How far it has come; what the rest will take is what this life's pages took.
    fn hydrated(&self) -> Progress {
        let part = self.part.borrow();
        let (present, pages, bytes) = part
            .as_ref()
            .map_or((0, 0, 0), |part| (part.present.len(), part.pages, part.bytes));
        let total = self
            .state()
            .map_or(0, |state| state.page_size.stored_pages(state.commit));
        let rest = u64::from(total.saturating_sub(present)).saturating_mul(bytes);
        Progress {
            phase: Phase::Hydrate,
            pages: present.into(),
            total_pages: total.into(),
            bytes,
            total_bytes: bytes.saturating_add(rest.checked_div(pages.max(1).into()).unwrap_or_default()),
        }
    }
}

fn pages_of(bytes: usize, page_size: PageSize) -> u32 {
    u32::try_from(bytes / page_size.len()).unwrap_or(1).max(1)
}
