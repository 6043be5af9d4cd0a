//! Files that appear under their name whole and durable, or not at all.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::NamedTempFile;

/// Marks our temporary files, in the folder of the file that they become.
const MARK: &str = ".walferry-";
const END: &str = ".tmp";
/// A temporary file younger than this may just be coming into being, not locked yet.
const YOUNG: Duration = Duration::from_secs(600);

/// A file that is being written under a temporary name in the same folder. Dropped, it is removed.
///
/// It is locked while its maker lives, so that [`sweep`] can tell leftovers of a crash.
#[derive(Debug)]
pub struct NewFile {
    temporary: NamedTempFile,
    path: PathBuf,
}

impl NewFile {
    /// Starts a file that will be at `path`, with these permissions less the umask.
    pub fn create(path: &Path, mode: u32) -> io::Result<Self> {
        let temporary = tempfile::Builder::new()
            .prefix(&prefix(path))
            .suffix(END)
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(folder_of(path))?;
        // Where a file system has no locks, age alone tells leftovers.
        let _ = temporary.as_file().try_lock();
        let path = path.to_owned();
        Ok(Self { temporary, path })
    }

    /// The file to write to.
    pub fn file(&self) -> &File {
        self.temporary.as_file()
    }

    /// Where it is until it has its name.
    pub fn temporary_path(&self) -> &Path {
        self.temporary.path()
    }

    /// Makes it durable and gives it its name; [`io::ErrorKind::AlreadyExists`] if something has that name.
    pub fn publish(self) -> io::Result<()> {
        self.file().sync_all()?;
        let named = self.temporary.persist_noclobber(&self.path);
        // Also where the name is taken: who finds the other file there will rely on it.
        sync_folder(folder_of(&self.path))?;
        named.map(drop).map_err(|error| error.error)
    }
}

/// Removes what a crash left in a folder: temporary files of ours whose maker is gone.
pub fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_ours = entry.file_name().to_str().is_some_and(is_temporary);
        if is_ours && is_left_over(&entry.path(), SystemTime::now()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Creates a folder and those above it, for their owner only, durably.
pub fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder_of(folder);
    create_folders(parent)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(parent),
    }
}

fn prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(MARK);
    prefix
}

fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.contains(MARK) && name.ends_with(END)
}

/// Whether nobody holds its lock, and it is not just being made.
fn is_left_over(path: &Path, now: SystemTime) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    // The change time, which nobody can set: the modification time is the segment's.
    let changed = file.metadata().ok().and_then(|metadata| {
        let seconds = u64::try_from(metadata.ctime()).ok()?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    });
    let age = changed.and_then(|changed| now.duration_since(changed).ok());
    age.is_some_and(|age| age > YOUNG) && file.try_lock().is_ok()
}

/// The folder that holds `path`.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let new = NewFile::create(&path, 0o600).unwrap();
        new.file().write_all(b"content").unwrap();
        assert!(!path.exists());
        assert!(names(folder.path())[0].starts_with(".a.db.walferry-"));
        new.publish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"content");
        assert_eq!(names(folder.path()), ["a.db"]);

        drop(NewFile::create(&path, 0o600).unwrap());
        assert_eq!(
            names(folder.path()),
            ["a.db"],
            "one that is given up leaves nothing"
        );
    }

    #[test]
    fn never_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        fs::write(&path, "first").unwrap();
        let error = NewFile::create(&path, 0o600).unwrap().publish().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(folder.path()), ["a.db"]);
    }

    #[test]
    fn only_old_files_whose_maker_is_gone_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let left = folder.path().join(".a.db.walferry-restore-x.tmp");
        fs::write(&left, "left by a crash").unwrap();
        let kept = NewFile::create(&path, 0o600).unwrap();
        let later = SystemTime::now() + YOUNG * 2;
        assert!(is_left_over(&left, later));
        assert!(!is_left_over(&left, SystemTime::now()), "it is young");
        assert!(!is_left_over(kept.temporary.path(), later), "its maker lives");
        assert!(is_temporary(
            kept.temporary.path().file_name().unwrap().to_str().unwrap()
        ));
        assert!(!is_temporary(".a.db.tmp"));
        sweep(folder.path()).unwrap();
        assert_eq!(names(folder.path()).len(), 2);
    }

    #[test]
    fn folders_are_their_owners() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        create_folders(&deep).unwrap();
        create_folders(&deep).unwrap();
        assert_eq!(fs::metadata(&deep).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
