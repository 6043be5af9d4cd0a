//! Objects by their keys: for reading what another program has laid out.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::Patient;
use super::bucket::BucketStore;
use crate::ltx::Timestamp;
use crate::store::{Error, Result};

/// The length of a read over a network.
const PIECE: u64 = 4 * 1024 * 1024;

/// What lies in a folder, or below a path of a bucket.
#[derive(Debug)]
pub struct Keys(Place);

#[derive(Debug)]
enum Place {
    Folder(PathBuf),
    Bucket(Box<BucketStore>),
}

/// One of the objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key below the place, with slashes.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written.
    pub time: Timestamp,
}

impl Keys {
    pub(super) fn folder(root: PathBuf) -> Self {
        Self(Place::Folder(root))
    }

    pub(super) fn bucket(bucket: BucketStore) -> Self {
        Self(Place::Bucket(Box::new(bucket)))
    }

    /// All objects below a folder, in no order; none where there is no such folder.
    pub async fn list(&self, folder: &str) -> Result<Vec<Object>> {
        match &self.0 {
            Place::Bucket(bucket) => bucket.list_keys(folder).await,
            Place::Folder(root) => {
                let (root, folder) = (root.clone(), folder.to_owned());
                let walk = move || {
                    let mut found = Vec::new();
                    walk(&root.join(&folder), &folder, &mut found)?;
                    Ok(found)
                };
                tokio::task::spawn_blocking(walk)
                    .await
                    .map_err(|error| failure("a folder", io::Error::other(error)))?
            }
        }
    }

    /// The content of one of `size` bytes, from its start. What comes over a network comes in pieces, each asked for again
    /// where it breaks off, into a file without a name in `near`.
    pub async fn fetch(&self, key: &str, size: u64, patient: &Patient, near: &Path) -> Result<File> {
        let failed = |error| failure("a temporary file", error);
        match &self.0 {
            Place::Bucket(bucket) => {
                let mut file = tempfile::tempfile_in(near).map_err(failed)?;
                let mut at = 0;
                while at < size {
                    let end = at.saturating_add(PIECE).min(size);
                    let piece = patient.again(async || bucket.read_key(key, at..end).await);
                    file.write_all(&piece.await?).map_err(failed)?;
                    at = end;
                }
                file.rewind().map_err(failed)?;
                Ok(file)
            }
            Place::Folder(root) => {
                let path = root.join(key);
                File::open(&path).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => Error::NotFound(path.display().to_string()),
                    _ => failure(&path.display().to_string(), error),
                })
            }
        }
    }
}

fn walk(folder: &Path, below: &str, found: &mut Vec<Object>) -> Result<()> {
    let failed = |error| failure(&format!("reading {}", folder.display()), error);
    let entries = match folder.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        // What has another name was not written by a program that knows the layout.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let key = format!("{below}/{name}");
        let metadata = match entry.metadata() {
            // Deleted while we look.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata.map_err(failed)?,
        };
        if metadata.is_dir() {
            walk(&entry.path(), &key, found)?;
        } else if metadata.is_file() {
            let time = metadata.modified().map_err(failed)?;
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            found.push(Object {
                key,
                size: metadata.len(),
                time: Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            });
        }
    }
    Ok(())
}

fn failure(what: &str, source: io::Error) -> Error {
    Error::Io {
        what: what.to_owned(),
        source,
    }
}
