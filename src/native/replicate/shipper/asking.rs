//! What the replica holds, and where that has us go on.

use std::rc::Rc;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::super::Error;
use super::super::owner::{Claim, newcomer};
use super::super::page_set::PageSet;
use super::super::resume::{Standing, read_replica, wal_continues};
use super::super::state::Mark;
use super::{News, Phase, RETRY, Shipper, Task};
use crate::ltx::{DbSum, PageCrc, Pgno};
use crate::native::sqlite::{self, Held, Source};
use crate::native::upkeep;
use crate::replica::SegmentInfo;
use crate::store;

impl Shipper {
    /// Asks the replica what it holds.
    pub(in super::super) fn ask(&mut self, claim: Claim) -> Task {
        self.phase = Phase::Asking;
        let (replica, identity, state, sums) = (
            self.replica.clone(),
            Rc::clone(&self.identity),
            Rc::clone(&self.state),
            Rc::clone(&self.sums),
        );
        let (page_size, now) = (self.page_size, self.clock.now());
        let read =
            async move { read_replica(&replica, &state, &sums, page_size, &identity, claim, now).await };
        read.map(News::Standing).boxed_local()
    }

    /// Takes an answer of the destination.
    pub(in super::super) fn hear(&mut self, source: &mut Source, news: News) -> Result<Option<Task>, Error> {
        match news {
            News::Standing(standing) => match standing? {
                Standing::Ours { mark, listing } => {
                    self.keep_up(listing);
                    self.go_on_from(mark, source)?;
                }
                // A copy that was restored elsewhere goes on where its replica stands.
                Standing::Foreign { head, .. } if head.sum == Some(sum_of(source)?) => {
                    return Ok(Some(self.ask(Claim::TakeOver)));
                }
                Standing::Foreign { owner, .. } => {
                    return Err(Error::Owned {
                        replica: self.name().to_owned(),
                        owner: owner.to_string(),
                    });
                }
            },
            // It landed, and nobody told us before it was merged and deleted.
            News::Uploaded(Err(store::Error::Conflict { head })) if self.leads_to(head) => self.confirm()?,
            News::Uploaded(Err(store @ (store::Error::Exists(_) | store::Error::Conflict { .. }))) => {
                return Ok(Some(self.ask_who_moved_it(store)));
            }
            News::Uploaded(result) => {
                result?;
                self.confirm()?;
            }
            News::Snapshot(result) => {
                self.is_sending_snapshot = false;
                match (result, &self.upkeep) {
                    (Ok(objects), Some(upkeep)) => {
                        tracing::info!(replica = %self.name(), txid = %objects[0].id.max, bytes = objects[0].size, "snapshot");
                        objects
                            .into_iter()
                            .for_each(|object| upkeep.snapshot_done(object));
                    }
                    (Ok(_), None) => {}
                    (Err(error), _) => {
                        tracing::warn!(replica = %self.name(), "cannot ship a snapshot: {error}");
                        self.next_snapshot = Instant::now() + RETRY;
                    }
                }
            }
            News::Sums(Ok(object)) => {
                if let Some(upkeep) = &self.upkeep {
                    upkeep.snapshot_done(object);
                }
            }
            News::Sums(Err(error)) => {
                tracing::warn!(replica = %self.name(), "cannot ship the page-sum table: {error}");
            }
            News::Refused(error) => return Err(error),
            News::Retry => return Ok(Some(self.ask(Claim::IfOurs))),
        }
        Ok(None)
    }

    pub(super) fn ask_who_moved_it(&self, store: store::Error) -> Task {
        let (replica, identity) = (self.replica.clone(), Rc::clone(&self.identity));
        let ours = self.confirmed.position;
        async move {
            let newcomer = match replica.options.self_kept {
                true => None,
                false => newcomer(&*replica.store, &identity).await,
            };
            News::Refused(match newcomer {
                Some(owner) => Error::TakenOver {
                    replica: replica.status.name.clone(),
                    owner: owner.to_string(),
                },
                None => Error::Moved { ours, store },
            })
        }
        .boxed_local()
    }

    /// Has the replica kept in order from now on.
    pub(super) fn keep_up(&mut self, listing: Vec<SegmentInfo>) {
        let Some(policy) = self.replica.options.upkeep.clone() else {
            return;
        };
        self.upkeep = Some(upkeep::spawn(
            Rc::clone(&self.replica.store),
            policy,
            self.state.path(),
            self.clock.clone(),
            listing,
            Rc::clone(&self.replica.status),
            Rc::clone(&self.snapshot_due),
        ));
    }

    pub(super) fn go_on_from(&mut self, mark: Mark, source: &mut Source) -> Result<(), Error> {
        self.confirmed = mark;
        self.phase = Phase::Following;
        self.allowance.now();
        self.note_success();
        let committed = source.committed()?;
        if let Some(wal) = wal_continues(source, &committed, &self.confirmed)? {
            match source.changes(wal.frame, self.confirmed.commit, &committed) {
                Ok(changes) => {
                    self.dirty = changes.iter().map(|(pgno, _)| pgno).collect();
                    self.see(&committed);
                    self.held = wal.held();
                    self.settle();
                    tracing::info!(replica = %self.name(), position = %self.confirmed.position, "going on where the replica stands");
                    return Ok(());
                }
                // Found copied back, the WAL was restarted just now.
                Err(sqlite::Error::Moved(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.compare(source)
    }

    /// Takes every page for one that may differ.
    pub(super) fn compare(&mut self, source: &mut Source) -> Result<(), Error> {
        let committed = source.committed()?;
        self.dirty = PageSet::all(committed.commit);
        self.see(&committed);
        self.held = Held {
            frame: 0,
            ..self.seen.held()
        };
        tracing::info!(replica = %self.name(), position = %self.confirmed.position, pages = committed.commit, "comparing all pages");
        Ok(())
    }
}

/// The sum of the whole database as it is now.
fn sum_of(source: &mut Source) -> Result<DbSum, Error> {
    let committed = source.committed()?;
    let view = source.view(&committed)?;
    let (mut sum, mut page) = (DbSum::EMPTY, vec![0; source.page_size().len()]);
    let lock_page = source.page_size().lock_page();
    for pgno in (1..=view.commit()).map(Pgno).filter(|&pgno| pgno != lock_page) {
        source.read_page(pgno, view.location(pgno), &mut page)?;
        sum = sum.plus(PageCrc::of(pgno, &page));
    }
    Ok(sum)
}
