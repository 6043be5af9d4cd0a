//! SQLite's rollback journal: the pages as they were, on disk before any of them is overwritten.
//!
//! Source: sqlite.org/fileformat2.html, section 3. While it is there and nobody holds the RESERVED lock, whoever opens the
//! database takes it back first; deleting it is the commit.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::ltx::{PageSize, Pgno};
use crate::native::new_file;

const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
/// What a disk is assumed to write at once; the header fills it.
const SECTOR: u32 = 4096;
/// Every 200th byte of a page, from its end, goes into a record's checksum.
const STRIDE: usize = 200;

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    out: BufWriter<File>,
    nonce: u32,
}

impl Journal {
    /// Starts the journal of a database of `commit` pages, for so many records.
    pub(super) fn start(
        database: &Path,
        records: u32,
        commit: u32,
        page_size: PageSize,
        nonce: u32,
    ) -> io::Result<Self> {
        let mut path = OsString::from(database);
        path.push("-journal");
        let path = PathBuf::from(path);
        let file = File::create(&path)?;
        // Whoever may read the database may have to take it back.
        let mode = fs::metadata(database)?.permissions().mode();
        file.set_permissions(Permissions::from_mode(mode & 0o777))?;
        let mut out = BufWriter::with_capacity(256 * 1024, file);
        let mut header = MAGIC.to_vec();
        for field in [records, nonce, commit, SECTOR, page_size.get()] {
            header.extend_from_slice(&field.to_be_bytes());
        }
        header.resize(SECTOR as usize, 0);
        out.write_all(&header)?;
        Ok(Self { path, out, nonce })
    }

    /// A page as it is before.
    pub(super) fn page(&mut self, pgno: Pgno, page: &[u8]) -> io::Result<()> {
        self.out.write_all(&pgno.0.to_be_bytes())?;
        self.out.write_all(page)?;
        self.out.write_all(&checksum(self.nonce, page).to_be_bytes())
    }

    /// Makes it durable. From here on the database may be written.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        new_file::sync_folder(new_file::folder_of(&self.path))
    }

    /// Deletes it: what the database holds now stays.
    pub(super) fn delete(self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        new_file::sync_folder(new_file::folder_of(&self.path))
    }
}

fn checksum(nonce: u32, page: &[u8]) -> u32 {
    let first = page.len().saturating_sub(STRIDE);
    let places = (1..=first).rev().step_by(STRIDE);
    places.fold(nonce, |sum, at| {
        sum.wrapping_add(u32::from(page.get(at).copied().unwrap_or_default()))
    })
}
