//! How far a restore or a refresh has come.

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The first copy.
    Restore,
    /// Newer pages on top of a copy.
    Refresh,
    /// The rest of a copy that is read already.
    Hydrate,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Pages that are written.
    pub pages: u64,
    /// Pages there will be.
    pub total_pages: u64,
    /// Bytes that were fetched.
    pub bytes: u64,
    /// Bytes that will be, about.
    pub total_bytes: u64,
}

impl Progress {
    pub(super) fn start(phase: Phase, restore: &crate::restore::Restore<'_>) -> Self {
        Self {
            phase,
            pages: 0,
            total_pages: restore.pages(),
            bytes: 0,
            total_bytes: restore.bytes(),
        }
    }

    /// One more chunk.
    pub(super) fn advance(&mut self, pages: u64, bytes: u64) {
        self.pages = self.pages.saturating_add(pages);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}
