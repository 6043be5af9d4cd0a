//! The pages that a segment changes with their new CRCs, ascending, staged like its body.

use std::io::{self, Write};
use std::path::PathBuf;
use std::rc::Rc;

use crate::ltx::{PageCrc, Pgno};
use crate::native::staged::{SMALL, Stage, Staged};
use crate::store::Body;

/// Bytes an entry: the page, its CRC.
const ENTRY: u64 = 12;
/// How many entries are read at once.
const RUN: u64 = 4096;

/// Collects the entries.
#[derive(Debug)]
pub(super) struct CrcWriter {
    stage: Stage,
}

impl CrcWriter {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            stage: Stage::new(folder, SMALL),
        }
    }

    /// Adds a page; they come in ascending order.
    pub(super) fn push(&mut self, pgno: Pgno, crc: PageCrc) -> io::Result<()> {
        let mut entry = [0; ENTRY as usize];
        let (number, value) = entry.split_at_mut(4);
        number.copy_from_slice(&pgno.0.to_le_bytes());
        value.copy_from_slice(&crc.0.to_le_bytes());
        self.stage.write_all(&entry)
    }

    pub(super) fn finish(self) -> io::Result<Rc<CrcList>> {
        let staged = self.stage.finish(&[])?;
        Ok(Rc::new(CrcList { staged }))
    }
}

/// The entries.
#[derive(Debug)]
pub(super) struct CrcList {
    staged: Staged,
}

impl CrcList {
    pub(super) fn len(&self) -> u64 {
        self.staged.len() / ENTRY
    }

    /// Some of the entries, from the one numbered `at` on; none at the end.
    pub(super) fn run(&self, at: u64) -> io::Result<Vec<(Pgno, PageCrc)>> {
        let end = at.saturating_add(RUN).min(self.len());
        let bytes = self
            .staged
            .piece(at.saturating_mul(ENTRY)..end.saturating_mul(ENTRY))?;
        Ok(bytes.chunks_exact(ENTRY as usize).filter_map(entry).collect())
    }
}

fn entry(bytes: &[u8]) -> Option<(Pgno, PageCrc)> {
    let (number, value) = bytes.split_first_chunk()?;
    Some((
        Pgno(u32::from_le_bytes(*number)),
        PageCrc(u64::from_le_bytes(*value.first_chunk()?)),
    ))
}

/// Looks pages up, each after the one before.
#[derive(Debug)]
pub(super) struct CrcCursor {
    list: Rc<CrcList>,
    /// Entries read from the list so far.
    read: u64,
    run: std::iter::Peekable<std::vec::IntoIter<(Pgno, PageCrc)>>,
}

impl CrcCursor {
    pub(super) fn new(list: Rc<CrcList>) -> Self {
        Self {
            list,
            read: 0,
            run: Vec::new().into_iter().peekable(),
        }
    }

    /// The CRC of a page if it is in the list.
    pub(super) fn get(&mut self, pgno: Pgno) -> io::Result<Option<PageCrc>> {
        loop {
            while self.run.next_if(|&(next, _)| next < pgno).is_some() {}
            if let Some(&(next, crc)) = self.run.peek() {
                return Ok((next == pgno).then_some(crc));
            }
            if self.read >= self.list.len() {
                return Ok(None);
            }
            let run = self.list.run(self.read)?;
            self.read = self.read.saturating_add(run.len() as u64);
            self.run = run.into_iter().peekable();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_put_in_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = CrcWriter::new(folder.path().into());
        // More than stays in memory, more than one run.
        for number in (1..60_000).step_by(3) {
            writer
                .push(Pgno(number), PageCrc(u64::from(number) << 32))
                .unwrap();
        }
        let list = writer.finish().unwrap();
        assert_eq!(list.len(), 20_000);
        let mut cursor = CrcCursor::new(list);
        for number in (1..70_000).step_by(2) {
            let expected = (number % 3 == 1 && number < 60_000).then_some(PageCrc(u64::from(number) << 32));
            assert_eq!(cursor.get(Pgno(number)).unwrap(), expected, "{number}");
            assert_eq!(cursor.get(Pgno(number)).unwrap(), expected, "{number} again");
        }
    }
}
