use std::cell::Cell;
use std::rc::Rc;

use futures_util::FutureExt;

use super::*;
use crate::browser::test_replica::Replica;
use crate::ltx::{Codec, Txid};
use crate::replica::{MapWindow, SegmentId, Target};
use crate::restore;
use crate::store::{self, MemoryStore, Source, Store};

/// A replica in memory, as far away as it can be counted.
struct Near<'a> {
    store: &'a MemoryStore,
    target: Target,
    /// Pages of a window.
    window: u32,
    reads: Cell<u32>,
    bytes: Cell<u64>,
}

impl Far for Near<'_> {
    fn map(&self, from: Pgno) -> Result<MapWindow, Error> {
        let damage = restore::Damage::default();
        let plan = restore::plan_without(self.store, self.target, Txid::ZERO, &damage);
        let plan = plan.now_or_never().unwrap()?;
        let end = from.0.saturating_add(self.window - 1);
        let map = restore::map(self.store, &plan, self.target, from.0..=end, 4);
        Ok(map.now_or_never().unwrap()?)
    }

    fn read(&self, object: SegmentId, range: std::ops::Range<u64>) -> store::Result<bytes::Bytes> {
        self.reads.set(self.reads.get() + 1);
        self.bytes.set(self.bytes.get() + range.end - range.start);
        self.store.read(object, range).now_or_never().unwrap()
    }
}

fn near(replica: &Replica, target: Target, window: u32) -> Rc<Near<'_>> {
    Rc::new(Near {
        store: &replica.store,
        target,
        window,
        reads: Cell::new(0),
        bytes: Cell::new(0),
    })
}

/// So many pages of `page_size`, each unlike the others.
fn pages(count: usize, page_size: usize, salt: u8) -> Vec<u8> {
    let mut state = 1u32 + u32::from(salt);
    let bytes = (0..count * page_size).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8 & 0x3f
    });
    bytes.collect()
}

fn size(replica: &Replica, id: SegmentId) -> u64 {
    let stat = replica.store.stat(id).now_or_never().unwrap();
    stat.unwrap().unwrap().size
}

fn read(distant: &Distant<Rc<Near<'_>>>, offset: u64, len: usize) -> Vec<u8> {
    let mut buffer = vec![0; len];
    let read = distant.read(offset, &mut buffer).unwrap();
    buffer.truncate(read);
    buffer
}

#[test]
fn every_page_is_that_of_its_state_though_the_map_comes_in_windows() {
    for codec in Codec::ALL {
        let mut replica = Replica::new(512, codec);
        let first = pages(700, 512, 1);
        let mut second = first[..600 * 512].to_vec();
        second[512 * 77..512 * 78].fill(9);
        replica.ship(&first);
        replica.ship(&second);
        for (target, expected) in [(Target::Txid(Txid(1)), &first), (Target::Latest, &second)] {
            let distant = Distant::open(near(&replica, target, 100)).unwrap();
            assert_eq!(distant.size().unwrap(), expected.len() as u64);
            let mut all = read(&distant, 0, expected.len() + 10);
            let mut expected = expected.clone();
            for served in [18..20, 24..32, 92..96] {
                all[served.clone()].fill(0);
                expected[served].fill(0);
            }
            assert!(all == expected, "{codec:?} {target:?}");
            assert_eq!(read(&distant, 512 * 77 + 500, 24).len(), 24);
            assert_eq!(distant.is_verified(), codec.has_check());
        }
    }
}

#[test]
fn a_lookup_brings_little_and_a_scan_few_reads() {
    let mut replica = Replica::new(4096, Codec::Deflate);
    let database = pages(8000, 4096, 1);
    replica.ship(&database);
    let near = near(&replica, Target::Latest, 64 * 1024);
    let distant = Distant::open(near.clone()).unwrap();
    read(&distant, 0, 100);
    read(&distant, 4096 * 5000, 4096);
    read(&distant, 4096 * 5001, 4096);
    assert_eq!(near.reads.get(), 2);
    assert!(
        near.bytes.get() < database.len() as u64 / 100,
        "{}",
        near.bytes.get()
    );
    for page in 0..8000 {
        read(&distant, 4096 * page, 4096);
    }
    // 32 MB in reads of 1 MiB, after a few that grow.
    assert!(near.reads.get() < 48, "{}", near.reads.get());
    let before = near.reads.get();
    read(&distant, 4096 * 7999, 4096);
    assert_eq!(near.reads.get(), before, "what has come stays");
}

#[test]
fn what_came_for_lookups_does_not_cut_a_scan_to_pieces() {
    let mut replica = Replica::new(4096, Codec::Deflate);
    let id = replica.ship(&pages(8000, 4096, 1));
    let near = near(&replica, Target::Latest, 64 * 1024);
    let distant = Distant::open(near.clone()).unwrap();
    for lookup in 0..50 {
        read(&distant, 4096 * (lookup * 2_654_435_761 % 8000), 100);
    }
    let (lookups, bytes) = (near.reads.get(), near.bytes.get());
    assert!(lookups <= 50);
    for page in 0..8000 {
        read(&distant, 4096 * page, 4096);
    }
    assert!(near.reads.get() - lookups < 25, "{}", near.reads.get());
    let size = size(&replica, id);
    assert!(near.bytes.get() < size + bytes, "{} of {size}", near.bytes.get());
}

#[test]
fn what_is_kept_is_bounded_and_what_gave_way_comes_again() {
    let mut replica = Replica::new(65_536, Codec::Stored);
    let database = pages(1200, 65_536, 3);
    replica.ship(&database);
    let near = near(&replica, Target::Latest, 64 * 1024);
    let distant = Distant::open(near.clone()).unwrap();
    for page in (0..1200).chain(0..1200) {
        let start = 65_536 * page as usize;
        assert!(read(&distant, 65_536 * page + 100, 100) == database[start + 100..start + 200]);
    }
    assert!(distant.blocks.borrow().len() * 65_536 <= KEPT);
    assert!(near.bytes.get() > database.len() as u64, "some of it came twice");
}

#[test]
fn a_damaged_page_is_refused_with_its_segment() {
    let mut replica = Replica::new(4096, Codec::Deflate);
    let id = replica.ship(&pages(100, 4096, 1));
    let size = size(&replica, id);
    let mut bytes = replica
        .store
        .read(id, 0..size)
        .now_or_never()
        .unwrap()
        .unwrap()
        .to_vec();
    bytes[5000] ^= 1;
    replica.store.delete(id).now_or_never().unwrap().unwrap();
    let bytes = bytes::Bytes::from(bytes);
    replica.store.create(id, &bytes).now_or_never().unwrap().unwrap();
    let distant = Distant::open(near(&replica, Target::Latest, 1000)).unwrap();
    let mut buffer = vec![0; 4096];
    let failed = (0..100).filter(|page| distant.read(4096 * page, &mut buffer).is_err());
    assert!(failed.count() > 0);
    let failure = distant.take_failure().unwrap();
    assert_eq!(failure.code(), "DAMAGED");
    assert!(failure.to_string().contains(&id.to_string()), "{failure}");
}
