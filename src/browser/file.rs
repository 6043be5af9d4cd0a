//! The files underneath: what OPFS offers a dedicated worker, as a trait, so that the logic above also runs where
//! it can be crashed at every step.

/// A file that nobody else has open. Writes are durable once [`File::flush`] has returned, in no order before.
pub trait File {
    /// Its length in bytes.
    fn size(&self) -> Result<u64>;

    /// Reads at `offset` until the buffer is full or the file ends; returns how many bytes that were.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize>;

    /// Writes all of `data` at `offset`, extending the file where needed.
    fn write(&self, offset: u64, data: &[u8]) -> Result<()>;

    /// Cuts the file, or extends it by zeros, to `size` bytes.
    fn truncate(&self, size: u64) -> Result<()>;

    /// Makes everything before durable.
    fn flush(&self) -> Result<()>;
}

/// The result of asking a file.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another tab, or another session of this page, has it open.
    #[error(
        "{0} is open in another tab (or twice in this one); close it there, or wait until it is closed, then try again"
    )]
    Locked(String),
    /// No room.
    #[error(
        "{0} does not fit: the browser gives this page no more storage. Free some disk space, or clear data of this site"
    )]
    Full(String),
    /// It ended too early.
    #[error("{0} is shorter than it was written: the browser has lost a part of it")]
    Short(String),
    /// Anything else.
    #[error("{what} failed: {why}")]
    Failed {
        /// What was being done, to what.
        what: String,
        /// What the browser says.
        why: String,
    },
}

/// Reads exactly `buffer`.
pub(super) fn read_exact(file: &impl File, offset: u64, buffer: &mut [u8]) -> Result<()> {
    if file.read(offset, buffer)? == buffer.len() {
        Ok(())
    } else {
        Err(Error::Short("the local copy of the database".to_owned()))
    }
}

/// Joins neighbouring writes: a call into OPFS costs as much as many kilobytes.
#[derive(Debug)]
pub(super) struct WriteBuffer<'a, F> {
    file: &'a F,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a, F: File> WriteBuffer<'a, F> {
    const CAPACITY: usize = 1024 * 1024;

    pub(super) fn new(file: &'a F) -> Self {
        Self {
            file,
            start: 0,
            bytes: Vec::with_capacity(Self::CAPACITY),
        }
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        let end = self.start.saturating_add(self.bytes.len() as u64);
        if offset != end || self.bytes.len().saturating_add(data.len()) > Self::CAPACITY {
            self.pass_on()?;
            self.start = offset;
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Hands everything to the file, and makes it durable.
    pub(super) fn flush(mut self) -> Result<()> {
        self.pass_on()?;
        self.file.flush()
    }

    /// Hands everything to the file.
    pub(super) fn pass_on(&mut self) -> Result<()> {
        if !self.bytes.is_empty() {
            self.file.write(self.start, &self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}
