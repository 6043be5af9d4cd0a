//! The upkeep is broken off at every single operation, in every way: the replica is restorable to every moment at any
//! time, and whoever comes next puts it in order.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod segments;
mod upkeep;

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use upkeep::{Kept, simulate};
use walferry::ltx::Txid;
use walferry::native::upkeep::Policy;
use walferry::replica::{Level, SegmentId, SegmentInfo, Target};
use walferry::store::{self, Body, Error, MemoryStore, Source, Store};

const SECOND: Duration = Duration::from_secs(1);

/// How an operation goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It fails, nothing was done.
    Fails,
    /// It is done, and said to have failed.
    DoneButFails,
    /// It never comes back: whoever waits for it is killed.
    Hangs,
    /// It is done and never comes back.
    DoneButHangs,
}

/// Everything happens within a minute instead of days.
fn policy() -> Policy {
    Policy {
        levels: [2, 6, 18].map(Duration::from_secs).to_vec(),
        snapshot_interval: SECOND * 20,
        retention: SECOND * 30,
        raw_retention: SECOND * 2,
        history_window: SECOND * 6,
        grace: SECOND * 5,
        ..Policy::default()
    }
}

#[test]
fn broken_off_at_every_operation() {
    let (operations, orderly) = run(None);
    assert!(operations > 60, "{operations}");
    for fault in [
        Fault::Fails,
        Fault::DoneButFails,
        Fault::Hangs,
        Fault::DoneButHangs,
    ] {
        for at in 0..operations {
            let (_, counts) = run(Some((fault, at)));
            for (level, count) in counts {
                let usual = orderly
                    .iter()
                    .find(|(known, _)| *known == level)
                    .map_or(0, |(_, count)| *count);
                assert!(
                    count <= usual + 3,
                    "{fault:?} at {at}: level {level} holds {count}, not {usual}"
                );
            }
        }
    }
}

/// Damage at the replica that only its upkeep notices: nothing is made of it, and a snapshot leads around it.
#[test]
fn a_damaged_segment_is_left_aside_named_and_led_around() {
    simulate(async {
        let store = Rc::new(MemoryStore::default());
        let mut kept = Kept::over(store.clone(), store.clone(), policy(), 9).await;
        kept.write_every(SECOND, SECOND * 7).await;
        // Without the copies that are kept here.
        kept.handle = None;
        let raw = store.list(Level::RAW, Txid::ZERO).await.unwrap();
        let victim = raw[raw.len() - 2];
        let mut bytes = store.read(victim.id, 0..victim.size).await.unwrap().to_vec();
        bytes[150] ^= 4;
        store.tamper(victim.id, bytes.into());
        kept.reopen().await;
        kept.snapshot_is_due(SECOND * 5).await;
        let failure = kept.status.upkeep_failure.borrow().clone();
        let errors = kept.status.upkeep_errors.get();
        assert!(errors > 0, "{failure:?}");
        let from = kept.txid().0 + 1;
        kept.write_every(SECOND, SECOND * 8).await;
        for txid in from..=kept.txid().0 {
            let restored = kept.restored(Target::Txid(Txid(txid))).await;
            kept.assert_state(restored, txid, "after the snapshot");
        }
        let merged = Level::all().skip(1).take(8);
        for level in merged {
            for info in store.list(level, Txid::ZERO).await.unwrap() {
                assert!(
                    info.id.min > victim.id.max || info.id.max < victim.id.min,
                    "{}",
                    info.id
                );
            }
        }
    });
}

/// A minute and a half of writes with a fault at one operation. Returns how many there were, and what is there then.
fn run(fault: Option<(Fault, u32)>) -> (u32, Vec<(u8, usize)>) {
    simulate(async {
        let store = Rc::new(MemoryStore::default());
        let faulty = Rc::new(Faulty {
            store: store.clone(),
            fault,
            operations: Cell::new(0),
        });
        let mut kept = Kept::over(store, faulty.clone(), policy(), 1).await;
        for round in 0..6 {
            kept.write_every(Duration::from_millis(1300), SECOND * 15).await;
            if round % 2 == 1 {
                kept.every_moment_restores(SECOND * 30, 6).await;
            }
            // Killed, if it hangs, and started again.
            if matches!(fault, Some((Fault::Hangs | Fault::DoneButHangs, at)) if faulty.operations.get() > at)
            {
                kept.reopen().await;
            }
        }
        let operations = faulty.operations.get();
        kept.idle(SECOND * 10).await;
        kept.every_moment_restores(SECOND * 30, 10).await;
        (operations, kept.counts())
    })
}

struct Faulty {
    store: Rc<MemoryStore>,
    fault: Option<(Fault, u32)>,
    operations: Cell<u32>,
}

impl Faulty {
    async fn pass<T>(&self, operation: impl Future<Output = store::Result<T>>) -> store::Result<T> {
        let number = self.operations.get();
        self.operations.set(number + 1);
        let fault = self.fault.filter(|(_, at)| *at == number).map(|(fault, _)| fault);
        let failed = || Error::Unavailable("a fault of the test".to_owned());
        match fault {
            None => operation.await,
            Some(Fault::Fails) => Err(failed()),
            Some(Fault::DoneButFails) => operation.await.and_then(|_| Err(failed())),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::DoneButHangs) => {
                operation.await?;
                std::future::pending().await
            }
        }
    }
}

#[async_trait::async_trait(?Send)]
impl Source for Faulty {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> store::Result<Bytes> {
        self.pass(self.store.read(id, range)).await
    }
}

#[async_trait::async_trait(?Send)]
impl Store for Faulty {
    async fn list(&self, level: Level, after: Txid) -> store::Result<Vec<SegmentInfo>> {
        self.pass(self.store.list(level, after)).await
    }

    async fn stat(&self, id: SegmentId) -> store::Result<Option<SegmentInfo>> {
        self.pass(self.store.stat(id)).await
    }

    async fn create(&self, id: SegmentId, body: &dyn Body) -> store::Result<()> {
        self.pass(self.store.create(id, body)).await
    }

    // One after the other: a deletion of many is broken off between two, too.
    async fn delete(&self, id: SegmentId) -> store::Result<()> {
        self.pass(self.store.delete(id)).await
    }

    async fn delete_all(&self, ids: &[SegmentId]) -> store::Result<()> {
        for &id in ids {
            self.delete(id).await?;
        }
        Ok(())
    }
}
