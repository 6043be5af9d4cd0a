//! What must be true: every state that the application has committed, and what is promised to be safe.

use std::hash::{DefaultHasher, Hash, Hasher};

use walferry::ltx::{Timestamp, Txid};

/// A committed state of the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    pub(crate) at: Timestamp,
    hash: u64,
}

/// All of them, in order.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) states: Vec<State>,
    /// The newest, byte for byte.
    pub(crate) image: Vec<u8>,
}

/// A segment that a replica was given: the last transaction in it, and the time that it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shipped {
    pub(crate) txid: Txid,
    pub(crate) timestamp: Timestamp,
}

impl Model {
    /// The database as a reader sees it now. Committing nothing is no new state.
    pub(crate) fn committed(&mut self, image: Vec<u8>, at: Timestamp) {
        let hash = hash(&image);
        if self.states.last().is_none_or(|last| last.hash != hash) {
            self.states.push(State { at, hash });
            self.image = image;
        }
    }

    /// The clock was set back: nothing was committed later than now.
    pub(crate) fn clock_is_now(&mut self, now: Timestamp) {
        for state in &mut self.states {
            state.at = state.at.min(now);
        }
    }

    /// The number of the newest state.
    pub(crate) fn newest(&self) -> usize {
        self.states.len() - 1
    }

    /// The states that look like this.
    pub(crate) fn like<'a>(&'a self, image: &[u8]) -> impl Iterator<Item = (usize, &'a State)> {
        let wanted = hash(image);
        self.states
            .iter()
            .enumerate()
            .filter(move |(_, state)| state.hash == wanted)
    }

    /// Where an image differs from the newest state.
    pub(crate) fn difference(&self, image: &[u8], page_size: usize) -> String {
        let pages = image.chunks(page_size).zip(self.image.chunks(page_size));
        let differing: Vec<usize> = (1..)
            .zip(pages)
            .filter(|(_, (a, b))| a != b)
            .map(|(pgno, _)| pgno)
            .collect();
        format!(
            "{} pages against {} of the newest state, these differ: {differing:?}",
            image.len() / page_size,
            self.image.len() / page_size
        )
    }
}

fn hash(image: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    image.hash(&mut hasher);
    hasher.finish()
}
