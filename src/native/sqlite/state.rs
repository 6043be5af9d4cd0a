//! The words in which a [`Source`](super::Source) and whoever drives it talk about a WAL.

use std::time::Duration;

use crate::wal::{Checksum, Salts};

/// The committed state of a database, as the wal-index says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The generation of the WAL.
    pub salts: Salts,
    /// The last committed frame; 0 while the WAL is empty.
    pub mx_frame: u32,
    /// The size of the database in pages.
    pub commit: u32,
    /// How many frames are copied back into the database file.
    pub backfilled: u32,
    /// The running checksum as it stands in the header of frame `mx_frame`.
    pub frame_checksum: Checksum,
}

/// Up to which frame, of which generation, all is safe elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The generation.
    pub salts: Salts,
    /// Its last frame that is held; 0 for none.
    pub frame: u32,
}

impl Held {
    /// Everything up to `committed`.
    pub fn all_of(committed: &Committed) -> Self {
        Self {
            salts: committed.salts,
            frame: committed.mx_frame,
        }
    }
}

/// Where the pin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// It had to stay where it was: nothing newer to pin, and what it guards is not all held.
    Stayed,
    /// On the newest commit, in a frame of the WAL: nobody can restart the WAL.
    Frame,
    /// It may be on the database file and is not, because somebody else copies frames back: to be tried again soon. Who
    /// waits for it waits with the write lock in its hands.
    Barred,
    /// On the database file (mark 0): the next writer may restart the WAL, and a RESTART or TRUNCATE of the
    /// application goes through. Frames written from now on are guarded as before.
    File,
}

/// Where the current version of a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// In this frame of the WAL.
    Frame(u32),
    /// In the database file (zeros beyond its end).
    File,
}

/// What a checkpoint did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpointed {
    /// Another checkpoint was running, so this one did nothing.
    pub busy: bool,
    /// Frames in the WAL.
    pub frames: u32,
    /// Frames copied back; fewer than `frames` is normal while other readers or writers are at it.
    pub backfilled: u32,
    /// Where the pin is now. `File` means that the next writer restarts the WAL.
    pub pinned: Pinned,
    /// How long the write lock was held.
    pub locked: Duration,
}
