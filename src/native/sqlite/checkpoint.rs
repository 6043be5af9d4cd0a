//! Copying frames back into the database file, so that the WAL does not grow for ever.

use std::time::{Duration, Instant};

use super::connection::Passive;
use super::pin::Pin;
use super::shared_memory::share_mark_0;
use super::{Checkpointed, Committed, Error, Held, Pinned, Source};

/// How long to try again, under the lock, to copy what other readers have kept from being copied.
const RETRY: Duration = Duration::from_millis(2);
const RETRY_PAUSE: Duration = Duration::from_micros(50);

/// How long others may be in the way of a checkpoint under the write lock.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until the write lock is to be had.
    pub for_lock: Duration,
    /// Until a checkpoint of the application, which had begun before, is done. It is the writer itself that waits there,
    /// mostly.
    pub for_checkpoint: Duration,
}

impl From<Duration> for Patience {
    /// A little for a checkpoint that is almost done.
    fn from(for_lock: Duration) -> Self {
        Self {
            for_lock,
            for_checkpoint: Duration::from_millis(10),
        }
    }
}

impl Source {
    /// Copies frames back without the write lock, up to the pin; writers run on. Then moves the pin onto the database file
    /// if all is copied back and held, as [`fall_after`](Self::fall_after) does, so that the next writer restarts the WAL.
    pub fn checkpoint_passive<E: From<Error>>(
        &mut self,
        held: Held,
        first: impl FnOnce(&mut Self, &Committed) -> Result<(), E>,
    ) -> Result<Checkpointed, E> {
        let passive = self.idle.passive()?;
        let pinned = self.fall_after(held, first)?;
        Ok(checkpointed(passive, pinned, Duration::ZERO))
    }

    /// Copies all frames back under the write lock, so that the next writer restarts the WAL even if the database is
    /// never idle. To be used only above a limit, and after [`checkpoint_passive`](Self::checkpoint_passive) has done
    /// most of the work: writers wait meanwhile.
    ///
    /// `take_rest` is called under the lock with the state that is then committed. What it has not taken over when it
    /// returns, the WAL may lose; so it takes note of the last few frames, and no more. If it fails, the lock is
    /// given back and nothing has changed. If the lock is not to be had in time, that is [`Error::Busy`];
    /// any other error of the database means that the pin may be lost.
    pub fn checkpoint_locked<E: From<Error>>(
        &mut self,
        patience: impl Into<Patience>,
        take_rest: impl FnOnce(&mut Self, &Committed) -> Result<(), E>,
    ) -> Result<Checkpointed, E> {
        // So that nobody has to wait for the disk under the lock.
        self.database.sync()?;
        let patience = patience.into();
        self.idle.begin_immediate(patience.for_lock)?;
        let start = Instant::now();
        let outcome = self.copy_back(patience.for_checkpoint, take_rest);
        let ended = self.idle.end();
        let locked = start.elapsed();
        let (passive, pinned) = outcome?;
        ended?;
        Ok(checkpointed(passive, pinned, locked))
    }

    /// With the write lock in the hands of the idle connection: no frame is added, and none is lost while the pin is
    /// let go and taken again.
    fn copy_back<E: From<Error>>(
        &mut self,
        patience: Duration,
        take_rest: impl FnOnce(&mut Self, &Committed) -> Result<(), E>,
    ) -> Result<(Passive, Pinned), E> {
        let committed = self.committed()?;
        take_rest(self, &committed)?;
        self.pinned.end()?;
        let passive = self.passive_patiently(patience);
        // Not to be taken for something that can be tried again: there is no pin now.
        let pinned = self.pin_anew().map_err(|_| self.moved())?;
        Ok((passive?, pinned))
    }

    fn pin_anew(&mut self) -> Result<Pinned, Error> {
        let before = self.index()?;
        // Nothing changes that under the write lock.
        let on_file = before.is_copied_back() && share_mark_0(&self.pinned)?;
        self.pinned.begin_read()?;
        let after = self.index()?;
        self.pin = Pin::owing_nothing(&before, &after, on_file);
        Ok(match on_file {
            true => Pinned::File,
            false if after.is_copied_back() => Pinned::Barred,
            false => Pinned::Frame,
        })
    }

    /// Other readers come and go: a writer that has just read and now waits for the lock is one. So a checkpoint that
    /// did not copy everything is worth another try, though not a long wait.
    fn passive_patiently(&self, busy: Duration) -> Result<Passive, Error> {
        let start = Instant::now();
        loop {
            let passive = self.pinned.passive()?;
            let complete = !passive.busy && passive.backfilled == passive.frames;
            let retry = if passive.busy { busy } else { RETRY };
            if complete || start.elapsed() > retry {
                return Ok(passive);
            }
            std::thread::sleep(RETRY_PAUSE);
        }
    }
}

fn checkpointed(passive: Passive, pinned: Pinned, locked: Duration) -> Checkpointed {
    Checkpointed {
        busy: passive.busy,
        frames: passive.frames,
        backfilled: passive.backfilled,
        pinned,
        locked,
    }
}
