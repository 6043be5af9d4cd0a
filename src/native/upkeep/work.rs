//! The chores themselves. Each can be broken off anywhere: what is half done is done again, or is found to be done.

use super::error::Error;
use super::local::Local;
use super::shared::Shared;
use crate::ltx::{Header, Txid};
use crate::merge::{Bundled, bundle, merge};
use crate::native::staged::Stage;
use crate::replica::{Chore, Level, SegmentId, SegmentInfo};
use crate::restore::{members, time_of};
use crate::store::{self, Body, create_or_confirm};

/// Outputs up to this size may be an input soon.
const KEPT: u64 = 2 * 1024 * 1024;
/// Outputs up to this size stay in memory.
const IN_MEMORY: usize = 1024 * 1024;

impl Shared {
    /// Learns what the listing at the start did not tell.
    pub(super) async fn learn(&self) -> Result<(), Error> {
        let now = self.clock.now();
        for shelf in [Level::HISTORY, Level::SUMS] {
            for object in self.store.list(shelf, Txid::ZERO).await? {
                self.catalog.borrow_mut().add(object, now);
            }
        }
        let bundles: Vec<SegmentInfo> = {
            let catalog = self.catalog.borrow();
            let has_raw = |id: SegmentId| {
                let from_there = catalog.beyond(Level::RAW, id.min).next();
                from_there.is_some_and(|(raw, _)| raw.max <= id.max)
            };
            let bundles = catalog.level(Level::HISTORY).filter(|(id, _)| has_raw(*id));
            bundles.map(|(id, entry)| info(id, entry.size)).collect()
        };
        for bundle in bundles {
            let members = match members(&*self.store, bundle).await {
                // What it held and is there still is bundled again.
                Err(error) if error.segment().is_some() => {
                    self.fail(&Error::Merge(error.into()));
                    continue;
                }
                members => members.map_err(crate::merge::Error::from)?,
            };
            for member in members {
                if let Some(entry) = self.catalog.borrow_mut().get_mut(member.id) {
                    entry.bundled = Some(now);
                }
            }
        }
        let timeless: Vec<SegmentId> = {
            let catalog = self.catalog.borrow();
            let wholes = catalog.wholes().filter(|(_, entry)| entry.timestamp.is_none());
            wholes.map(|(id, _)| id).collect()
        };
        for id in timeless {
            let timestamp = match time_of(&*self.store, info(id, 0)).await {
                Err(error) if error.segment().is_some() => {
                    self.fail(&Error::Merge(error.into()));
                    None
                }
                time => time.map_err(crate::merge::Error::from)?,
            };
            if let Some(entry) = self.catalog.borrow_mut().get_mut(id) {
                entry.timestamp = timestamp;
                entry.damaged |= timestamp.is_none();
            }
        }
        Ok(())
    }

    pub(super) async fn perform(&self, chore: Chore) -> Result<(), Error> {
        match chore {
            Chore::Compact { level, inputs } => self.compact(level, &inputs).await,
            Chore::Bundle(members) => self.bundle(&members).await,
            Chore::Delete(ids) => self.delete(&ids).await,
        }
    }

    async fn compact(&self, level: Level, inputs: &[SegmentInfo]) -> Result<(), Error> {
        let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else {
            return Ok(());
        };
        let id = SegmentId {
            level,
            min: first.id.min,
            max: last.id.max,
        };
        if self.brake.borrow().holds(id) {
            return Err(Error::Again(id));
        }
        let merged = match merge(&self.local(), inputs, level, self.stage()).await {
            Err(error) => {
                let Some(damaged) = error.damaged() else {
                    return Err(error.into());
                };
                self.leave_aside(damaged, &error.into());
                return Ok(());
            }
            Ok(merged) => merged,
        };
        let body = merged.out.finish(&[])?;
        match create_or_confirm(&*self.store, merged.id, &body, merged.trailer.file_checksum).await {
            // Packed otherwise by another version, it leads from the same state to the same.
            Err(store::Error::Exists(_)) if self.starts_so(merged.id, &merged.header).await? => {}
            result => result?,
        }
        let number = usize::from(u8::from(level));
        if let Some(interval) = self.policy.levels.get(number.saturating_sub(1)) {
            self.brake.borrow_mut().made(merged.id, *interval);
        }
        let is_input = number < self.policy.levels.len();
        if is_input && merged.size <= KEPT {
            let bytes = body.read(0..merged.size).await?;
            self.recent.borrow_mut().keep(merged.id, &bytes);
        }
        for input in inputs {
            // Raw segments are wanted again, for a bundle.
            if input.id.level != Level::RAW || input.size > self.policy.bundled_bytes {
                self.recent.borrow_mut().forget(input.id);
            }
        }
        let mut object = info(merged.id, merged.size);
        object.timestamp = Some(merged.header.timestamp);
        self.catalog.borrow_mut().add(object, self.clock.now());
        self.status.compactions.set(self.status.compactions.get() + 1);
        tracing::debug!(segment = %merged.id, of = inputs.len(), bytes = merged.size, "merged");
        Ok(())
    }

    async fn bundle(&self, segments: &[SegmentInfo]) -> Result<(), Error> {
        let bundled = match bundle(&self.local(), segments, self.stage()).await {
            Err(error) => {
                let Some(damaged) = error.damaged() else {
                    return Err(error.into());
                };
                self.leave_aside(damaged, &error.into());
                return Ok(());
            }
            Ok(bundled) => bundled,
        };
        let Bundled { id, end, out, .. } = bundled;
        let body = out.finish(&[])?;
        match self.store.create(id, &body).await {
            Err(store::Error::Exists(_)) if self.ends_so(id, body.len(), &end).await? => {}
            result => result?,
        }
        let now = self.clock.now();
        let mut catalog = self.catalog.borrow_mut();
        catalog.add(info(id, body.len()), now);
        for segment in segments {
            self.recent.borrow_mut().forget(segment.id);
            if let Some(entry) = catalog.get_mut(segment.id) {
                entry.bundled = Some(now);
            }
        }
        tracing::debug!(bundle = %id, of = segments.len(), bytes = body.len(), "bundled");
        Ok(())
    }

    async fn delete(&self, ids: &[SegmentId]) -> Result<(), Error> {
        self.store.delete_all(ids).await?;
        for &id in ids {
            self.recent.borrow_mut().forget(id);
            self.catalog.borrow_mut().remove(id);
        }
        tracing::debug!(objects = ids.len(), "deleted");
        Ok(())
    }

    /// Leaves a segment aside that is of no use. A copy that is kept here is not the last word on it.
    fn leave_aside(&self, id: SegmentId, error: &Error) {
        let had_copy = self.recent.borrow().has(id);
        self.recent.borrow_mut().forget(id);
        if !had_copy && let Some(entry) = self.catalog.borrow_mut().get_mut(id) {
            entry.damaged = true;
            self.fail(error);
        }
    }

    /// Whether an object is the bundle that would be created: an earlier attempt did, without our learning of it.
    async fn ends_so(&self, id: SegmentId, len: u64, end: &[u8]) -> Result<bool, Error> {
        let Some(found) = self.store.stat(id).await? else {
            return Ok(false);
        };
        if found.size != len {
            return Ok(false);
        }
        let start = len.saturating_sub(end.len() as u64);
        Ok(self.store.read(id, start..len).await? == end)
    }

    async fn starts_so(&self, id: SegmentId, header: &Header) -> Result<bool, Error> {
        let head = self.store.read(id, 0..Header::LEN as u64).await?;
        let found = head.first_chunk().map(Header::parse);
        Ok(matches!(found, Some(Ok(found)) if found == *header && found.sums.is_some()))
    }

    fn stage(&self) -> Stage {
        Stage::new(self.folder.clone(), IN_MEMORY)
    }

    fn local(&self) -> Local<'_> {
        Local {
            store: &*self.store,
            recent: &self.recent,
        }
    }
}

fn info(id: SegmentId, size: u64) -> SegmentInfo {
    SegmentInfo {
        id,
        size,
        timestamp: None,
    }
}
