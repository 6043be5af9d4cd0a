//! From the queue to the replica, and what its confirmation moves.

use std::rc::Rc;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::super::Error;
use super::super::cut::table;
use super::super::state::Mark;
use super::super::upload::upload;
use super::{News, Shipper, Task, Waiting};
use crate::ltx::Txid;
use crate::native::sqlite::Committed;
use crate::replica::{Level, Position};
use crate::store::Body;

impl Shipper {
    /// Sends the front of the queue, if it is not on its way.
    pub(super) fn send(&mut self) -> Option<Task> {
        if self.sending_since.is_some() {
            return None;
        }
        let segment = Rc::clone(&self.queue.front()?.segment);
        self.sending_since = Some(Instant::now());
        self.save(Some(segment.mark));
        tracing::debug!(replica = %self.name(), segment = %segment.id, pages = segment.changed.len(), "shipping");
        let replica = self.replica.clone();
        Some(async move { News::Uploaded(upload(&replica, &segment).await) }.boxed_local())
    }

    /// Whether the segment that is being sent leads to this very state.
    pub(super) fn leads_to(&self, head: Position) -> bool {
        let sent = self.queue.front().map(|waiting| waiting.segment.mark.position);
        head.sum.is_some() && sent == Some(head)
    }

    /// The replica has answered.
    pub(super) fn confirm(&mut self) -> Result<(), Error> {
        self.sending_since = None;
        let Some(Waiting { segment, .. }) = self.queue.pop_front() else {
            return Ok(());
        };
        let mut at = 0;
        while at < segment.changed.len() {
            let run = segment.changed.run(at).map_err(table)?;
            self.sums.set(&run).map_err(table)?;
            at = at.saturating_add(run.len() as u64);
        }
        self.sums.resize(segment.mark.commit).map_err(table)?;
        self.confirmed = segment.mark;
        if let Some(wal) = segment.mark.wal
            && wal.salts == self.held.salts
        {
            self.held.frame = self.held.frame.max(wal.frame);
        }
        self.settle();
        self.note_success();
        if let Some(upkeep) = &self.upkeep {
            let body: Rc<dyn Body> = Rc::clone(&segment.body) as Rc<dyn Body>;
            upkeep.shipped(segment.info(), &body);
            if segment.id.level == Level::SNAPSHOT {
                self.send_sums(&segment)?;
            }
        }
        let segments = &self.replica.status.segments;
        segments.set(segments.get().saturating_add(1));
        let (replica, position, pages) = (self.name(), self.confirmed.position, segment.changed.len());
        if self.replica.status.tells_now() {
            let segments = self.replica.status.segments.get();
            tracing::info!(%replica, %position, pages, segments, "shipped");
        } else {
            tracing::debug!(%replica, %position, pages, "shipped");
        }
        Ok(())
    }

    /// With nothing under way, all that is seen is confirmed.
    pub(super) fn settle(&mut self) {
        if self.queue.is_empty() && self.cut.is_none() && !self.owes() {
            self.confirmed.wal = Some(self.seen);
            self.held = self.seen.held();
        }
    }

    /// The last frame of this generation that it does not need; `None` while it needs none at all.
    pub(in super::super) fn held(&self, committed: &Committed) -> Option<u32> {
        match self.held.salts == committed.salts {
            _ if !self.is_following() => None,
            true => Some(self.held.frame),
            false => Some(0),
        }
    }

    /// Whether it has everything that was committed at the time of a wish.
    pub(in super::super) fn has_granted(&self, wish: u64) -> bool {
        self.granted.0 >= wish && self.confirmed.position.txid >= self.granted.1
    }

    pub(super) fn grant(&mut self, wish: u64, txid: Txid) {
        if wish > self.granted.0 {
            self.granted = (wish, txid);
        }
    }

    /// The newest state that was cut.
    pub(super) fn tip(&self) -> Mark {
        self.queue
            .back()
            .map_or(self.confirmed, |waiting| waiting.segment.mark)
    }
}
