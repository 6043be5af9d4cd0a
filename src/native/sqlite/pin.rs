//! The pin: a read transaction that keeps the WAL from losing frames that nobody else holds yet.
//!
//! SQLite gives a reader a mark. It cannot be asked which one, so what follows relies only on what can be proven
//! from the wal-index, read before and after the transaction began.
//!
//! * A mark *in a frame m* keeps checkpoints from copying back anything beyond m, and the WAL from being restarted.
//!   All frames of the generation, older and newer, stay.
//! * A mark *on the file* (mark 0) is given when all frames are copied back, and keeps everything else from being
//!   copied back. The next writer may restart the WAL, so the frames up to the mark may be lost; those written after
//!   it stay, in this generation or the next, because a WAL is restarted only when it is copied back completely.
//!
//! So what a pin may lose is at most the frames up to the newest at the time it was taken, of the generation it was
//! taken in: what it *owes*. The pin moves by beginning a transaction on the idle connection and then ending the old
//! one, so one of the two guards the WAL at any time. The new one may stand if
//!
//! 1. **all that the old pin owes is held.** If the old mark is in a frame m, nothing beyond m is copied back while
//!    it stands; so if the new mark is on the file, the newest frame is at most m, and is held. If the old mark is on
//!    the file, then either nothing has been written since, and the same frames are at stake, or something has, and
//!    is not copied back, so the new mark is in a frame. Or
//! 2. **the WAL was restarted** since the old pin was taken: then that one is on the file, and what it owed is held
//!    already, or was given up when it was taken. Or
//! 3. **the new mark is in a frame for certain**: in one generation the number of frames copied back and the newest
//!    frame only grow. If fewer were copied back *after* the transaction began than were committed *before* it, then
//!    fewer were copied back than were committed when it began, and SQLite gives the file only if all were. (A rebuild
//!    of the wal-index after a crash sets the copied back to 0; it also sets the change counter back, which is seen.)
//!
//! A pin that is to be on the file must be there for certain too: in a frame it would keep the application's RESTART or
//! TRUNCATE waiting, with the write lock in its hands. A reader gets a frame although everything is copied back while the
//! checkpoint that did it still has mark 0 for itself. So the lock of mark 0 is shared before the transaction begins:
//! then nobody copies back, and with the wal-index the same before and after, SQLite has given the file.

use super::shared_memory::{WalIndex, give_back_mark_0, share_mark_0};
use super::source::Source;
use super::{Committed, Error, Held, Pinned};
use crate::wal::Salts;

/// What is known about the pin.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pin {
    /// The generation it was taken in, or a later one.
    salts: Salts,
    /// The newest frame when it was taken, or a later one.
    newest: u32,
    /// The newest frame for certain covered: what was committed before it was taken.
    covered: (Salts, u32),
    /// Its mark is in a frame for certain.
    in_frame: bool,
    /// The last frame that must be held before the pin may fall to the file.
    owed: u32,
    /// Its mark is on the file for certain.
    on_file: bool,
}

impl Pin {
    /// A pin taken between two looks at the wal-index.
    pub(super) fn taken(before: &WalIndex, after: &WalIndex) -> Self {
        let newest = after.header.mx_frame;
        let in_frame = in_a_frame(before, after);
        Self {
            salts: after.header.salts,
            newest,
            covered: (before.header.salts, before.header.mx_frame),
            in_frame,
            owed: newest,
            on_file: false,
        }
    }

    /// The same, when whoever holds the frames has taken over all of them.
    pub(super) fn owing_nothing(before: &WalIndex, after: &WalIndex, on_file: bool) -> Self {
        Self {
            owed: 0,
            on_file,
            ..Self::taken(before, after)
        }
    }

    /// Whether what the wal-index says can come after what it said when the pin was taken. If not, the pin was lost
    /// (somebody closed a descriptor of the database in this process), or the WAL was.
    pub(super) fn stands(&self, now: &WalIndex) -> bool {
        if now.header.salts == self.salts {
            now.header.mx_frame >= self.newest
        } else {
            !self.in_frame
        }
    }

    fn may_fall(&self, held: Held, now: &WalIndex) -> bool {
        let restarted = now.header.salts != self.salts;
        restarted || self.owed == 0 || (held.salts == self.salts && held.frame >= self.owed)
    }
}

impl Source {
    /// Moves the pin to the newest commit without a gap. `held`: what is safe elsewhere. With everything held that
    /// the pin guards it may fall to the database file, and the WAL be restarted; otherwise it only moves to a newer
    /// frame, if there is one.
    pub fn advance(&mut self, held: Held) -> Result<Pinned, Error> {
        self.advance_after(held, |_, _| Ok(()))
    }

    /// The same; `first` is called before the old pin is let go, with a commit that is not older than the new pin's.
    /// From then on, checkpoints may copy every frame up to it over the pages of the database file, and cut the file
    /// off at its end: whoever still wants older versions must save them in `first`.
    ///
    /// Not to be called more often than every 100 ms while a RESTART or TRUNCATE may be waiting. It waits for the *slot*
    /// of an older mark, looks at most so often whether it is free, and would miss that it was for a moment: SQLite has
    /// four slots, and gives the first that is free.
    pub fn advance_after<E: From<Error>>(
        &mut self,
        held: Held,
        first: impl FnOnce(&mut Self, &Committed) -> Result<(), E>,
    ) -> Result<Pinned, E> {
        self.move_pin(held, true, first)
    }

    /// The same, but only onto the database file. To be called at any time.
    pub fn fall_after<E: From<Error>>(
        &mut self,
        held: Held,
        first: impl FnOnce(&mut Self, &Committed) -> Result<(), E>,
    ) -> Result<Pinned, E> {
        self.move_pin(held, false, first)
    }

    /// Whether the pin is on the database file for certain: nothing is copied back then.
    pub fn is_pinned_to_file(&self) -> bool {
        self.pin.on_file
    }

    /// Whether the pin covers all that is committed.
    pub fn covers(&self, committed: &Committed) -> bool {
        self.pin.covered == (committed.salts, committed.mx_frame)
    }

    fn move_pin<E: From<Error>>(
        &mut self,
        held: Held,
        into_frame: bool,
        first: impl FnOnce(&mut Self, &Committed) -> Result<(), E>,
    ) -> Result<Pinned, E> {
        let before = self.index()?;
        let may_fall = self.pin.may_fall(held, &before);
        let newer = (before.header.salts, before.header.mx_frame) != self.pin.covered;
        let falls = before.is_copied_back() && may_fall;
        match (newer && into_frame, falls) {
            (false, false) => return Ok(Pinned::Stayed),
            (_, true) if self.pin.on_file && !newer => return Ok(Pinned::File),
            _ => {}
        }
        let on_file = falls && self.begin_on_file(&before)?;
        if !on_file {
            if !(newer && into_frame) {
                return Ok(Pinned::Barred);
            }
            self.idle.begin_read()?;
        }
        let after = match self.index() {
            Ok(after) => after,
            Err(error) => {
                self.idle.end()?;
                return Err(error.into());
            }
        };
        if !may_fall && !in_a_frame(&before, &after) {
            self.idle.end()?;
            return Ok(Pinned::Stayed);
        }
        let saved = match self.committed_in(&after) {
            Ok(committed) => first(self, &committed),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = saved {
            self.idle.end()?;
            return Err(error);
        }
        std::mem::swap(&mut self.pinned, &mut self.idle);
        self.pin = Pin {
            on_file,
            ..Pin::taken(&before, &after)
        };
        self.idle.end()?;
        Ok(match (on_file, falls) {
            (true, _) => Pinned::File,
            (false, true) => Pinned::Barred,
            (false, false) => Pinned::Frame,
        })
    }

    /// Whether somebody copies frames back just now.
    pub fn is_being_copied_back(&self) -> Result<bool, Error> {
        if self.pin.on_file || !self.idle.is_idle() {
            return Ok(false);
        }
        let is_free = share_mark_0(&self.idle)?;
        if is_free {
            give_back_mark_0(&self.idle)?;
        }
        Ok(!is_free)
    }

    /// Begins a read on the idle connection that is on the file for certain, if it can be had: everything was copied
    /// back at `before`. Otherwise there is none.
    fn begin_on_file(&mut self, before: &WalIndex) -> Result<bool, Error> {
        if !share_mark_0(&self.idle)? {
            return Ok(false);
        }
        // The lock is the read's own from now on, if SQLite gives the file.
        let begun = self.idle.begin_read();
        if begun.is_ok() && self.index().is_ok_and(|after| after == *before) {
            return Ok(true);
        }
        self.idle.end()?;
        give_back_mark_0(&self.idle)?;
        begun.map(|()| false)
    }
}

/// Whether a read that began between `before` and `after` has its mark in a frame for certain.
fn in_a_frame(before: &WalIndex, after: &WalIndex) -> bool {
    before.header.salts == after.header.salts
        && before.header.change <= after.header.change
        && after.backfilled < before.header.mx_frame
}
