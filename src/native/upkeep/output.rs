//! What is merged or bundled, on its way to the replica: in memory while it is small, in a file without a name beyond.

use std::cell::RefCell;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use tempfile::{SpooledTempFile, spooled_tempfile_in};

use crate::store::{self, Body};

/// What is larger goes to a file.
const IN_MEMORY: usize = 1024 * 1024;

/// To be written into first, then read as often as it takes.
#[derive(Debug)]
pub(super) struct Output {
    file: RefCell<SpooledTempFile>,
    len: u64,
}

impl Output {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            file: RefCell::new(spooled_tempfile_in(IN_MEMORY, folder)),
            len: 0,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.get_mut().write(bytes)?;
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[async_trait(?Send)]
impl Body for Output {
    fn len(&self) -> u64 {
        self.len
    }

    async fn read(&self, range: Range<u64>) -> store::Result<Bytes> {
        let mut bytes = vec![0; usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0)];
        let mut file = self.file.borrow_mut();
        let read = file
            .seek(SeekFrom::Start(range.start))
            .and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|source| store::Error::Io {
            what: "cannot read what was merged".to_owned(),
            source,
        })?;
        Ok(bytes.into())
    }
}
