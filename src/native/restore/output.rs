//! The file that is being made, and what is in it.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::Semaphore;

use super::follow::State;
use super::integrity;
use super::placing::{Failure, Memory, Placed, place};
use super::{Error, Options, Summary, blocking};
use crate::ltx::{DbSum, PageSize};
use crate::native::new_file::NewFile;
use crate::replica::{PageSet, Position};
use crate::restore::{Chunk, Restore};

/// Decoding threads: more than these would wait for the disk.
const MAX_THREADS: usize = 8;

/// A database file that is being filled with the pages of one state.
pub(super) struct Output {
    file: NewFile,
    /// The same file for the threads: one that is under way when all is given up must not keep the file's name.
    shared: Arc<File>,
    state: Position,
    page_size: PageSize,
    commit: u32,
    have: PageSet,
    /// Of what it has.
    sum: DbSum,
    /// What was never written reads as zeros.
    is_fresh: bool,
    /// One permit a thread that writes.
    threads: Arc<Semaphore>,
    /// Memory of decodings that are done.
    spare: RefCell<Vec<Memory>>,
}

impl Output {
    pub(super) fn start(options: &Options, restore: &Restore<'_>) -> Result<Self, Error> {
        let file = options.start(restore.page_size().file_size(restore.commit()))?;
        let shared = file.file().try_clone().map_err(|error| options.failure(error))?;
        Ok(Self {
            file,
            shared: Arc::new(shared),
            state: restore.position(),
            page_size: restore.page_size(),
            commit: restore.commit(),
            have: PageSet::default(),
            sum: DbSum::EMPTY,
            is_fresh: true,
            threads: Arc::new(Semaphore::new(threads())),
            spare: RefCell::default(),
        })
    }

    /// Goes on with another restore: what is there stays if it is of the very same state, and will be proven with the
    /// rest. Nobody writes any more when this is called.
    pub(super) fn go_on(&mut self, restore: &Restore<'_>) -> io::Result<()> {
        let state = restore.position();
        let same = (self.page_size, self.commit) == (restore.page_size(), restore.commit());
        // Of chunks that were broken off something may be there.
        self.is_fresh = false;
        if same && state == self.state && state.sum.is_some() {
            return Ok(());
        }
        self.state = state;
        (self.page_size, self.commit) = (restore.page_size(), restore.commit());
        self.distrust();
        self.file.file().set_len(0)?;
        self.file.file().set_len(self.page_size.file_size(self.commit))?;
        self.is_fresh = true;
        Ok(())
    }

    /// Takes everything that is there for unproven.
    pub(super) fn distrust(&mut self) {
        self.have = PageSet::default();
        self.sum = DbSum::EMPTY;
    }

    pub(super) fn have(&self) -> PageSet {
        self.have.clone()
    }

    pub(super) fn sum(&self) -> DbSum {
        self.sum
    }

    /// Decodes all chunks of a restore into their places, as many at once as there are cores.
    pub(super) async fn fill(
        &mut self,
        restore: &Restore<'_>,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<(), Failure> {
        let filled = self.decode(restore, progress).await;
        // What was begun writes on, whatever has failed beside it.
        let _all = self
            .threads
            .acquire_many(u32::try_from(threads()).unwrap_or(1))
            .await;
        filled
    }

    async fn decode(
        &mut self,
        restore: &Restore<'_>,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<(), Failure> {
        let (mut have, mut sum) = (std::mem::take(&mut self.have), self.sum);
        let result = {
            let mut placed = restore
                .chunks()
                .map(async |chunk| {
                    let chunk = chunk?;
                    let fetched = chunk.fetched();
                    Ok((self.place(chunk).await?, fetched))
                })
                .buffer_unordered(threads());
            let mut fetched = 0u64;
            loop {
                match placed.try_next().await {
                    Ok(Some((part, len))) => {
                        sum = sum.join(part.sum);
                        have.extend(part.pages);
                        fetched = fetched.saturating_add(len);
                        progress(fetched, restore.bytes());
                    }
                    Ok(None) => break Ok(()),
                    Err(failure) => break Err(failure),
                }
            }
        };
        (self.have, self.sum) = (have, sum);
        result
    }

    async fn place(&self, chunk: Chunk) -> Result<Placed, Failure> {
        let broken = |error: String| Failure::Output(io::Error::other(error));
        let permit = Arc::clone(&self.threads).acquire_owned().await;
        let permit = permit.map_err(|error| broken(error.to_string()))?;
        let mut memory = self.spare.borrow_mut().pop().unwrap_or_default();
        let (file, page_size, is_fresh) = (Arc::clone(&self.shared), self.page_size, self.is_fresh);
        let work = move || {
            let placed = place(&chunk, &file, page_size, is_fresh, &mut memory);
            drop(permit);
            (placed, memory)
        };
        let (placed, memory) = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| broken(error.to_string()))?;
        self.spare.borrow_mut().push(memory);
        placed
    }

    /// Has SQLite look at it, if that is wanted, and gives it its name.
    pub(super) async fn publish(self, options: &Options, summary: &Summary) -> Result<(), Error> {
        let (temporary, integrity) = (self.file.temporary_path().to_owned(), options.integrity);
        blocking(move || integrity::check(&temporary, integrity)).await?;
        if options.followed {
            let position = (summary.txid, summary.sum, summary.timestamp);
            State::begin(
                self.file.file(),
                &options.output,
                position,
                self.page_size,
                self.commit,
            )?;
        }
        options.publish(self.file).await
    }
}

fn threads() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MAX_THREADS)
}
