//! What a copy is, in a small file beside it.
//!
//! While a new state is applied the file tells both, the old and the new; which of them the copy is in, its change
//! counter says.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::Error;
use crate::ltx::{DbSum, PageSize, Timestamp, Txid};
use crate::native::new_file;
use crate::replica::Position;

/// The database header at the start of page 1.
pub(super) const HEADER: usize = 100;

/// One state of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct State {
    pub(super) txid: Txid,
    pub(super) sum: DbSum,
    pub(super) timestamp: Timestamp,
    pub(super) page_size: PageSize,
    pub(super) commit: u32,
    /// The change counter in the copy: another for each state.
    pub(super) counter: u32,
    /// The database header as the source has it.
    header: Vec<u8>,
}

impl State {
    pub(in super::super) fn new(
        position: (Txid, DbSum, Timestamp),
        page_size: PageSize,
        commit: u32,
        counter: u32,
        header: [u8; HEADER],
    ) -> Self {
        let (txid, sum, timestamp) = position;
        Self {
            txid,
            sum,
            timestamp,
            page_size,
            commit,
            counter,
            header: header.to_vec(),
        }
    }

    /// Turns a restored file that nobody knows yet into a copy in its first state.
    pub(in super::super) fn begin(
        file: &File,
        output: &Path,
        position: (Txid, DbSum, Timestamp),
        page_size: PageSize,
        commit: u32,
    ) -> Result<(), Error> {
        let failed = |source| Error::Output {
            path: output.to_owned(),
            source,
        };
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0).map_err(failed)?;
        let state = Self::new(position, page_size, commit, 1, header);
        let mut served = header;
        state.serve(&mut served);
        file.write_all_at(&served, 0).map_err(failed)?;
        write(output, std::slice::from_ref(&state))
    }

    pub(super) fn position(&self) -> Position {
        Position {
            txid: self.txid,
            sum: Some(self.sum),
        }
    }

    /// Makes a header, or all of page 1, what readers of the copy see: not in WAL mode, whatever the source is, with
    /// this state's counter and size.
    pub(super) fn serve(&self, page: &mut [u8]) {
        let counter = self.counter.to_be_bytes();
        let fields = [
            (18, &[1, 1][..]),
            (24, &counter),
            (28, &self.commit.to_be_bytes()),
            // The counter for which the size is valid.
            (92, &counter),
        ];
        for (at, value) in fields {
            if let Some(field) = page.get_mut(at..).and_then(|rest| rest.get_mut(..value.len())) {
                field.copy_from_slice(value);
            }
        }
    }

    /// Makes page 1 of the copy what it is in the source.
    pub(super) fn unserve(&self, page: &mut [u8]) {
        if let Some(header) = page.get_mut(..self.header.len()) {
            header.copy_from_slice(&self.header);
        }
    }
}

/// Where the states of the copy at `output` are.
fn path(output: &Path) -> PathBuf {
    let mut path = OsString::from(output);
    path.push("-follow");
    path.into()
}

/// Makes these the states that the copy may be in, durably.
pub(super) fn write(output: &Path, states: &[State]) -> Result<(), Error> {
    let path = path(output);
    let write = || {
        let folder = new_file::folder_of(&path);
        let mut file = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(folder)?;
        serde_json::to_writer(&mut file, states)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        new_file::sync_folder(folder)
    };
    write().map_err(|source| Error::Output {
        path: path.clone(),
        source,
    })
}

/// The states that the copy may be in. [`Error::Exists`] if it is no such copy.
pub(super) fn read(output: &Path) -> Result<Vec<State>, Error> {
    let path = path(output);
    let failed = |source| Error::Output {
        path: path.clone(),
        source,
    };
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::Exists(output.to_owned()));
        }
        bytes => bytes.map_err(failed)?,
    };
    let states: Vec<State> = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
    match states.iter().all(|state| state.header.len() == HEADER) {
        true => Ok(states),
        false => Err(failed(io::Error::other("it holds no database header"))),
    }
}
