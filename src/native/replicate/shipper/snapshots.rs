//! A snapshot under way, beside the segments.

use futures_util::FutureExt;
use tokio::time::Instant;

use super::super::Error;
use super::super::cut::Segment;
use super::super::frozen::Frozen;
use super::super::page_set::PageSet;
use super::super::snapshot::{self, Snapshot};
use super::super::state::Mark;
use super::{News, RETRY, Shipper, Snapshotting};
use crate::ltx::{Pgno, Txid};
use crate::native::sqlite::{self, Committed, Source};
use crate::native::upkeep;
use crate::replica::SegmentInfo;

impl Shipper {
    /// Begins a snapshot of the newest commit, which is the state `mark`, if one is due.
    pub(super) fn begin_snapshot(
        &mut self,
        source: &mut Source,
        committed: &Committed,
        mark: &Mark,
    ) -> Result<(), Error> {
        let is_due = self.upkeep.as_ref().is_some_and(upkeep::Handle::snapshot_due);
        let is_time = Instant::now() >= self.next_snapshot && mark.position.txid > Txid::FIRST;
        if !is_due || !is_time || self.snapshot.is_some() || self.is_sending_snapshot {
            return Ok(());
        }
        let view = match source.view(committed) {
            // Restarted just now: another time.
            Err(sqlite::Error::Moved(_)) => return Ok(()),
            view => view?,
        };
        let folder = self.state.path().to_owned();
        let wanted = PageSet::all(committed.commit);
        let frozen = Frozen::new(source, committed, view, wanted, folder.clone());
        let snapshot = Snapshot::new(
            frozen,
            committed,
            (mark.position.txid, mark.timestamp),
            (self.page_size, self.replica.options.codec),
            folder,
        )?;
        self.snapshot = Some(Snapshotting {
            snapshot,
            expected: mark.position.sum,
            is_read: false,
        });
        Ok(())
    }

    /// Reads on, after what is to be shipped; sends the snapshot once the replica has its state.
    pub(super) fn go_on_with_snapshot(&mut self, source: &mut Source) -> Result<(), Error> {
        let Some(under_way) = &mut self.snapshot else {
            return Ok(());
        };
        if self.cut.is_none() && !under_way.is_read {
            under_way.is_read = under_way.snapshot.step(source, self.limits.slice)?;
        }
        let is_there = self.confirmed.position.txid >= under_way.snapshot.txid();
        let Some(expected) = under_way.expected.filter(|_| under_way.is_read && is_there) else {
            return Ok(());
        };
        let Some(Snapshotting { snapshot, .. }) = self.snapshot.take() else {
            return Ok(());
        };
        match snapshot.finish(expected)? {
            Some(made) => {
                self.is_sending_snapshot = true;
                let send = snapshot::send(self.replica.clone(), made);
                self.outbox.push(send.map(News::Snapshot).boxed_local());
            }
            None => {
                tracing::error!(replica = %self.name(), "the database differs from what was shipped of it: comparing all pages");
                self.next_snapshot = Instant::now() + RETRY;
                self.dirty.extend((1..=self.seen_commit).map(Pgno));
            }
        }
        Ok(())
    }

    /// Sends the page-sum table of the first segment.
    pub(super) fn send_sums(&mut self, first: &Segment) -> Result<(), Error> {
        let header = snapshot::header_of(first, self.page_size);
        let sums = snapshot::sums_object(&first.changed, header, self.state.path())?;
        let (replica, timestamp) = (self.replica.clone(), first.mark.timestamp);
        let send = async move {
            let object = snapshot::create_sums(&replica, header, &sums).await?;
            Ok(SegmentInfo {
                timestamp: Some(timestamp),
                ..object
            })
        };
        self.outbox.push(send.map(News::Sums).boxed_local());
        Ok(())
    }

    /// When a snapshot that is due and failed is tried again.
    pub(in super::super) fn next_snapshot(&self) -> Option<Instant> {
        let is_due = self.upkeep.as_ref().is_some_and(upkeep::Handle::snapshot_due);
        (is_due && Instant::now() < self.next_snapshot).then_some(self.next_snapshot)
    }
}
