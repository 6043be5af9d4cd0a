//! The whole database from its first byte to its last: for who can only write on.

use std::sync::Arc;

use futures_util::stream::{self, LocalBoxStream, StreamExt};

use super::fetching::reads;
use super::ledger::Ledger;
use super::walk::{Part, Walk};
use super::{Error, Restore, Result, Scratch};
use crate::ltx::DbSum;
use crate::replica::PageSet;

/// Some pages of a database, one after the other.
#[derive(Debug)]
pub struct Piece {
    /// Their bytes; none where only proof was read.
    pub bytes: Vec<u8>,
    /// Their part of the database sum.
    pub sum: DbSum,
}

/// Where the pieces are.
struct Pieces<'w> {
    walk: Option<Walk<'w>>,
    /// The first part of the next window.
    held: Option<Part>,
    /// The first page of this window.
    start: u64,
    ledger: Arc<Ledger>,
    scratch: Scratch,
}

impl Restore<'_> {
    /// The database in order, in pieces of about so many bytes, each in memory once. All of them must be taken, and their
    /// sum goes to [`prove`](Self::prove): what was written before is worth nothing until that says yes.
    pub fn in_order(&self, piece: usize) -> LocalBoxStream<'_, Result<Piece>> {
        let window = piece.checked_div(self.page_size().len()).unwrap_or(1).max(1) as u64;
        let ledger = Arc::<Ledger>::default();
        *self.ledger.borrow_mut() = Arc::clone(&ledger);
        let walk = Walk::new(&self.source, &self.opened, self.mode, PageSet::default());
        match walk {
            Err(error) => stream::iter([Err(error)]).boxed_local(),
            Ok(walk) => {
                let first = Pieces {
                    walk: walk.map(|walk| walk.in_windows(window)),
                    held: None,
                    start: 1,
                    ledger,
                    scratch: Scratch::default(),
                };
                let next = move |pieces| self.next_piece(pieces, window);
                stream::try_unfold(first, next).boxed_local()
            }
        }
    }

    async fn next_piece<'w>(&self, mut at: Pieces<'w>, window: u64) -> Result<Option<(Piece, Pieces<'w>)>> {
        let commit = u64::from(self.commit());
        if at.start > commit && at.walk.is_none() && at.held.is_none() {
            return Ok(None);
        }
        let mut wanted = Vec::new();
        loop {
            match (at.held.take(), &mut at.walk) {
                (Some(part), _) if part.start > at.start => {
                    at.held = Some(part);
                    break;
                }
                (Some(part), _) => wanted.append(&mut reads(&part, self.read)),
                (None, Some(walk)) => match walk.next().await? {
                    Some(part) => at.held = Some(part),
                    None => {
                        self.end(walk, &at.ledger);
                        at.walk = None;
                    }
                },
                (None, None) => break,
            }
        }
        let page_size = self.page_size().len();
        let pages = window.min(commit.saturating_add(1).saturating_sub(at.start));
        let len = usize::try_from(pages)
            .ok()
            .and_then(|pages| pages.checked_mul(page_size));
        let mut bytes = vec![0; len.ok_or_else(|| Error::Incomplete(self.newest().id))?];
        let mut sum = DbSum::EMPTY;
        let fetches = wanted
            .into_iter()
            .map(|read| self.fetch(read, Arc::clone(&at.ledger)));
        let mut chunks = stream::iter(fetches).buffer_unordered(self.parallelism);
        while let Some(chunk) = chunks.next().await {
            sum = sum.join(chunk?.decode(&mut at.scratch, |pgno, _, page| {
                let place = u64::from(pgno.0).saturating_sub(at.start);
                let start = usize::try_from(place)
                    .unwrap_or(usize::MAX)
                    .saturating_mul(page_size);
                let place = bytes.get_mut(start..start.saturating_add(page_size));
                let place = place.ok_or_else(|| Error::Incomplete(self.newest().id))?;
                place.copy_from_slice(page);
                Ok::<_, Error>(())
            })?);
        }
        at.start = at.start.saturating_add(window);
        drop(chunks);
        Ok(Some((Piece { bytes, sum }, at)))
    }
}
