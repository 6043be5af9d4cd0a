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

use super::shared_memory::WalIndex;
use super::source::Source;
use super::{Committed, Error, Held, Pinned};
use crate::wal::Salts;

/// How often the pin is taken anew although it seems to be on the file already. A checkpoint that has just ended may
/// still lock mark 0 for a moment, and the reader then gets a frame; the application's RESTART would wait for it.
const SETTLE: u8 = 3;

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
    /// How often it was taken with everything copied back.
    settled: u8,
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
            settled: 0,
        }
    }

    /// The same, when whoever holds the frames has taken over all of them.
    pub(super) fn owing_nothing(before: &WalIndex, after: &WalIndex) -> Self {
        Self {
            owed: 0,
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
    pub fn advance_after<E: From<Error>>(
        &mut self,
        held: Held,
        first: impl FnOnce(&mut Self, &Committed) -> Result<(), E>,
    ) -> Result<Pinned, E> {
        let before = self.index()?;
        let may_fall = self.pin.may_fall(held, &before);
        let newer = (before.header.salts, before.header.mx_frame) != self.pin.covered;
        let empty = before.backfilled == before.header.mx_frame;
        let falls = empty && may_fall;
        match (newer, falls) {
            (false, false) => return Ok(Pinned::Stayed),
            (false, true) if self.pin.settled >= SETTLE => return Ok(Pinned::File),
            _ => {}
        }
        self.idle.begin_read()?;
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
        let on_file = empty && before == after;
        let settled = if newer { 0 } else { self.pin.settled };
        self.pin = Pin {
            settled: settled.saturating_add(u8::from(on_file)),
            ..Pin::taken(&before, &after)
        };
        self.idle.end()?;
        Ok(if on_file { Pinned::File } else { Pinned::Frame })
    }
}

/// Whether a read that began between `before` and `after` has its mark in a frame for certain.
fn in_a_frame(before: &WalIndex, after: &WalIndex) -> bool {
    before.header.salts == after.header.salts
        && before.header.change <= after.header.change
        && after.backfilled < before.header.mx_frame
}
