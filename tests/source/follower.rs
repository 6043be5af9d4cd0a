//! Follows a database into an image in memory.

use std::path::Path;
use std::time::Duration;

use walferry::ltx::Pgno;
use walferry::native::sqlite::{Checkpointed, Committed, Error, Held, Options, Source};
use walferry::wal::Salts;

use crate::application::Place;

pub(crate) struct Follower {
    pub(crate) source: Source,
    pub(crate) image: Image,
}

/// The pages of a database as of some frame.
pub(crate) struct Image {
    pub(crate) bytes: Vec<u8>,
    salts: Salts,
    frame: u32,
    commit: u32,
    /// How often the WAL was found restarted.
    pub(crate) restarts: u32,
}

impl Follower {
    /// Takes the whole database as it is.
    pub(crate) fn start(database: &Path) -> Self {
        let mut source = Source::open(database, &Options::default()).expect("open");
        loop {
            let committed = source.committed().expect("committed");
            match read_all(&mut source, &committed) {
                Ok(bytes) => {
                    let Committed {
                        salts,
                        mx_frame: frame,
                        commit,
                        ..
                    } = committed;
                    return Self {
                        source,
                        image: Image {
                            bytes,
                            salts,
                            frame,
                            commit,
                            restarts: 0,
                        },
                    };
                }
                // The WAL restarted in between, which nobody could have kept it from.
                Err(Error::Moved(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Takes what has been committed since, and returns which pages it was.
    pub(crate) fn sync(&mut self) -> Vec<u32> {
        let committed = self.source.committed().expect("committed");
        self.image
            .take(&mut self.source, &committed)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// What is in the image.
    pub(crate) fn held(&self) -> Held {
        Held {
            salts: self.image.salts,
            frame: self.image.frame,
        }
    }

    pub(crate) fn checkpoint_passive(&mut self, held: Held) -> Result<Checkpointed, Error> {
        self.source.advance(held)?;
        self.source.checkpoint_passive(held, |_, _| Ok(()))
    }

    /// Takes the rest under the write lock.
    pub(crate) fn checkpoint_locked(&mut self, patience: Duration) -> Result<Checkpointed, Error> {
        let Self { source, image } = self;
        source.checkpoint_locked(patience, |source, committed| {
            image.take(source, committed).map(drop)
        })
    }

    /// Compares the image, brought up to date, with the whole database, read anew.
    pub(crate) fn assert_complete(&mut self) {
        self.sync();
        let committed = self.source.committed().expect("committed");
        let all = read_all(&mut self.source, &committed).expect("read");
        assert_same(&self.image.bytes, &all, self.source.page_size().len());
    }

    /// Compares the image with the database file, into which everything was copied back.
    pub(crate) fn assert_is_file(&self, place: &Place) {
        assert_same(&self.image.bytes, &place.bytes(), self.source.page_size().len());
    }
}

impl Image {
    /// Takes everything up to `committed`.
    pub(crate) fn take(&mut self, source: &mut Source, committed: &Committed) -> Result<Vec<u32>, Error> {
        let size = source.page_size().len();
        let from = if committed.salts == self.salts {
            self.frame
        } else {
            0
        };
        let pages = source.changes(from, self.commit, committed)?;
        assert_eq!(pages.commit(), committed.commit);
        assert_eq!(pages.iter().count(), pages.len());
        assert!(pages.iter().is_sorted_by(|(a, _), (b, _)| a < b));
        self.bytes.resize(committed.commit as usize * size, 0xee);
        let mut taken = Vec::new();
        for (pgno, location) in pages.iter() {
            let at = (pgno.0 as usize - 1) * size;
            source.read_page(pgno, location, &mut self.bytes[at..at + size])?;
            taken.push(pgno.0);
        }
        assert_eq!(pages.is_empty(), taken.is_empty());
        self.restarts += u32::from(committed.salts != self.salts);
        (self.salts, self.frame, self.commit) = (committed.salts, committed.mx_frame, committed.commit);
        Ok(taken)
    }
}

fn read_all(source: &mut Source, committed: &Committed) -> Result<Vec<u8>, Error> {
    let view = source.view(committed)?;
    assert_eq!(view.commit(), committed.commit);
    let size = source.page_size().len();
    let mut bytes = vec![0; committed.commit as usize * size];
    for (page, pgno) in bytes.chunks_mut(size).zip(1..) {
        source.read_page(Pgno(pgno), view.location(Pgno(pgno)), page)?;
    }
    Ok(bytes)
}

fn assert_same(mine: &[u8], theirs: &[u8], page_size: usize) {
    for ((mine, theirs), pgno) in mine.chunks(page_size).zip(theirs.chunks(page_size)).zip(1..) {
        assert!(mine == theirs, "page {pgno} differs");
    }
    assert_eq!(mine.len(), theirs.len(), "the lengths differ");
}
