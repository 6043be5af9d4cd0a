//! The way of what is written to the disk.

use std::fs::File;
use std::io;
use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};

/// So much is written before the disk is told again.
const PORTION: u64 = 32 * 1024 * 1024;

/// Has the disk write while more is decoded: otherwise it would rest until the end, and everything would wait for it then.
#[derive(Debug)]
pub(super) struct Drain {
    file: Arc<File>,
    /// Written since the disk was told.
    waiting: u64,
    running: Option<JoinHandle<io::Result<()>>>,
}

impl Drain {
    pub(super) fn new(file: Arc<File>) -> Self {
        Self {
            file,
            waiting: 0,
            running: None,
        }
    }

    /// So many bytes more were written.
    pub(super) async fn wrote(&mut self, bytes: u64) -> io::Result<()> {
        self.waiting = self.waiting.saturating_add(bytes);
        let is_busy = self
            .running
            .as_ref()
            .is_some_and(|running| !running.is_finished());
        if self.waiting < PORTION || is_busy {
            return Ok(());
        }
        self.finish().await?;
        self.waiting = 0;
        let file = Arc::clone(&self.file);
        self.running = Some(spawn_blocking(move || file.sync_data()));
        Ok(())
    }

    /// Waits for what is under way. A fault of the disk is told once: whoever does not ask here never learns of it.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        match self.running.take() {
            Some(running) => running.await.map_err(io::Error::other).flatten(),
            None => Ok(()),
        }
    }
}
