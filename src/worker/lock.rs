//! One writer of a database at a time.
//!
//! The runtime's own gates let other requests in while R2 is waited for. And a request may end without running
//! another line of its code: a lock that is held for too long is void, and whoever held it finds that out before
//! it commits.

use std::cell::Cell;
use std::time::Duration;

use worker::Delay;

use super::clock;
use super::failure::Failure;

/// No single step under the lock takes as long, for none waits for a client.
const LEASE_MS: u64 = 60_000;
/// Who waits for longer is told to come again.
const PATIENCE_MS: u64 = 20_000;
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The lock of one database.
#[derive(Debug, Default)]
pub(super) struct Lock {
    holder: Cell<Option<Holder>>,
    entries: Cell<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    number: u64,
    since: u64,
}

/// The right to change the database, while it lives and [`Guard::check`] says so.
#[derive(Debug)]
pub(super) struct Guard<'a> {
    lock: &'a Lock,
    number: u64,
}

impl Lock {
    pub(super) async fn enter(&self) -> Result<Guard<'_>, Failure> {
        let start = clock::now();
        loop {
            let now = clock::now();
            let is_held = |holder: Holder| now.saturating_sub(holder.since) < LEASE_MS;
            if !self.holder.get().is_some_and(is_held) {
                let number = self.entries.get().wrapping_add(1);
                self.entries.set(number);
                self.holder.set(Some(Holder { number, since: now }));
                return Ok(Guard { lock: self, number });
            }
            if now.saturating_sub(start) > PATIENCE_MS {
                return Err(contended());
            }
            Delay::from(LOOK_AGAIN).await;
        }
    }
}

impl Guard<'_> {
    /// Says that it goes on, in something of many steps; fails as [`Guard::check`] does.
    pub(super) fn renew(&self) -> Result<(), Failure> {
        self.check()?;
        let (number, since) = (self.number, clock::now());
        self.lock.holder.set(Some(Holder { number, since }));
        Ok(())
    }

    /// Fails if it took so long that someone else may have changed the database.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.lock.holder.get() {
            Some(holder) if holder.number == self.number => Ok(()),
            _ => Err(contended()),
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.check().is_ok() {
            self.lock.holder.set(None);
        }
    }
}

fn contended() -> Failure {
    Failure::passing(
        "replica_contended",
        "Another writer changes the replica at this moment; try again.",
    )
}
