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

/// Collects a segment's bytes; moves to a file when they become many. The file has no name: whatever ends this process,
/// it is gone, and nobody else can read it.
#[derive(Debug)]
pub(in crate::native) struct Stage {
    folder: PathBuf,
    buffer: Vec<u8>,
    file: Option<File>,
    written: u64,
}

impl Stage {
    /// `folder` is where the file will be, if it needs one.
    pub(in crate::native) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            buffer: Vec::new(),
            file: None,
            written: 0,
        }
    }

    /// What was written, as it was.
    pub(in crate::native) fn as_written(self) -> io::Result<Staged> {
        match self.file {
            Some(mut file) => {
                file.write_all(&self.buffer)?;
                let len = self.written + self.buffer.len() as u64;
                Ok(Staged::File { file, len })
            }
            None => Ok(Staged::Memory(self.buffer.into())),
        }
    }

    /// Replaces the header with the one that the encoder gave at the end.
    pub(in crate::native) fn finish(mut self, header: &[u8; Header::LEN]) -> io::Result<Staged> {
        match self.file {
            Some(mut file) => {
                file.write_all(&self.buffer)?;
                file.write_all_at(header, 0)?;
                Ok(Staged::File {
                    file,
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
                self.file = Some(tempfile::tempfile_in(&self.folder)?);
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

/// A whole segment.
#[derive(Debug)]
pub(in crate::native) enum Staged {
    Memory(Bytes),
    File { file: File, len: u64 },
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
            Self::File { file, .. } => {
                let mut bytes = vec![0; range.end.saturating_sub(range.start) as usize];
                file.read_exact_at(&mut bytes, range.start)
                    .map_err(|source| store::Error::Io {
                        what: "cannot read the segment that waits to be shipped".to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn small_stays_in_memory_large_goes_to_a_file_without_a_name() {
        let folder = tempfile::tempdir().unwrap();
        for (len, in_file) in [
            (Header::LEN, false),
            (IN_MEMORY, false),
            (IN_MEMORY + 1, true),
            (5_000_000, true),
        ] {
            let content: Vec<u8> = (0..len).map(|i| (i / 7) as u8).collect();
            let mut stage = Stage::new(folder.path().into());
            for piece in content.chunks(70_000) {
                stage.write_all(piece).unwrap();
            }
            let header = [0xEE; Header::LEN];
            let staged = stage.finish(&header).unwrap();
            assert_eq!(matches!(staged, Staged::File { .. }), in_file);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
            let bytes = staged
                .read(0..Body::len(&staged))
                .now_or_never()
                .unwrap()
                .unwrap();
            assert_eq!(bytes[..Header::LEN], header);
            assert_eq!(bytes[Header::LEN..], content[Header::LEN..]);
        }
    }
}
