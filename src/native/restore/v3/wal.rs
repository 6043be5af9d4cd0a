//! Applies one WAL to the database file, as a checkpoint would.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;

use crate::ltx::{PageSize, Pgno};
use crate::wal::{Cursor, FrameHeader, WalHeader, frame_offset};

/// Verifies all of a WAL, frame after frame, and copies the pages of its transactions to their places. What comes after
/// the last commit was never part of the database.
///
/// Memory: where the newest version of each of its pages is.
pub(super) fn apply(wal: &File, database: &File, page_size: PageSize) -> io::Result<()> {
    let (pages, commit) = index(wal, page_size)?;
    let Some(commit) = commit else {
        return Ok(());
    };
    let mut page = vec![0; page_size.len()];
    for (pgno, frame) in pages.into_iter().filter(|(pgno, _)| pgno.0 <= commit) {
        let at = frame_offset(page_size, frame).saturating_add(FrameHeader::LEN as u64);
        wal.read_exact_at(&mut page, at)?;
        database.write_all_at(&page, page_size.offset_of(pgno))?;
    }
    database.set_len(page_size.file_size(commit))
}

/// The frame of each page's newest committed version, and the size of the database after the last commit.
fn index(wal: &File, page_size: PageSize) -> io::Result<(BTreeMap<Pgno, u32>, Option<u32>)> {
    let mut file = wal;
    file.rewind()?;
    let mut rest = wal.metadata()?.len();
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let mut header = [0; WalHeader::LEN];
    reader.read_exact(&mut header)?;
    rest = rest.saturating_sub(WalHeader::LEN as u64);
    let header = WalHeader::parse(&header).map_err(damaged)?;
    if header.page_size != page_size {
        return Err(damaged(format!(
            "its pages have {} bytes, those of the snapshot {}",
            header.page_size.get(),
            page_size.get(),
        )));
    }
    let mut cursor = Cursor::new(&header);
    let (mut committed, mut pending, mut commit) = (BTreeMap::new(), BTreeMap::new(), None);
    let (mut head, mut page) = ([0; FrameHeader::LEN], vec![0; page_size.len()]);
    while rest > 0 {
        reader.read_exact(&mut head)?;
        reader.read_exact(&mut page)?;
        rest = rest.saturating_sub(head.len().saturating_add(page.len()) as u64);
        let Some(frame) = cursor.next(&head, &page) else {
            let number = cursor.frame.saturating_add(1);
            return Err(damaged(format!(
                "frame {number} does not continue the one before it: its salts or its checksum are wrong"
            )));
        };
        pending.insert(frame.pgno, cursor.frame);
        if frame.commit != 0 {
            committed.append(&mut pending);
            commit = Some(frame.commit);
        }
    }
    Ok((committed, commit))
}

fn damaged(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
