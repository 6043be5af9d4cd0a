//! What to restore, and where to.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use super::{Error, IntegrityCheck};
use crate::native::new_file::{self, NewFile};
use crate::replica::Target;

/// What SQLite keeps beside a database.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What to restore, and where to.
#[derive(Clone, Debug)]
pub struct Options {
    /// The state.
    pub target: Target,
    /// The file to make.
    pub output: PathBuf,
    /// How many reads run at once.
    pub parallelism: usize,
    /// What SQLite is asked before the file gets its name.
    pub integrity: IntegrityCheck,
    /// It will be followed: what readers see of its header is not what the source has.
    pub(super) followed: bool,
}

impl Options {
    /// With 8 reads at once, and no questions to SQLite.
    pub fn new(target: Target, output: PathBuf) -> Self {
        Self {
            target,
            output,
            parallelism: 8,
            integrity: IntegrityCheck::None,
            followed: false,
        }
    }

    /// Whether the output can be made: its folder is there, and it and its companions are not.
    pub fn check(&self) -> Result<(), Error> {
        let folder = new_file::folder_of(&self.output);
        if !folder.is_dir() {
            return Err(Error::NoFolder(folder.to_owned()));
        }
        if self.output.symlink_metadata().is_ok() || self.output.file_name().is_none() {
            return Err(Error::Exists(self.output.clone()));
        }
        let mut companions = COMPANIONS.iter().map(|end| {
            let mut path = OsString::from(&self.output);
            path.push(end);
            PathBuf::from(path)
        });
        match companions.find(|path| path.symlink_metadata().is_ok()) {
            Some(path) => Err(Error::Leftover(path)),
            None => Ok(()),
        }
    }

    /// Starts the output under its temporary name, full of zeros.
    pub(super) fn start(&self, len: u64) -> Result<NewFile, Error> {
        if let Err(error) = new_file::sweep(new_file::folder_of(&self.output)) {
            tracing::debug!("what an earlier restore left was not looked for: {error}");
        }
        let start = || {
            let file = NewFile::create(&self.output, 0o666)?;
            file.file().set_len(len)?;
            Ok(file)
        };
        start().map_err(|source| self.failure(source))
    }

    /// Gives the output its name, if nothing has taken it or its companions' meanwhile.
    pub(super) async fn publish(&self, file: NewFile) -> Result<(), Error> {
        self.check()?;
        let published = tokio::task::spawn_blocking(|| file.publish()).await;
        match published.map_err(io::Error::other).flatten() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::Exists(self.output.clone()))
            }
            result => result.map_err(|source| self.failure(source)),
        }
    }

    pub(super) fn failure(&self, source: io::Error) -> Error {
        Error::Output {
            path: self.output.clone(),
            source,
        }
    }
}
