//! What is remembered between runs: which state of the database was confirmed, and where in the WAL it ends.
//!
//! Losing it costs a comparison of all pages, never data: it is a hint that is believed only where the replica's
//! position and the WAL itself agree with it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crc::{CRC_64_XZ, Crc};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::Error;
use crate::ltx::{PageSize, Timestamp};
use crate::native::sqlite::{Committed, Held};
use crate::replica::Position;
use crate::wal::{Checksum, Salts};

const POSITION: &str = "position.json";
const PAGE_SUMS: &str = "page-sums";
const IDENTITY: &str = "identity";

/// A state of the database: where the replica stands with it, and where it was in the WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) position: Position,
    pub(super) timestamp: Timestamp,
    /// Size of the database in pages.
    pub(super) commit: u32,
    /// `None` where it was in no WAL, or is not known.
    pub(super) wal: Option<WalMark>,
}

/// A place in the WAL, provable later: the frame's cumulative checksum depends on all bytes before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WalMark {
    pub(super) salts: Salts,
    /// The last frame of the state; 0 before the first.
    pub(super) frame: u32,
    pub(super) checksum: Checksum,
}

impl WalMark {
    /// The newest commit.
    pub(super) fn newest(committed: &Committed) -> Self {
        Self {
            salts: committed.salts,
            frame: committed.mx_frame,
            checksum: committed.frame_checksum,
        }
    }

    /// All before it, and itself.
    pub(super) fn held(&self) -> Held {
        Held {
            salts: self.salts,
            frame: self.frame,
        }
    }
}

/// The content of the state file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marks {
    /// What the replica has confirmed.
    pub(super) confirmed: Option<Mark>,
    /// What was being sent when this was written: the replica may have it or not.
    pub(super) sent: Option<Mark>,
}

impl Marks {
    /// The mark that the replica stands at, if it is one of these.
    pub(super) fn at(&self, head: Position) -> Option<Mark> {
        [self.sent, self.confirmed]
            .into_iter()
            .flatten()
            .find(|mark| head.sum.is_some() && mark.position == head)
    }
}

/// The folder of one database's local state, owned by one process at a time.
#[derive(Debug)]
pub(super) struct StateFolder {
    path: PathBuf,
    /// Its lock is the ownership; it goes with the process, however that ends.
    _lock: File,
}

impl StateFolder {
    /// `.<database>-walferry` next to the database.
    pub(super) fn beside(database: &Path) -> PathBuf {
        let name = database.file_name().unwrap_or_default().to_string_lossy();
        database.with_file_name(format!(".{name}-walferry"))
    }

    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        let io = |what: &str, source| Error::Io {
            what: format!("{what} {}", path.display()),
            source,
        };
        // What waits in it is the database: nobody else may read it.
        fs::create_dir_all(&path)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o700)))
            .map_err(|error| io("cannot create the folder for local state", error))?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(|error| io("cannot open the lock in", error))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::InUse(path)),
            Err(errno) => Err(io("cannot lock", errno.into())),
        }
    }

    /// Where the state of a replica is. `first` tells the one that was there before a database could have several: what
    /// was kept for it then is moved here.
    pub(super) fn replica(&self, name: &str, first: bool) -> Result<ReplicaState, Error> {
        let hash = Crc::<u64>::new(&CRC_64_XZ).checksum(name.as_bytes());
        let path = self.path.join(format!("replica-{hash:016x}"));
        let failed = |source| Error::Io {
            what: format!("cannot create the folder for local state {}", path.display()),
            source,
        };
        if !path.exists() {
            fs::create_dir(&path).map_err(failed)?;
            if first {
                for file in [POSITION, PAGE_SUMS] {
                    match fs::rename(self.path.join(file), path.join(file)) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                        _ => {}
                    }
                }
            }
        }
        Ok(ReplicaState { path })
    }

    /// The identity of the database, if one was kept, whole.
    pub(super) fn identity(&self) -> Option<String> {
        Self::identity_in(&self.path)
    }

    /// The same, whoever owns the folder now.
    pub(super) fn identity_in(path: &Path) -> Option<String> {
        let text = fs::read_to_string(path.join(IDENTITY)).ok()?;
        let id = text.trim();
        let is_whole = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_whole.then(|| id.to_owned())
    }

    /// Keeps the identity of the database.
    pub(super) fn keep_identity(&self, id: &str) -> Result<(), Error> {
        let path = self.path.join(IDENTITY);
        let temporary = path.with_extension("new");
        let write = || {
            let mut file = File::create(&temporary)?;
            writeln!(file, "{id}")?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|source| Error::Io {
            what: format!("cannot write {}", path.display()),
            source,
        })
    }
}

/// The local state of one replica.
#[derive(Debug)]
pub(super) struct ReplicaState {
    path: PathBuf,
}

impl ReplicaState {
    pub(super) fn page_sums(&self) -> PathBuf {
        self.path.join(PAGE_SUMS)
    }

    /// Where what is too large for memory waits until it is confirmed.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The marks; none where the file is missing or damaged, which only costs a comparison.
    pub(super) fn load(&self, page_size: PageSize) -> Marks {
        let text = fs::read(self.path.join(POSITION)).unwrap_or_default();
        let saved: Option<Saved> = serde_json::from_slice(&text).ok();
        saved
            .filter(|saved| saved.page_size == page_size)
            .map(|saved| saved.marks)
            .unwrap_or_default()
    }

    pub(super) fn save(&self, page_size: PageSize, marks: Marks) -> io::Result<()> {
        let temporary = self.path.join("position.json.new");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(&Saved { page_size, marks })?)?;
        fs::rename(&temporary, self.path.join(POSITION))
    }
}

#[derive(Serialize, Deserialize)]
struct Saved {
    page_size: PageSize,
    #[serde(flatten)]
    marks: Marks,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ltx::{DbSum, Txid};

    fn mark(txid: u64) -> Mark {
        let position = Position {
            txid: Txid(txid),
            sum: Some(DbSum(txid * 3)),
        };
        let wal = Some(WalMark {
            salts: Salts([1, 2]),
            frame: 3,
            checksum: Checksum { s1: 4, s2: 5 },
        });
        Mark {
            position,
            timestamp: Timestamp(7),
            commit: 9,
            wal,
        }
    }

    #[test]
    fn what_was_saved_is_loaded_and_damage_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = StateFolder::open(folder.path().join("state")).unwrap();
        let state = root.replica("file:///replica", false).unwrap();
        let size = PageSize::new(4096).unwrap();
        assert_eq!(state.load(size), Marks::default());
        let marks = Marks {
            confirmed: Some(mark(1)),
            sent: Some(mark(2)),
        };
        state.save(size, marks).unwrap();
        assert_eq!(state.load(size), marks);
        assert_eq!(state.load(PageSize::new(512).unwrap()), Marks::default());
        fs::write(state.path().join(POSITION), b"{\"confirmed\":").unwrap();
        assert_eq!(state.load(size), Marks::default());
    }

    #[test]
    fn each_replica_has_its_own_and_the_first_inherits() {
        let folder = tempfile::tempdir().unwrap();
        let root = StateFolder::open(folder.path().join("state")).unwrap();
        let size = PageSize::new(4096).unwrap();
        let marks = Marks {
            confirmed: Some(mark(7)),
            sent: None,
        };
        let before = ReplicaState {
            path: root.path.clone(),
        };
        before.save(size, marks).unwrap();
        let [first, second] =
            ["file:///a", "file:///b"].map(|name| root.replica(name, name.ends_with('a')).unwrap());
        assert_eq!(first.load(size), marks);
        assert_eq!(second.load(size), Marks::default());
        assert_eq!(before.load(size), Marks::default());
        assert_eq!(root.replica("file:///a", true).unwrap().load(size), marks);
    }

    #[test]
    fn a_mark_is_believed_only_at_the_same_position() {
        let marks = Marks {
            confirmed: Some(mark(1)),
            sent: Some(mark(2)),
        };
        assert_eq!(marks.at(mark(1).position), Some(mark(1)));
        assert_eq!(marks.at(mark(2).position), Some(mark(2)));
        assert_eq!(
            marks.at(Position {
                txid: Txid(2),
                sum: Some(DbSum(1))
            }),
            None
        );
        assert_eq!(
            marks.at(Position {
                txid: Txid(2),
                sum: None
            }),
            None
        );
    }

    #[test]
    fn a_second_process_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _first = StateFolder::open(folder.path().join("state")).unwrap();
        assert!(matches!(
            StateFolder::open(folder.path().join("state")),
            Err(Error::InUse(_))
        ));
    }
}
