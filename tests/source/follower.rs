//! Follows a database into an image in memory.

use std::path::Path;

use walferry::ltx::Pgno;
use walferry::native::sqlite::{Committed, Error, Held, Options, Source};
use walferry::wal::Salts;

use crate::application::Place;

pub struct Follower {
    pub source: Source,
    pub image: Vec<u8>,
    salts: Salts,
    frame: u32,
    commit: u32,
    /// How often the WAL was found restarted.
    pub restarts: u32,
}

impl Follower {
    /// Takes the whole database as it is.
    pub fn start(database: &Path) -> Self {
        let mut source = Source::open(database, &Options::default()).expect("open");
        loop {
            let committed = source.committed().expect("committed");
            let view = match source.view(&committed) {
                Ok(view) => view,
                Err(Error::Moved(_)) => continue,
                Err(error) => panic!("{error}"),
            };
            assert_eq!(view.commit(), committed.commit);
            let size = source.page_size().len();
            let mut image = vec![0; committed.commit as usize * size];
            for (page, pgno) in image.chunks_mut(size).zip(1..) {
                source.read_page(Pgno(pgno), view.location(Pgno(pgno)), page).expect("read");
            }
            let Committed { salts, mx_frame: frame, commit, .. } = committed;
            return Self { source, image, salts, frame, commit, restarts: 0 };
        }
    }

    /// Takes what has been committed since, and returns which pages it was.
    pub fn sync(&mut self) -> Vec<u32> {
        let committed = self.source.committed().expect("committed");
        self.take(&committed)
    }

    /// Takes everything up to `committed`.
    pub fn take(&mut self, committed: &Committed) -> Vec<u32> {
        self.try_take(committed).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_take(&mut self, committed: &Committed) -> Result<Vec<u32>, Error> {
        let size = self.source.page_size().len();
        let from = if committed.salts == self.salts { self.frame } else { 0 };
        let pages = self.source.changes(from, self.commit, committed)?;
        assert_eq!(pages.commit(), committed.commit);
        assert_eq!(pages.iter().count(), pages.len());
        assert!(pages.iter().is_sorted_by(|(a, _), (b, _)| a < b));
        self.image.resize(committed.commit as usize * size, 0xee);
        let mut taken = Vec::new();
        for (pgno, location) in pages.iter() {
            let at = (pgno.0 as usize - 1) * size;
            self.source.read_page(pgno, location, &mut self.image[at..at + size])?;
            taken.push(pgno.0);
        }
        self.restarts += u32::from(committed.salts != self.salts);
        (self.salts, self.frame, self.commit) = (committed.salts, committed.mx_frame, committed.commit);
        Ok(taken)
    }

    /// What is in the image.
    pub fn held(&self) -> Held {
        Held { salts: self.salts, frame: self.frame }
    }

    /// Compares the image with the whole database, read anew.
    pub fn assert_complete(&mut self) {
        let committed = self.source.committed().expect("committed");
        self.take(&committed);
        let view = self.source.view(&committed).expect("view");
        let mut page = vec![0; self.source.page_size().len()];
        for (mine, pgno) in self.image.chunks(page.len()).zip(1..) {
            self.source.read_page(Pgno(pgno), view.location(Pgno(pgno)), &mut page).expect("read");
            assert!(mine == page, "page {pgno} differs");
        }
    }

    /// Compares the image with the database file, into which everything was copied back.
    pub fn assert_is_file(&self, place: &Place) {
        let file = place.bytes();
        let size = self.source.page_size().len();
        for ((mine, theirs), pgno) in self.image.chunks(size).zip(file.chunks(size)).zip(1..) {
            assert!(mine == theirs, "page {pgno} differs");
        }
        assert_eq!(self.image.len(), file.len());
    }
}
