//! A segment that waits to be confirmed: in memory while it is small, in a file beyond.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;

use crate::ltx::Header;
use crate::store::{self, Body};

/// A segment up to this size stays in memory.
const IN_MEMORY: usize = 2 * 1024 * 1024;
/// How much is gathered before it is written to the file.
const BUFFER: usize = 256 * 1024;

/// Collects a segment's bytes; moves to a file when they become many.
#[derive(Debug)]
pub(super) struct Stage {
    path: PathBuf,
    buffer: Vec<u8>,
    file: Option<File>,
    written: u64,
}

impl Stage {
    /// `path` is where the file will be, if it needs one.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            buffer: Vec::new(),
            file: None,
            written: 0,
        }
    }

    /// Replaces the header with the one that the encoder gave at the end.
    pub(super) fn finish(mut self, header: &[u8; Header::LEN]) -> io::Result<Staged> {
        match self.file {
            Some(mut file) => {
                file.write_all(&self.buffer)?;
                file.write_all_at(header, 0)?;
                Ok(Staged::File {
                    file,
                    path: self.path,
                    len: self.written + self.buffer.len() as u64,
                })
            }
            None => {
                if let Some(start) = self.buffer.get_mut(..Header::LEN) {
                    start.copy_from_slice(header);
                }
                Ok(Staged::Memory(self.buffer.into()))
            }
        }
    }
}

impl Write for Stage {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        let limit = if self.file.is_some() { BUFFER } else { IN_MEMORY };
        if self.buffer.len() > limit {
            if self.file.is_none() {
                let mut options = File::options();
                self.file = Some(
                    options
                        .read(true)
                        .write(true)
                        .create(true)
                        .truncate(true)
                        .open(&self.path)?,
                );
            }
            if let Some(file) = &mut self.file {
                file.write_all(&self.buffer)?;
            }
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
            self.buffer.shrink_to(BUFFER * 2);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A whole segment. Its file, if it has one, goes when this is dropped.
#[derive(Debug)]
pub(super) enum Staged {
    Memory(Bytes),
    File { file: File, path: PathBuf, len: u64 },
}

#[async_trait(?Send)]
impl Body for Staged {
    fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => Body::len(bytes),
            Self::File { len, .. } => *len,
        }
    }

    async fn read(&self, range: Range<u64>) -> store::Result<Bytes> {
        match self {
            Self::Memory(bytes) => Body::read(bytes, range).await,
            Self::File { file, path, .. } => {
                let mut bytes = vec![0; range.end.saturating_sub(range.start) as usize];
                file.read_exact_at(&mut bytes, range.start)
                    .map_err(|source| store::Error::Io {
                        what: format!("cannot read the waiting segment {}", path.display()),
                        source,
                    })?;
                Ok(bytes.into())
            }
        }
    }

    fn bytes(&self) -> Option<Bytes> {
        match self {
            Self::Memory(bytes) => Some(bytes.clone()),
            Self::File { .. } => None,
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Self::File { path, .. } = self {
            // Nothing depends on it: the next one overwrites what is left.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn small_stays_in_memory_large_goes_to_a_file_that_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment.ltx");
        for (len, in_file) in [
            (Header::LEN, false),
            (IN_MEMORY, false),
            (IN_MEMORY + 1, true),
            (5_000_000, true),
        ] {
            let content: Vec<u8> = (0..len).map(|i| (i / 7) as u8).collect();
            let mut stage = Stage::new(path.clone());
            for piece in content.chunks(70_000) {
                stage.write_all(piece).unwrap();
            }
            let header = [0xEE; Header::LEN];
            let staged = stage.finish(&header).unwrap();
            assert_eq!(path.exists(), in_file);
            let bytes = staged
                .read(0..Body::len(&staged))
                .now_or_never()
                .unwrap()
                .unwrap();
            assert_eq!(bytes[..Header::LEN], header);
            assert_eq!(bytes[Header::LEN..], content[Header::LEN..]);
            drop(staged);
            assert!(!path.exists());
        }
    }
}
