//! Which pages to take, and where each is.

use super::Location;
use crate::ltx::Pgno;
use crate::wal::Changed;

/// The pages that a range of frames changed, where their newest versions are, and those by which the database grew,
/// even if SQLite never wrote them. Memory: the pages written, not the pages grown.
#[derive(Clone, Debug)]
pub struct ChangedPages {
    frames: Overlay,
    changed: Changed,
    lock_page: Pgno,
}

impl ChangedPages {
    pub(super) fn new(changed: Changed, frames: Overlay, lock_page: Pgno) -> Self {
        Self {
            frames,
            changed,
            lock_page,
        }
    }

    /// The size of the database in pages after the last commit.
    pub fn commit(&self) -> u32 {
        self.changed.commit
    }

    /// The smallest size on the way, the first included.
    pub fn lowest_commit(&self) -> u32 {
        self.changed.lowest_commit
    }

    /// How many pages there are.
    pub fn len(&self) -> usize {
        let grown = self.changed.lowest_commit..self.changed.commit;
        let lock = grown.contains(&self.lock_page.0.saturating_sub(1));
        self.written()
            .count()
            .saturating_add(grown.len())
            .saturating_sub(usize::from(lock))
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The pages, ascending, without the lock page.
    pub fn iter(&self) -> impl Iterator<Item = (Pgno, Location)> + '_ {
        let grown = self.changed.lowest_commit.saturating_add(1)..=self.changed.commit;
        let grown = grown.map(Pgno).filter(|&pgno| pgno != self.lock_page);
        self.written()
            .chain(grown)
            .map(|pgno| (pgno, self.frames.location(pgno)))
    }

    /// Where these pages are; of any other it tells nothing.
    pub fn into_view(self) -> View {
        View::new(self.changed.commit, self.frames)
    }

    /// Those that were there all the time.
    fn written(&self) -> impl Iterator<Item = Pgno> + '_ {
        let pages = self.changed.newest.iter().map(|&(pgno, _)| pgno);
        pages.take_while(|pgno| pgno.0 <= self.changed.lowest_commit)
    }
}

/// The whole database at one commit.
#[derive(Clone, Debug)]
pub struct View {
    frames: Overlay,
    commit: u32,
}

impl View {
    pub(super) fn new(commit: u32, frames: Overlay) -> Self {
        Self { frames, commit }
    }

    /// The size of the database in pages.
    pub fn commit(&self) -> u32 {
        self.commit
    }

    /// Where a page is.
    pub fn location(&self, pgno: Pgno) -> Location {
        self.frames.location(pgno)
    }
}

/// The frames that lie over the database file: those not copied back, the newest of each page, by page.
#[derive(Clone, Debug)]
pub(super) struct Overlay(Vec<(Pgno, u32)>);

impl Overlay {
    /// Of the frames beyond `backfilled`, the newest of each page; `newest` is ascending.
    ///
    /// Frames that are copied back are left out, as SQLite's readers leave them out: the file has the same page.
    /// Not always, and then the file is right: a page cut off by a checkpoint of a smaller database is not in it,
    /// and stays zeros when the database grows again without writing it.
    pub(super) fn new(mut newest: Vec<(Pgno, u32)>, backfilled: u32) -> Self {
        newest.retain(|&(_, frame)| frame > backfilled);
        Self(newest)
    }

    fn location(&self, pgno: Pgno) -> Location {
        let at = self.0.binary_search_by_key(&pgno, |&(pgno, _)| pgno);
        match at.ok().and_then(|at| self.0.get(at)) {
            Some(&(_, frame)) => Location::Frame(frame),
            None => Location::File,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(lowest_commit: u32, commit: u32, newest: &[(u32, u32)], lock_page: u32) -> ChangedPages {
        let newest: Vec<_> = newest.iter().map(|&(pgno, frame)| (Pgno(pgno), frame)).collect();
        let frames = Overlay::new(newest.clone(), 2);
        ChangedPages::new(
            Changed {
                commit,
                lowest_commit,
                newest,
            },
            frames,
            Pgno(lock_page),
        )
    }

    #[test]
    fn grown_pages_follow_written_ones_without_the_lock_page() {
        let changed = pages(4, 8, &[(1, 9), (3, 2), (6, 5)], 7);
        let expected = [
            (Pgno(1), Location::Frame(9)),
            // Frame 2 is copied back.
            (Pgno(3), Location::File),
            (Pgno(5), Location::File),
            (Pgno(6), Location::Frame(5)),
            (Pgno(8), Location::File),
        ];
        assert!(changed.iter().eq(expected));
        assert_eq!(changed.len(), 5);
    }

    #[test]
    fn the_lock_page_is_counted_only_where_it_grew() {
        for (lowest, commit, len) in [(4, 8, 3), (4, 5, 1), (5, 6, 0), (6, 8, 2), (4, 4, 0), (8, 4, 0)] {
            let changed = pages(lowest, commit, &[], 6);
            assert_eq!(
                (changed.iter().count(), changed.len()),
                (len, len),
                "{lowest} to {commit}"
            );
            assert_eq!(changed.is_empty(), len == 0);
        }
    }
}
