//! The sum of every page of a database, in the SQLite of its object.
//!
//! There, for a commit changes a few blocks: a row is written for a thousandth of a cent each, and with the head or not
//! at all. An object of R2 would be written whole, at most once a second, for more than four times that.
//!
//! The table says of which state it is. If segments came otherwise meanwhile, or a life of the object ended between the
//! head and the table, it catches up from the segments, which carry the sums. An upload looks at it block by block, while
//! others may move it on: no block is taken of another state than those before.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::ltx::{DbSum, Decoder, Event, PageCrc, Pgno, Txid};
use crate::replica::{Position, SegmentInfo, Target, plan};
use crate::store::Source;
use crate::worker::failure::Failure;
use crate::worker::head::Head;
use crate::worker::ledger::Ledger;
use crate::worker::replica::Replica;

/// Pages a block: 32 KiB.
const BLOCK: u32 = 4096;
const ENTRY: usize = 8;
/// What is read of a segment at once.
const PIECE: u64 = 1 << 20;
/// The ledger's note of the state that the table is of.
const NOTE: &str = "page_sums";

/// The table, as far as it was looked at. Memory: 8 bytes for each page beside those.
#[derive(Debug)]
pub(super) struct PageSums {
    ledger: Rc<Ledger>,
    /// The state of which the ledger's table was when it was first looked at, or last written.
    of: Option<Position>,
    blocks: BTreeMap<u32, Block>,
    /// The size of the database in pages.
    commit: u32,
    /// The sum of all.
    pub(super) sum: DbSum,
}

#[derive(Debug)]
struct Block {
    sums: Vec<u8>,
    is_changed: bool,
}

impl PageSums {
    /// The table of the state where the replica stands.
    pub(super) async fn at(replica: &Replica, head: &Head) -> Result<Self, Failure> {
        let ledger = replica.ledger.clone();
        let noted = ledger.note::<(Position, u32)>(NOTE)?;
        let mut table = Self {
            ledger,
            of: noted.map(|(position, _)| position),
            blocks: BTreeMap::new(),
            commit: noted.map_or(0, |(_, commit)| commit),
            sum: noted.and_then(|(position, _)| position.sum).unwrap_or_default(),
        };
        if noted.is_some_and(|(position, _)| position == head.position) {
            return Ok(table);
        }
        if head.position == Position::EMPTY {
            table.forget()?;
            return Ok(table);
        }
        let from = noted.map_or(Txid::ZERO, |(position, _)| position.txid);
        if from > Txid::ZERO && from < head.position.txid && table.follow(replica, from).await.is_ok() {
            table.cut(head.commit)?;
        }
        if table.sum != head.position.sum.unwrap_or_default() || from >= head.position.txid {
            table.forget()?;
            table.follow(replica, Txid::ZERO).await?;
            table.cut(head.commit)?;
        }
        if head.position.sum != Some(table.sum) {
            let message = "The sums of the pages do not add up to what the newest segment says.";
            return Err(Failure::new(500, "replica_damaged", message));
        }
        table.save(head.position)?;
        Ok(table)
    }

    /// The sum of a page, 0 if there is none: that adds nothing to the sum of all.
    pub(super) fn get(&mut self, pgno: Pgno) -> Result<PageCrc, Failure> {
        let (block, at) = place(pgno);
        let block = self.block(block)?;
        let sum = block.sums.get(at..).and_then(|rest| rest.first_chunk());
        Ok(PageCrc(sum.copied().map_or(0, u64::from_be_bytes)))
    }

    pub(super) fn set(&mut self, pgno: Pgno, sum: PageCrc) -> Result<(), Failure> {
        let before = self.get(pgno)?;
        if before == sum {
            return Ok(());
        }
        self.sum = self.sum.minus(before).plus(sum);
        self.commit = self.commit.max(pgno.0);
        let (block, at) = place(pgno);
        let block = self.block(block)?;
        block.is_changed = true;
        if let Some(slot) = block.sums.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *slot = sum.0.to_be_bytes();
        }
        Ok(())
    }

    /// Takes out the pages beyond the end of the database.
    pub(super) fn cut(&mut self, commit: u32) -> Result<(), Failure> {
        for pgno in commit.saturating_add(1)..=self.commit {
            self.set(Pgno(pgno), PageCrc(0))?;
        }
        self.commit = commit;
        Ok(())
    }

    /// Notes the table as that of this state, unless another has moved it on: then it catches up later.
    pub(super) fn save(&mut self, position: Position) -> Result<(), Failure> {
        if !self.is_same()? {
            return Ok(());
        }
        for (&number, block) in &mut self.blocks {
            if std::mem::take(&mut block.is_changed) {
                self.ledger.set_sum_block(number, block.sums.clone())?;
            }
        }
        let (last, _) = place(Pgno(self.commit.max(1)));
        self.ledger.drop_sum_blocks(last.saturating_add(1))?;
        self.of = Some(position);
        self.ledger.set_note(NOTE, &(position, self.commit))
    }

    /// Whether the ledger's table is still of the same state.
    fn is_same(&self) -> Result<bool, Failure> {
        let noted = self.ledger.note::<(Position, u32)>(NOTE)?;
        Ok(noted.map(|(position, _)| position) == self.of)
    }

    fn forget(&mut self) -> Result<(), Failure> {
        self.ledger.drop_sum_blocks(0)?;
        self.ledger.forget_note(NOTE)?;
        self.of = None;
        self.blocks.clear();
        (self.commit, self.sum) = (0, DbSum::EMPTY);
        Ok(())
    }

    /// Goes on by the segments that lead from there to the newest state.
    async fn follow(&mut self, replica: &Replica, from: Txid) -> Result<(), Failure> {
        let segments = replica.ledger.all(None, from)?;
        let plan = plan(&segments, Target::Latest, from);
        let plan = plan.map_err(|error| Failure::passing("replica_moved", format!("{error}; try again.")))?;
        for segment in &plan.segments {
            self.take(replica, segment).await?;
        }
        Ok(())
    }

    async fn take(&mut self, replica: &Replica, segment: &SegmentInfo) -> Result<(), Failure> {
        let mut decoder = Decoder::new();
        let mut at = 0;
        let mut commit = self.commit;
        while at < segment.size {
            let end = at.saturating_add(PIECE).min(segment.size);
            decoder.push(&replica.store.read(segment.id, at..end).await?);
            at = end;
            while let Some(event) = decoder.next()? {
                match event {
                    Event::Header(header) => commit = header.commit,
                    Event::Page(page) => self.set(page.pgno, page.crc)?,
                    Event::End(_) => {}
                }
            }
        }
        decoder.finish()?;
        self.cut(commit)
    }

    fn block(&mut self, number: u32) -> Result<&mut Block, Failure> {
        use std::collections::btree_map::Entry;
        if !self.blocks.contains_key(&number) && !self.is_same()? {
            let message = "The replica moved while its pages were compared; try again.";
            return Err(Failure::passing("replica_moved", message));
        }
        match self.blocks.entry(number) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let mut sums = self.ledger.sum_block(number)?.unwrap_or_default();
                sums.resize(BLOCK as usize * ENTRY, 0);
                Ok(place.insert(Block {
                    sums,
                    is_changed: false,
                }))
            }
        }
    }
}

/// The block of a page, and where in it.
fn place(Pgno(pgno): Pgno) -> (u32, usize) {
    let at = pgno.saturating_sub(1);
    (at / BLOCK, (at % BLOCK) as usize * ENTRY)
}
