//! From the WAL into segments: what is seen, what is cut, what is only noted because the WAL must go on.

use std::rc::Rc;

use tokio::time::Instant;

use super::super::Error;
use super::super::cut::{Cut, Order};
use super::super::frozen::Frozen;
use super::super::pace::PIN_AGE;
use super::super::page_set::PageSet;
use super::super::prior::Prior;
use super::super::state::WalMark;
use super::{Shipper, Snapshotting, Task, Urge, Waiting};
use crate::ltx::Txid;
use crate::native::sqlite::{self, Committed, Source};
use crate::native::staged::{LARGE, SMALL};
use crate::replica::Level;

impl Shipper {
    /// One round: cuts what is to be cut now, gives the WAL free if it must go on, sends what waits.
    pub(in super::super) fn work(
        &mut self,
        source: &mut Source,
        committed: &Committed,
        urge: Urge,
    ) -> Result<Option<Task>, Error> {
        if !self.is_following() {
            return Ok(None);
        }
        self.notice(committed);
        let wished = urge.wish > self.granted.0;
        // Someone has copied all frames back, and may be waiting for our pin with the write lock in its hands.
        let pressed =
            committed.backfilled == committed.mx_frame && self.allowance.last().elapsed() >= PIN_AGE;
        if self.cut.is_none() {
            if !self.is_behind(committed) {
                let tip = self.tip();
                self.grant(urge.wish, tip.position.txid);
                if self.queue.is_empty() {
                    self.begin_snapshot(source, committed, &tip)?;
                }
            } else if self.queue.is_empty() && (wished || Instant::now() >= self.allowance.next()) {
                self.begin_cut(source, committed, urge)?;
            }
        }
        self.go_on_cutting(source)?;
        self.go_on_with_snapshot(source)?;
        if pressed || urge.over_limit {
            self.release(source, committed, urge)?;
        }
        Ok(self.send())
    }

    /// Gives the whole WAL free: what is not cut becomes a segment in the queue, or dirty if there is no room.
    pub(in super::super) fn release(
        &mut self,
        source: &mut Source,
        committed: &Committed,
        urge: Urge,
    ) -> Result<(), Error> {
        if !self.is_following() {
            return Ok(());
        }
        self.notice(committed);
        let is_time = Instant::now() >= self.allowance.next();
        if self.cut.is_none() && is_time && self.is_behind(committed) && self.has_room() {
            self.begin_cut(source, committed, urge)?;
            self.go_on_cutting(source)?;
        }
        self.fold(source, committed)
    }

    /// Notes which pages changed, and gives the whole WAL free.
    pub(in super::super) fn fold(&mut self, source: &mut Source, committed: &Committed) -> Result<(), Error> {
        if !self.is_following() {
            return Ok(());
        }
        self.notice(committed);
        if self.is_unseen(committed) {
            let changes = source.changes(self.seen.frame, self.seen_commit, committed)?;
            self.dirty.extend(changes.iter().map(|(pgno, _)| pgno));
            self.see(committed);
        }
        self.held = self.seen.held();
        Ok(())
    }

    /// Saves what is still to be read of older states. To be called before the pin moves to `committed`.
    pub(in super::super) fn save_before(
        &mut self,
        source: &mut Source,
        committed: &Committed,
    ) -> Result<(), Error> {
        if let Some(cut) = &mut self.cut {
            cut.save_before(source, committed)?;
        }
        if let Some(Snapshotting { snapshot, .. }) = &mut self.snapshot {
            snapshot.save_before(source, committed)?;
        }
        Ok(())
    }

    /// Drops the segment that is being cut; its pages are compared again.
    pub(in super::super) fn give_up_cut(&mut self, error: &Error) {
        tracing::error!(replica = %self.name(), "the copy is given up and begun anew: {error}");
        self.snapshot = None;
        if self.cut.take().is_some() {
            self.dirty = PageSet::all(self.seen_commit);
        }
    }

    pub(super) fn begin_cut(
        &mut self,
        source: &mut Source,
        committed: &Committed,
        urge: Urge,
    ) -> Result<(), Error> {
        match self.try_begin_cut(source, committed) {
            Ok(cut) => {
                self.grant(urge.wish, cut.txid());
                let mark = cut.mark();
                self.cut = Some(cut);
                self.begin_snapshot(source, committed, &mark)?;
                self.allowance.spend();
                Ok(())
            }
            // The WAL was restarted between two looks at it, as it may be when all of it is held: the next look tells
            // what is new.
            Err(Error::Database(sqlite::Error::Moved(_))) if !self.is_unseen(committed) => Ok(()),
            Err(Error::Database(sqlite::Error::Moved(_))) => self.compare(source),
            Err(error) => Err(error),
        }
    }

    pub(super) fn try_begin_cut(&mut self, source: &mut Source, committed: &Committed) -> Result<Cut, Error> {
        let before = self.tip();
        let changes = source.changes(self.seen.frame, self.seen_commit, committed)?;
        let changed = changes.iter().map(|(pgno, _)| pgno);
        let view = if self.dirty.is_empty() {
            self.dirty.extend(changed);
            changes.into_view()
        } else {
            self.dirty.extend(changed);
            source.view(committed)?
        };
        let wanted = std::mem::take(&mut self.dirty);
        self.see(committed);
        let folder = self.state.path().to_owned();
        let frozen = Frozen::new(source, committed, view, wanted, folder.clone());
        let waiting = self
            .queue
            .iter()
            .map(|waiting| Rc::clone(&waiting.segment.changed));
        let is_first = before.position.txid == Txid::ZERO && !self.replica.options.self_kept;
        let order = Order {
            codec: self.replica.options.codec,
            level: if is_first { Level::SNAPSHOT } else { Level::RAW },
            before,
            prior: Prior::new(waiting, &self.sums),
            timestamp: self.clock.now(),
            folder,
            in_memory: if self.queue.is_empty() { LARGE } else { SMALL },
        };
        Cut::new(order, frozen, committed, self.page_size)
    }

    pub(super) fn go_on_cutting(&mut self, source: &mut Source) -> Result<(), Error> {
        let Some(cut) = &mut self.cut else { return Ok(()) };
        if !cut.step(source, self.limits.slice)? {
            return Ok(());
        }
        let Some(cut) = self.cut.take() else { return Ok(()) };
        let txid = cut.txid();
        let segment = cut.finish()?;
        if let Some(under_way) = &mut self.snapshot
            && under_way.snapshot.txid() == txid
        {
            match &segment {
                Some(segment) => under_way.expected = segment.mark.position.sum,
                None => self.snapshot = None,
            }
        }
        if let Some(segment) = segment {
            let since = self.unshipped_since.take().unwrap_or(segment.mark.timestamp);
            let segment = Rc::new(segment);
            self.queue.push_back(Waiting { segment, since });
        } else {
            // Nothing differed: the wish is fulfilled by what there is.
            self.granted.1 = self.granted.1.min(self.tip().position.txid);
            self.unshipped_since = None;
        }
        self.settle();
        Ok(())
    }

    /// Whether a cut wants to go on.
    pub(in super::super) fn is_cutting(&self) -> bool {
        self.cut.is_some() || self.snapshot.as_ref().is_some_and(|under_way| !under_way.is_read)
    }

    /// Whether a commit would be cut at once.
    pub(in super::super) fn is_attentive(&self, committed: &Committed) -> bool {
        self.is_following()
            && self.cut.is_none()
            && self.queue.is_empty()
            && !self.is_behind(committed)
            && Instant::now() >= self.allowance.next()
    }

    /// When something that waits to be cut will be.
    pub(in super::super) fn next_cut(&self, committed: &Committed) -> Option<Instant> {
        let waits = self.is_following()
            && self.cut.is_none()
            && self.queue.is_empty()
            && (self.is_behind(committed) || self.seen.salts != committed.salts && committed.mx_frame > 0);
        waits.then_some(self.allowance.next())
    }

    /// Whether there is something to cut.
    pub(super) fn is_behind(&self, committed: &Committed) -> bool {
        self.is_unseen(committed) || self.owes()
    }

    pub(super) fn is_unseen(&self, committed: &Committed) -> bool {
        self.seen.salts == committed.salts && committed.mx_frame > self.seen.frame
    }

    /// Whether what is seen differs from what is cut; meaningful while nothing is being cut.
    pub(super) fn owes(&self) -> bool {
        !self.dirty.is_empty() || self.cut.is_none() && self.seen_commit != self.tip().commit
    }

    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < self.limits.segments && self.queue_bytes() < self.limits.bytes
    }

    /// A WAL of other salts was started after everything before had been held, and so seen: all of it is new.
    pub(super) fn notice(&mut self, committed: &Committed) {
        if self.seen.salts != committed.salts {
            self.seen = WalMark {
                salts: committed.salts,
                frame: 0,
                checksum: committed.frame_checksum,
            };
            self.held = self.seen.held();
        }
        if self.unshipped_since.is_none() && self.is_behind(committed) {
            self.unshipped_since = Some(self.clock.now());
        }
    }

    pub(super) fn see(&mut self, committed: &Committed) {
        self.seen = WalMark::newest(committed);
        self.seen_commit = committed.commit;
    }
}
