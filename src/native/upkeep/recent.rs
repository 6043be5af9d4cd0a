//! Copies of segments that will soon be merged or bundled, so that they need not be read back from the replica.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::{SpooledTempFile, spooled_tempfile_in};

use crate::replica::{Level, SegmentId};

/// What is larger is read back from the replica.
const LARGEST: usize = 2 * 1024 * 1024;
/// All copies together, at most; what comes after that is read back, too.
const MOST: u64 = 128 * 1024 * 1024;
/// A file takes so much, then another is begun: what is in no use any more goes by files.
const FILE: u64 = 4 * 1024 * 1024;
/// A file stays in memory while it has no more than this.
const IN_MEMORY: usize = 16 * 1024;

/// Recent segments. Raw ones and merged ones have files of their own: they are done with at different times.
#[derive(Debug)]
pub(super) struct Recent {
    raw: Files,
    merged: Files,
}

/// Files without a name: whatever ends this process, they are gone, and nobody else can read them.
#[derive(Debug)]
struct Files {
    folder: PathBuf,
    files: BTreeMap<u64, Copies>,
    places: HashMap<SegmentId, Place>,
    len: u64,
    next: u64,
}

#[derive(Debug)]
struct Copies {
    file: SpooledTempFile,
    len: u64,
    /// How many of its segments are still wanted.
    wanted: u32,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    file: u64,
    offset: u64,
    len: u64,
}

impl Recent {
    pub(super) fn new(folder: &Path) -> Self {
        let files = || Files {
            folder: folder.to_owned(),
            files: BTreeMap::new(),
            places: HashMap::new(),
            len: 0,
            next: 0,
        };
        Self {
            raw: files(),
            merged: files(),
        }
    }

    /// Keeps a copy, if there is room for it. That there is none costs requests, nothing else.
    pub(super) fn keep(&mut self, id: SegmentId, bytes: &[u8]) {
        let files = self.of(id);
        if bytes.len() > LARGEST || files.len > MOST || files.places.contains_key(&id) {
            return;
        }
        if let Err(error) = files.append(id, bytes) {
            tracing::debug!(segment = %id, "no copy is kept for compaction: {error}");
        }
    }

    /// Lets a copy go.
    pub(super) fn forget(&mut self, id: SegmentId) {
        self.of(id).forget(id);
    }

    pub(super) fn has(&self, id: SegmentId) -> bool {
        self.raw.places.contains_key(&id) || self.merged.places.contains_key(&id)
    }

    /// A range of a copy; `None` if there is none, or it cannot be read.
    pub(super) fn read(&mut self, id: SegmentId, range: Range<u64>) -> Option<Bytes> {
        let read = self.of(id).read(id, range)?;
        if let Err(error) = &read {
            tracing::debug!(segment = %id, "the copy that was kept for compaction is lost: {error}");
            self.forget(id);
        }
        read.ok()
    }

    fn of(&mut self, id: SegmentId) -> &mut Files {
        if id.level == Level::RAW {
            &mut self.raw
        } else {
            &mut self.merged
        }
    }
}

impl Files {
    fn append(&mut self, id: SegmentId, bytes: &[u8]) -> io::Result<()> {
        let is_full = self
            .files
            .last_key_value()
            .is_none_or(|(_, copies)| copies.len >= FILE);
        if is_full {
            let copies = Copies {
                file: spooled_tempfile_in(IN_MEMORY, &self.folder),
                len: 0,
                wanted: 0,
            };
            self.files.insert(self.next, copies);
            self.next += 1;
        }
        let Some(mut entry) = self.files.last_entry() else {
            return Ok(());
        };
        let number = *entry.key();
        let copies = entry.get_mut();
        copies.file.seek(SeekFrom::Start(copies.len))?;
        copies.file.write_all(bytes)?;
        let place = Place {
            file: number,
            offset: copies.len,
            len: bytes.len() as u64,
        };
        copies.len += place.len;
        copies.wanted += 1;
        self.len += place.len;
        self.places.insert(id, place);
        Ok(())
    }

    fn forget(&mut self, id: SegmentId) {
        let Some(place) = self.places.remove(&id) else {
            return;
        };
        if let Some(copies) = self.files.get_mut(&place.file) {
            copies.wanted = copies.wanted.saturating_sub(1);
            if copies.wanted == 0 {
                self.len = self.len.saturating_sub(copies.len);
                self.files.remove(&place.file);
            }
        }
    }

    fn read(&mut self, id: SegmentId, range: Range<u64>) -> Option<io::Result<Bytes>> {
        let place = *self.places.get(&id)?;
        if range.start > range.end || range.end > place.len {
            return None;
        }
        let file = &mut self.files.get_mut(&place.file)?.file;
        let mut bytes = vec![0; usize::try_from(range.end - range.start).ok()?];
        let read = file
            .seek(SeekFrom::Start(place.offset + range.start))
            .and_then(|_| file.read_exact(&mut bytes));
        Some(read.map(|()| bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ltx::Txid;

    fn id(level: u8, txid: u64) -> SegmentId {
        SegmentId::new(Level::new(level).unwrap(), Txid(txid), Txid(txid)).unwrap()
    }

    #[test]
    fn copies_are_read_back_until_they_are_forgotten_and_their_files_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut recent = Recent::new(folder.path());
        let content = |txid: u64| vec![txid as u8; 50_000 + txid as usize];
        for txid in 1..=300 {
            recent.keep(id((txid % 3) as u8, txid), &content(txid));
        }
        assert!(recent.raw.files.len() > 1);
        for txid in 1..=300 {
            let id = id((txid % 3) as u8, txid);
            assert_eq!(recent.read(id, 7..50_000 + txid).unwrap(), content(txid)[7..]);
            assert_eq!(recent.read(id, 7..50_001 + txid), None);
            recent.forget(id);
            assert!(!recent.has(id));
            assert_eq!(recent.read(id, 0..1), None);
        }
        assert_eq!(
            (recent.raw.files.len(), recent.raw.len, recent.merged.len),
            (0, 0, 0)
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_large_or_too_much_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut recent = Recent::new(folder.path());
        recent.keep(id(0, 1), &vec![1; LARGEST + 1]);
        assert!(!recent.has(id(0, 1)));
        for txid in 2..100 {
            recent.keep(id(0, txid), &vec![1; LARGEST]);
        }
        assert!(recent.raw.len <= MOST + LARGEST as u64);
        assert!(!recent.has(id(0, 99)));
    }
}
