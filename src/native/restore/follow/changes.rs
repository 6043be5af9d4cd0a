//! Pages that differ between a copy and the next state, proven, in a temporary file.

use std::fs::File;
use std::os::unix::fs::FileExt;

use futures_util::StreamExt;

use super::super::Error;
use super::copy::Copy;
use super::state::{HEADER, State};
use crate::ltx::{DbSum, PageCrc, PageSize, Pgno};
use crate::native::new_file;
use crate::restore::{Restore, Scratch};

/// New pages, each once, in no order.
#[derive(Debug)]
pub(super) struct Changes {
    file: File,
    numbers: Vec<Pgno>,
    page_size: PageSize,
}

impl Changes {
    fn new(copy: &Copy) -> Result<Self, Error> {
        let folder = new_file::folder_of(copy.path());
        Ok(Self {
            file: tempfile::tempfile_in(folder).map_err(|error| copy.failure(error))?,
            numbers: Vec::new(),
            page_size: copy.state().page_size,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn numbers(&self) -> &[Pgno] {
        &self.numbers
    }

    /// Reads the page of that place in [`Changes::numbers`].
    pub(super) fn read(&self, place: usize, page: &mut [u8]) -> std::io::Result<()> {
        self.file.read_exact_at(page, self.offset(place))
    }

    fn push(&mut self, pgno: Pgno, page: &[u8]) -> std::io::Result<()> {
        self.file.write_all_at(page, self.offset(self.numbers.len()))?;
        self.numbers.push(pgno);
        Ok(())
    }

    fn offset(&self, place: usize) -> u64 {
        (place as u64).saturating_mul(u64::from(self.page_size.get()))
    }
}

/// Fetches what a restore brings on top of the copy. The sum of the copy is followed from its state to the next: the
/// parts of the old pages go, those of the new come. So the new state is proven only if the copy is what it should be.
pub(super) async fn collect(copy: &Copy, restore: &Restore<'_>) -> Result<(Changes, State), Error> {
    let before = copy.state();
    let (page_size, commit) = (before.page_size, restore.commit());
    restore.applies_to(page_size, before.commit)?;
    if commit == 0 {
        return Err(copy.complaint("the database became an empty file, which no reader could take for one"));
    }
    let mut changes = Changes::new(copy)?;
    let mut old = vec![0; page_size.len()];
    let mut sum = before.sum;
    for pgno in (commit.saturating_add(1)..=before.commit).map(Pgno) {
        sum = minus(copy, pgno, &mut old, sum)?;
    }
    let mut header = None;
    let mut scratch = Scratch::default();
    let mut chunks = restore.chunks();
    while let Some(chunk) = chunks.next().await {
        chunk?.decode(&mut scratch, |pgno, crc, page| {
            if pgno.0 <= before.commit {
                sum = minus(copy, pgno, &mut old, sum)?;
            }
            sum = sum.plus(crc);
            if pgno.0 == 1 {
                header = page.first_chunk::<HEADER>().copied();
            }
            if pgno.0 > before.commit || old != page {
                changes.push(pgno, page).map_err(|error| copy.failure(error))?;
            }
            Ok::<(), Error>(())
        })?;
    }
    let position = restore.prove(sum)?;
    let header = match header {
        Some(header) => header,
        // Page 1 has not changed.
        None => {
            copy.read(Pgno(1), &mut old)?;
            let header = old.first_chunk::<HEADER>().copied();
            header.ok_or_else(|| copy.complaint("its page 1 is too short"))?
        }
    };
    let state = State::new(
        (position.txid, sum, restore.timestamp()),
        page_size,
        commit,
        before.counter.wrapping_add(1),
        header,
    );
    Ok((changes, state))
}

/// The sum without a page of the copy, which is left in `old`.
fn minus(copy: &Copy, pgno: Pgno, old: &mut [u8], sum: DbSum) -> Result<DbSum, Error> {
    if pgno == copy.state().page_size.lock_page() {
        return Ok(sum);
    }
    copy.read(pgno, old)?;
    Ok(sum.minus(PageCrc::of(pgno, old)))
}
