//! Copies of which only a part is here: what is read is brought, what has come stays, and no crash makes a part a whole.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::ops::Range;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use futures_util::FutureExt;
use proptest::prelude::*;

use super::disk::{Disk, Power, coin, files};
use super::{Database, Files, Reach, again, content, image};
use crate::browser::Error;
use crate::browser::distant::{Far, Mapped};
use crate::browser::file::File;
use crate::browser::test_replica::Replica;
use crate::ltx::{Codec, Pgno, Txid};
use crate::replica::{MapWindow, Position, SegmentId, Target};
use crate::restore::{self, Restore};
use crate::store::{self, MemoryStore, Source, Store};

/// The replica as it was, from afar.
struct Near {
    store: Rc<MemoryStore>,
    target: Target,
    reads: Rc<Cell<u64>>,
}

impl Far for Near {
    fn map(&self, from: Pgno) -> Result<MapWindow, Error> {
        let damage = restore::Damage::default();
        let plan = restore::plan_without(&*self.store, self.target, Txid::ZERO, &damage);
        let plan = plan.now_or_never().unwrap()?;
        let end = from.0.saturating_add(4);
        let map = restore::map(&*self.store, &plan, self.target, from.0..=end, 4);
        Ok(map.now_or_never().unwrap()?)
    }

    fn read(&self, object: SegmentId, range: Range<u64>) -> store::Result<bytes::Bytes> {
        self.reads.set(self.reads.get() + range.end - range.start);
        self.store.read(object, range).now_or_never().unwrap()
    }
}

/// What the replica holds now, and how to come to it.
fn seen(replica: &Replica) -> Rc<MemoryStore> {
    let store = MemoryStore::default();
    for txid in 1..=replica.txid.0 {
        let id = SegmentId::new(crate::replica::Level::RAW, Txid(txid), Txid(txid)).unwrap();
        store
            .create(id, &replica.object(id))
            .now_or_never()
            .unwrap()
            .unwrap();
    }
    Rc::new(store)
}

fn reach(store: &Rc<MemoryStore>, reads: &Rc<Cell<u64>>) -> Reach {
    let (store, reads) = (store.clone(), reads.clone());
    Box::new(move |txid| {
        Rc::new(Near {
            store: store.clone(),
            target: txid.map_or(Target::Latest, Target::Txid),
            reads: reads.clone(),
        })
    })
}

type Copy = Database<Rc<Disk>>;

fn read(copy: &Copy, page: u64) -> Result<Vec<u8>, Error> {
    let mut buffer = vec![0; 512];
    copy.read(512 * page, &mut buffer)?;
    Ok(buffer)
}

fn begin(copy: &Copy, reach: Reach) -> Result<(), Error> {
    copy.begin(Mapped::open(reach(None))?, reach)
}

fn hydrate(copy: &Copy, store: &MemoryStore) -> Result<(), Error> {
    assert!(copy.hydrate(store, 4096, |_| {}).now_or_never().unwrap()?);
    copy.prove(async || ()).now_or_never().unwrap()
}

/// One step of a session: begins, or goes on to the newest state.
fn update(copy: &Copy, store: &Rc<MemoryStore>) -> Result<(), Error> {
    let reads = Rc::default();
    let Some(state) = copy.state() else {
        return begin(copy, reach(store, &reads));
    };
    copy.reach(reach(store, &reads));
    let restore = Restore::prepare(&**store, Target::Latest, state.position());
    if let Some(restore) = restore.now_or_never().unwrap()? {
        copy.fetch(&restore, &mut |_| {}).now_or_never().unwrap()?;
        copy.apply()?;
    }
    Ok(())
}

#[test]
fn a_page_is_brought_when_it_is_read_and_once() {
    for (codec, is_verified) in [(Codec::Deflate, true), (Codec::Lz4Frame, false)] {
        let mut replica = Replica::new(512, codec);
        // Pages of their own, more than a block of neighbours has.
        let pages: Vec<u8> = (0..600).map(|page| page as u8).collect();
        replica.ship(&image(&pages));
        let (store, reads) = (seen(&replica), Rc::default());
        let files = files(&Rc::default());
        let copy = Database::open(again(&files)).unwrap();
        begin(&copy, reach(&store, &reads)).unwrap();
        assert!(!copy.state().unwrap().is_whole);
        assert_eq!(read(&copy, 300).unwrap(), [300u32 as u8; 512]);
        assert_eq!(copy.is_verified(), is_verified);
        copy.reach(reach(&store, &reads));
        assert_eq!(copy.is_verified(), is_verified, "what has come is what it was");
        let before = reads.get();
        assert_eq!(read(&copy, 301).unwrap(), [301u32 as u8; 512]);
        assert_eq!(reads.get(), before, "it came with its neighbour");
        hydrate(&copy, &store).unwrap();
        assert_eq!(
            reads.get(),
            before,
            "what is brought behind is not asked for at once"
        );
        assert!(copy.state().unwrap().is_whole && copy.is_verified());
        assert_eq!(content(&files), image(&pages));
        assert_eq!(files.present.size(), Ok(0));
        let reopened = Database::open(again(&files)).unwrap().state();
        assert_eq!(reopened, copy.state());
    }
}

/// Answers when it is let.
struct Slow {
    store: Rc<MemoryStore>,
    answers: Cell<bool>,
    reads: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Slow {
    fn answer(&self) {
        self.answers.set(true);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

#[async_trait(?Send)]
impl Source for Slow {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> store::Result<bytes::Bytes> {
        self.reads.set(self.reads.get() + 1);
        poll_fn(|context| {
            self.waiting.borrow_mut().push(context.waker().clone());
            match self.answers.get() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        self.store.read(id, range).await
    }
}

#[test]
fn what_is_on_its_way_behind_is_not_brought_twice_and_who_needs_it_is_next() {
    let mut replica = Replica::new(512, Codec::Deflate);
    let pages: Vec<u8> = (0..2000).map(|page| page as u8).collect();
    replica.ship(&image(&pages));
    let (store, reads) = (seen(&replica), Rc::default());
    let files = files(&Rc::default());
    let copy = Database::open(again(&files)).unwrap();
    begin(&copy, reach(&store, &reads)).unwrap();
    // One that is here lies between two that are not.
    read(&copy, 1000).unwrap();
    let before = reads.get();
    let behind = Slow {
        store: store.clone(),
        answers: Cell::new(false),
        reads: Cell::default(),
        waiting: RefCell::default(),
    };
    let mut hydrating = pin!(copy.hydrate(&behind, 1 << 20, |_| {}));
    let context = &mut Context::from_waker(Waker::noop());
    assert!(hydrating.as_mut().poll(context).is_pending());
    assert_eq!(behind.reads.get(), 2);
    for page in [300, 1999] {
        read(&copy, page).unwrap_err();
        assert!(matches!(copy.take_failure(), Some(Error::OnItsWay)));
    }
    assert_eq!(reads.get(), before);
    copy.hold();
    behind.answer();
    let Poll::Ready(Ok(is_all)) = hydrating.as_mut().poll(context) else {
        panic!("it goes on");
    };
    assert!(!is_all, "whoever waits is next");
    for page in [300, 1999] {
        assert_eq!(read(&copy, page).unwrap(), [page as u8; 512]);
    }
    assert_eq!((reads.get(), behind.reads.get()), (before, 2));
    hydrate(&copy, &store).unwrap();
    assert_eq!(content(&files), image(&pages));
}

#[test]
fn where_no_sum_is_promised_a_part_lasts_for_its_life_and_is_completed_by_all_that_proves_it() {
    for damages in [false, true] {
        let mut replica = Replica::new(512, Codec::Lz4Frame);
        replica.promised = false;
        let pages: Vec<u8> = (0..600).map(|page| page as u8).collect();
        let id = replica.ship(&image(&pages));
        replica.ship(&image(&[&[9, 9], &pages[2..]].concat()));
        let newest = image(&[&[9, 9], &pages[2..]].concat());
        let store = seen(&replica);
        let (files, reads) = (files(&Rc::default()), Rc::default());
        let copy = Database::open(again(&files)).unwrap();
        begin(&copy, reach(&store, &reads)).unwrap();
        assert_eq!(read(&copy, 300).unwrap(), [300u32 as u8; 512]);
        let state = copy.state().unwrap();
        assert!(!state.is_whole && state.position().sum.is_none() && !copy.is_verified());
        assert_eq!(Database::open(again(&files)).unwrap().state(), None);
        if damages {
            // In a page that a newer segment brings anew: only the file's checksum sees it.
            let mut bytes = replica.object(id).to_vec();
            bytes[84] ^= 1;
            store.tamper(id, bytes.into());
        }
        let restore = Restore::prepare(&*store, Target::Latest, Position::EMPTY);
        let restore = restore.now_or_never().unwrap().unwrap().unwrap();
        let completed = copy.complete(&restore, |_| {}).now_or_never().unwrap();
        if damages {
            assert!(completed.is_err() && copy.state().is_none());
            assert_eq!(Database::open(again(&files)).unwrap().state(), None);
            continue;
        }
        completed.unwrap();
        assert!(copy.state().unwrap().is_whole && copy.is_verified());
        assert_eq!(content(&files), newest);
        assert_eq!(Database::open(again(&files)).unwrap().state(), copy.state());
    }
}

#[test]
fn a_part_goes_with_the_state_and_shrinks_and_grows_with_it() {
    let mut replica = Replica::new(512, Codec::Lz4);
    let files = files(&Rc::default());
    let copy = Database::open(again(&files)).unwrap();
    let mut last = Vec::new();
    for pages in [
        &[1, 2, 3, 4, 5, 6, 7, 8][..],
        &[1, 2, 9, 4],
        &[1, 2, 9, 4, 5, 5, 5],
        &[1, 3, 9, 4, 5, 5, 7],
    ] {
        replica.ship(&image(pages));
        update(&copy, &seen(&replica)).unwrap();
        assert_eq!(copy.state().unwrap().txid, replica.txid);
        last = pages.to_vec();
    }
    for (page, byte) in last.iter().enumerate().skip(1) {
        assert_eq!(read(&copy, page as u64).unwrap(), [*byte; 512]);
    }
    hydrate(&copy, &seen(&replica)).unwrap();
    assert_eq!(content(&files), image(&last));
}

#[test]
fn what_is_not_what_was_promised_is_no_copy() {
    let mut honest = Replica::new(512, Codec::Deflate);
    let id = honest.ship(&image(&[1, 2, 3]));
    let mut forger = Replica::new(512, Codec::Deflate);
    forger.ship(&image(&[1, 3, 2]));
    let mut bytes = forger.object(id).to_vec();
    bytes[84..100].copy_from_slice(&honest.object(id)[84..100]);
    forger.store.tamper(id, bytes.into());
    let files = files(&Rc::default());
    let copy = Database::open(again(&files)).unwrap();
    let store = seen(&forger);
    update(&copy, &store).unwrap();
    hydrate(&copy, &store).unwrap_err();
    assert_eq!(copy.state(), None);
    assert_eq!(Database::open(again(&files)).unwrap().state(), None);
}

#[test]
fn what_was_merged_and_deleted_meanwhile_is_asked_for_again() {
    let mut replica = Replica::new(512, Codec::Lz4);
    replica.ship(&image(&[1, 2, 3]));
    let old = seen(&replica);
    let files = files(&Rc::default());
    let copy = Database::open(again(&files)).unwrap();
    let reads = Rc::default();
    let newer = seen(&replica);
    let far = Near {
        store: old.clone(),
        target: Target::Latest,
        reads,
    };
    let far = Rc::new(far);
    let whole = Near {
        store: newer.clone(),
        target: Target::Latest,
        reads: Rc::default(),
    };
    let whole: Rc<dyn Far> = Rc::new(whole);
    let first = Cell::new(true);
    let reach: Reach = Box::new(move |_| match first.replace(false) {
        true => far.clone(),
        false => whole.clone(),
    });
    begin(&copy, reach).unwrap();
    let id = SegmentId::new(crate::replica::Level::RAW, Txid(1), Txid(1)).unwrap();
    old.delete(id).now_or_never().unwrap().unwrap();
    assert_eq!(read(&copy, 2).unwrap(), [3; 512]);
    hydrate(&copy, &newer).unwrap();
    assert_eq!(content(&files), image(&[1, 2, 3]));
}

proptest! {
    /// At every step of beginning, bringing, applying and proving, whatever survives of the unflushed writes.
    #[test]
    fn a_crash_leaves_a_part_that_is_true(
        images in proptest::collection::vec(proptest::collection::vec(1u8..5, 1..12), 1..4),
        asked in proptest::collection::vec(0u64..12, 0..4),
        seed: u64,
    ) {
        let mut coin = coin(seed);
        let mut replica = Replica::new(512, Codec::Lz4);
        let power = Rc::new(Power::default());
        let files: Files = files(&power);
        for (at, pages) in images.iter().enumerate() {
            replica.ship(&image(pages));
            let store = seen(&replica);
            let is_last = at + 1 == images.len();
            let mut crash_after = 0;
            loop {
                power.left.set(Some(crash_after));
                let session = || -> Result<(), Error> {
                    let copy = Database::open(again(&files))?;
                    update(&copy, &store)?;
                    for page in asked.iter().filter(|page| **page > 0 && **page < pages.len() as u64) {
                        assert_eq!(read(&copy, *page)?, [pages[*page as usize]; 512]);
                    }
                    assert!(copy.hydrate(&*store, 4096, |_| {}).now_or_never().unwrap()?);
                    match is_last {
                        true => copy.prove(async || ()).now_or_never().unwrap(),
                        false => Ok(()),
                    }
                };
                let done = session();
                power.left.set(None);
                for disk in [&files.db, &files.position, &files.redo, &files.present] {
                    disk.crash(&mut coin);
                }
                if let Some(state) = Database::open(again(&files)).unwrap().state() {
                    prop_assert!(!state.is_whole || is_last);
                    if state.is_whole {
                        prop_assert_eq!(&content(&files), &image(pages));
                    }
                }
                if done.is_ok() {
                    break;
                }
                crash_after += 1;
            }
        }
        prop_assert_eq!(&content(&files), &image(images.last().unwrap()));
        prop_assert!(Database::open(again(&files)).unwrap().state().unwrap().is_whole);
    }
}
