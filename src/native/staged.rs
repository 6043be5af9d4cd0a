//! Bytes that wait here: in memory while they are few, in a file beyond.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;

use crate::merge::Sink;
use crate::store::{self, Body};

/// What is sent at once stays in memory up to this size.
pub(in crate::native) const LARGE: usize = 2 * 1024 * 1024;
/// What waits in a queue, or beside something that is sent, stays in memory up to this size.
pub(in crate::native) const SMALL: usize = 128 * 1024;
/// How much is gathered before it is written to the file.
const BUFFER: usize = 256 * 1024;

/// Collects bytes; moves to a file when they become many. The file has no name: whatever ends this process,
/// it is gone, and nobody else can read it.
#[derive(Debug)]
pub(in crate::native) struct Stage {
    folder: PathBuf,
    in_memory: usize,
    buffer: Vec<u8>,
    file: Option<File>,
    written: u64,
}

impl Stage {
    /// `folder` is where the file will be, if there are more bytes than may stay `in_memory`.
    pub(in crate::native) fn new(folder: PathBuf, in_memory: usize) -> Self {
        Self {
            folder,
            in_memory,
            buffer: Vec::new(),
            file: None,
            written: 0,
        }
    }

    /// Ends it. `start` replaces the first bytes: what an encoder knows only at the end.
    pub(in crate::native) fn finish(mut self, start: &[u8]) -> io::Result<Staged> {
        match self.file {
            Some(mut file) => {
                file.write_all(&self.buffer)?;
                file.write_all_at(start, 0)?;
                Ok(Staged::File {
                    file,
                    len: self.written + self.buffer.len() as u64,
                })
            }
            None => {
                if let Some(old) = self.buffer.get_mut(..start.len()) {
                    old.copy_from_slice(start);
                }
                self.buffer.shrink_to_fit();
                Ok(Staged::Memory(self.buffer.into()))
            }
        }
    }
}

impl Write for Stage {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        let limit = if self.file.is_some() {
            BUFFER
        } else {
            self.in_memory
        };
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

impl Sink for Stage {}

/// The bytes, all of them.
#[derive(Debug)]
pub(in crate::native) enum Staged {
    Memory(Bytes),
    File { file: File, len: u64 },
}

impl Staged {
    /// A piece; the range is within the length.
    pub(in crate::native) fn piece(&self, range: Range<u64>) -> io::Result<Bytes> {
        match self {
            Self::Memory(bytes) => {
                let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                let (start, end) = (clamp(range.start), clamp(range.end));
                Ok(bytes.slice(start.min(end)..end))
            }
            Self::File { file, .. } => {
                let mut bytes = vec![0; range.end.saturating_sub(range.start) as usize];
                file.read_exact_at(&mut bytes, range.start)?;
                Ok(bytes.into())
            }
        }
    }
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
        self.piece(range).map_err(|source| store::Error::Io {
            what: "cannot read what waits to be written".to_owned(),
            source,
        })
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
    use crate::ltx::Header;
    use futures_util::FutureExt;

    #[test]
    fn small_stays_in_memory_large_goes_to_a_file_without_a_name() {
        let folder = tempfile::tempdir().unwrap();
        for (len, in_file) in [
            (Header::LEN, false),
            (LARGE, false),
            (LARGE + 1, true),
            (5_000_000, true),
        ] {
            let content: Vec<u8> = (0..len).map(|i| (i / 7) as u8).collect();
            let mut stage = Stage::new(folder.path().into(), LARGE);
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
