//! Pages in the version of an older commit, saved before the database file loses it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::page_set::PageSet;
use crate::ltx::{PageSize, Pgno};

/// A file without a name, as sparse as what is in it: each page where it lies in the database.
#[derive(Debug)]
pub(super) struct SavedPages {
    folder: PathBuf,
    page_size: PageSize,
    file: Option<File>,
    pages: PageSet,
}

impl SavedPages {
    pub(super) fn new(folder: PathBuf, page_size: PageSize) -> Self {
        Self {
            folder,
            page_size,
            file: None,
            pages: PageSet::default(),
        }
    }

    pub(super) fn contains(&self, pgno: Pgno) -> bool {
        self.pages.contains(pgno)
    }

    pub(super) fn save(&mut self, pgno: Pgno, page: &[u8]) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile_in(&self.folder)?),
        };
        file.write_all_at(page, self.page_size.offset_of(pgno))?;
        self.pages.insert(pgno);
        Ok(())
    }

    /// Reads a page that was saved.
    pub(super) fn read(&self, pgno: Pgno, page: &mut [u8]) -> io::Result<()> {
        match &self.file {
            Some(file) => file.read_exact_at(page, self.page_size.offset_of(pgno)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
