//! One database as a request works with it: its objects in R2, and what is remembered of them.

use std::cell::Cell;
use std::rc::Rc;

use worker::Date;

use super::attached;
use super::failure::Failure;
use super::followers::Followers;
use super::head::Head;
use super::ledger::{Intent, Ledger, State};
use super::lock::{Guard, Lock};
use super::parts::Parts;
use super::r2::{Found, R2Store};
use super::raw::Underway;
use super::rebuild;
use crate::ltx::Header;
use crate::replica::{SegmentId, SegmentInfo};

/// A database, within its Durable Object.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub(super) store: R2Store,
    pub(super) ledger: Rc<Ledger>,
    pub(super) lock: Rc<Lock>,
    pub(super) followers: Rc<Followers>,
    pub(super) parts: Rc<Parts>,
    /// The database file that is on its way.
    pub(super) file: Underway,
    /// Whether short segments are kept in the ledger first.
    pub(super) keeps_short: bool,
    /// When the bucket was looked at for who reads an attached or an empty replica, in Unix milliseconds.
    pub(super) looked: Rc<Cell<u64>>,
}

impl Replica {
    /// Where it stands. Whatever an earlier life of the object left open is settled first.
    pub(super) async fn head(&self) -> Result<Head, Failure> {
        if self.store.is_attached() {
            return attached::head(self).await;
        }
        if let Some(head) = self.known()? {
            return Ok(head);
        }
        let guard = self.lock.enter().await?;
        // Whoever was before us may have looked.
        if let Some(head) = self.known()? {
            return Ok(head);
        }
        let head = self.settled(&guard).await?;
        self.looked.set(Date::now().as_millis());
        Ok(head)
    }

    /// Where it stands, if nothing is to be settled. An empty replica may have been filled by others, and is looked at again
    /// after some seconds; what is written is admitted after another look.
    fn known(&self) -> Result<Option<Head>, Failure> {
        Ok(match self.ledger.open()? {
            State::Known(head, _, None) if head.tip.is_some() || self.has_just_looked() => Some(head),
            _ => None,
        })
    }

    /// Whether the bucket was looked at some seconds ago, at most.
    pub(super) fn has_just_looked(&self) -> bool {
        Date::now().as_millis().saturating_sub(self.looked.get()) < attached::EVERY_MS
    }

    /// The same, for who holds the lock: nothing is under way then.
    pub(super) async fn settled(&self, guard: &Guard<'_>) -> Result<Head, Failure> {
        match self.ledger.open()? {
            State::Known(head, _, None) if head.tip.is_some() => Ok(head),
            State::Known(head, _, Some(intent)) => self.settle(guard, head, &intent).await,
            State::Known(_, _, None) => rebuild::run(&self.ledger, &self.store, guard, None).await,
            State::Rebuilding(start) => {
                let head = rebuild::run(&self.ledger, &self.store, guard, start).await?;
                // Of a name that nothing was ever written to, there is nothing to tell.
                if !self.ledger.is_blank()? {
                    self.followers.tell(head.position, None);
                }
                Ok(head)
            }
        }
    }

    /// Takes a segment that is in R2 into the replica, which then stands at `head`, and tells its followers.
    pub(super) fn commit(&self, head: Head, found: &Found, bytes: Option<&[u8]>) -> Result<(), Failure> {
        self.ledger.add(found)?;
        self.ledger.set(&State::known(head, None))?;
        self.followers.tell(head.position, Some((&found.info, bytes)));
        Ok(())
    }

    /// The same with a short segment that is kept in the ledger.
    pub(super) fn keep(
        &self,
        head: Head,
        id: SegmentId,
        header: &Header,
        bytes: Vec<u8>,
    ) -> Result<(), Failure> {
        let info = SegmentInfo {
            id,
            size: bytes.len() as u64,
            timestamp: Some(header.timestamp),
        };
        let pushed = bytes.clone();
        let found = Found {
            info,
            header: Some(header.clone()),
        };
        self.ledger.keep(&found, bytes)?;
        if let Err(failure) = self.ledger.set(&State::known(head, None)) {
            // Without the head it would be in the way of whoever sends it again.
            self.ledger.remove(id)?;
            return Err(failure);
        }
        self.followers.tell(head.position, Some((&info, Some(&pushed))));
        Ok(())
    }

    /// Looks whether what was to be created is there, and commits it or forgets it.
    pub(super) async fn settle(
        &self,
        guard: &Guard<'_>,
        head: Head,
        intent: &Intent,
    ) -> Result<Head, Failure> {
        fault_point!("settling");
        let mut created = self.is_created(intent).await?;
        if let Some(multipart) = intent.multipart.as_ref().filter(|_| !created) {
            // Completed later, it would take the place of what is there by then.
            self.store.abort(intent.id, multipart).await;
            created = self.is_created(intent).await?;
        }
        guard.check()?;
        let found = intent.found().filter(|_| created);
        let head = match found.as_ref().and_then(|found| found.header.as_ref()) {
            Some(header) => head.after(intent.id, intent.size, header),
            None => head,
        };
        match &found {
            Some(found) => self.commit(head, found, None)?,
            None => {
                self.ledger.set_late(intent.id)?;
                self.ledger.set(&State::known(head, None))?;
            }
        }
        Ok(head)
    }

    async fn is_created(&self, intent: &Intent) -> Result<bool, Failure> {
        match intent.checksum() {
            Some(checksum) => Ok(self.store.has(intent.id, intent.size, checksum).await?),
            None => Ok(false),
        }
    }

    /// Whether the object that remembers it has looked at the bucket since it woke, or looks now: what ends at the head
    /// must be there, or the bucket was changed behind our back.
    pub(super) async fn check_tip(&self) -> Result<(), Failure> {
        if let State::Known(Head { tip: Some(tip), .. }, _, None) = self.ledger.open()?
            && crate::store::Store::stat(&self.store, tip).await?.is_none()
        {
            let guard = self.lock.enter().await?;
            // Whoever was before us may have begun something, or found the same.
            let head = self.settled(&guard).await?;
            if head.tip == Some(tip) {
                self.read_again(&guard).await?;
            }
        }
        Ok(())
    }

    /// Reads the bucket again, from its start.
    pub(super) async fn rebuild(&self) -> Result<Head, Failure> {
        let guard = self.lock.enter().await?;
        if let State::Known(head, _, Some(intent)) = self.ledger.open()? {
            self.settle(&guard, head, &intent).await?;
        }
        self.read_again(&guard).await
    }

    /// Nothing may be open: it would be forgotten.
    async fn read_again(&self, guard: &Guard<'_>) -> Result<Head, Failure> {
        self.ledger.set(&State::Rebuilding(None))?;
        self.settled(guard).await
    }
}
