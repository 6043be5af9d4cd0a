//! A database as a list of states, and the replicas that can be made of it.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::FutureExt;
use walferry::ltx::{Codec, DbSum, Header, PageCrc, PageSize, Pgno, Sums, Timestamp, Txid};
use walferry::replica::{Level, Position, SegmentId};
use walferry::store::{MemoryStore, Source, Store};

use super::content::{Fill, Random};
use super::encode;

/// The pages of a database, from page 1.
pub type State = Vec<Vec<u8>>;

/// What an application did to a database.
#[derive(Clone, Debug)]
pub struct History {
    pub page_size: PageSize,
    /// State 0 is empty; after transaction `n` the database is in state `n`.
    pub states: Vec<State>,
    /// The pages that each transaction wrote, among them all by which the database grew.
    pub written: Vec<BTreeSet<u32>>,
}

impl History {
    /// Random transactions that change pages, grow the database, shrink it, and grow it again.
    pub fn random(page_size: u32, transactions: usize, random: &mut Random) -> Self {
        let page_size = PageSize::new(page_size).unwrap();
        let mut history = Self {
            page_size,
            states: vec![Vec::new()],
            written: vec![BTreeSet::new()],
        };
        for _ in 0..transactions {
            let mut state = history.states.last().unwrap().clone();
            let mut written = BTreeSet::new();
            let old_len = state.len();
            let new_len = match random.below(5) {
                _ if old_len == 0 => 1 + random.below(20),
                0 => old_len + 1 + random.below(12),
                1 => 1 + random.below(old_len),
                _ => old_len,
            };
            state.resize(new_len, Vec::new());
            written.extend(old_len as u32 + 1..=new_len as u32);
            for _ in 0..random.below(6) {
                written.insert(1 + random.below(new_len) as u32);
            }
            for &pgno in &written {
                let seed = random.next();
                let fill = match seed % 8 {
                    0 => Fill::Zeros,
                    1 => Fill::Noise(seed),
                    2 => Fill::Byte(seed as u8),
                    _ => Fill::Rows(seed),
                };
                state[pgno as usize - 1] = fill.page(page_size.len());
            }
            history.states.push(state);
            history.written.push(written);
        }
        history
    }

    /// Four transactions on pages of 512 bytes: the second changes pages, the third grows the database, the fourth shrinks it.
    pub fn small() -> Self {
        let mut history = History::random(512, 0, &mut Random(1));
        let page = |pgno: u32, txid: u64| match pgno {
            3 => Fill::Zeros,
            7 => Fill::Noise(u64::from(pgno) << 32 | txid),
            _ => Fill::Rows(u64::from(pgno) << 32 | txid),
        };
        let mut state: State = Vec::new();
        for (txid, len, written) in [
            (1, 9, vec![1, 2, 3, 4, 5, 6, 7, 8, 9]),
            (2, 9, vec![1, 5]),
            (3, 11, vec![1, 4, 10, 11]),
            (4, 10, vec![1, 4, 6]),
        ] {
            state.resize(len, Vec::new());
            for &pgno in &written {
                state[pgno as usize - 1] = page(pgno, txid).page(512);
            }
            history.states.push(state.clone());
            history.written.push(written.into_iter().collect());
        }
        history
    }

    pub fn last(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    pub fn sum(&self, txid: u64) -> DbSum {
        sum(&self.states[txid as usize])
    }

    pub fn position(&self, txid: u64) -> Position {
        Position {
            txid: Txid(txid),
            sum: Some(self.sum(txid)),
        }
    }

    pub fn time(txid: u64) -> Timestamp {
        Timestamp(1_700_000_000_000 + 1000 * txid as i64)
    }

    pub fn header(&self, min: u64, max: u64, promised: bool) -> Header {
        let sums = promised.then(|| Sums {
            before: self.sum(min - 1),
            after: self.sum(max),
        });
        let commit = self.states[max as usize].len() as u32;
        Header::new(
            self.page_size,
            commit,
            (Txid(min), Txid(max)),
            Self::time(max),
            sums,
        )
    }

    /// The pages of a segment of these transactions, as a compaction leaves them.
    pub fn pages(&self, min: u64, max: u64) -> Vec<(Pgno, &[u8])> {
        let state = &self.states[max as usize];
        let written = &self.written[min as usize..=max as usize];
        let changed = |pgno: u32| min == 1 || written.iter().any(|pages| pages.contains(&pgno));
        (1..=state.len() as u32)
            .filter(|&pgno| changed(pgno))
            .map(|pgno| (Pgno(pgno), &state[pgno as usize - 1][..]))
            .collect()
    }

    pub fn segment(&self, min: u64, max: u64, codec: Codec, promised: bool) -> Bytes {
        let header = self.header(min, max, promised);
        encode(&header, codec, self.pages(min, max)).unwrap().into()
    }
}

/// Snapshot, and a segment for each transaction.
pub fn replica(history: &History, codec: Codec, promised: bool) -> MemoryStore {
    let store = MemoryStore::default();
    for txid in 1..=history.last() {
        let level = if txid == 1 { 9 } else { 0 };
        create(
            &store,
            id(level, txid, txid),
            &history.segment(txid, txid, codec, promised),
        );
    }
    store
}

pub fn sum(state: &[Vec<u8>]) -> DbSum {
    (1..).zip(state).fold(DbSum::EMPTY, |sum, (pgno, page)| {
        sum.plus(PageCrc::of(Pgno(pgno), page))
    })
}

pub fn id(level: u8, min: u64, max: u64) -> SegmentId {
    SegmentId::new(Level::new(level).unwrap(), Txid(min), Txid(max)).unwrap()
}

pub fn create(store: &MemoryStore, id: SegmentId, bytes: &Bytes) {
    store.create(id, bytes).now_or_never().unwrap().unwrap();
}

pub fn read(store: &MemoryStore, id: SegmentId) -> Bytes {
    let size = store.stat(id).now_or_never().unwrap().unwrap().unwrap().size;
    store.read(id, 0..size).now_or_never().unwrap().unwrap()
}

pub fn delete(store: &MemoryStore, id: SegmentId) {
    store.delete(id).now_or_never().unwrap().unwrap();
}

/// Every object of a store.
pub fn objects(store: &MemoryStore) -> Vec<SegmentId> {
    Level::all()
        .flat_map(|level| store.list(level, Txid::ZERO).now_or_never().unwrap().unwrap())
        .map(|info| info.id)
        .collect()
}
