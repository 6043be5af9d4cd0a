//! Creates the object of a segment that goes on from the head.
//!
//! A short body is proven in memory, then stored by one request: a bad one costs R2 nothing, and a good one none
//! of the calls between wasm and JavaScript that a stream takes. A long one is proven while it streams into R2,
//! its trailer held back until everything is right: without it R2 creates nothing.
//!
//! Nothing is locked. Two writers of one object are parted by create-if-absent; two that created different
//! objects at one position see each other in the listing that follows, and withdraw.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use worker::{Data, Delay};

use super::body::Body;
use super::failure::Failure;
use super::head::Head;
use super::heads::{self, NoHead};
use super::intake::Intake;
use super::pipe::Pipe;
use super::r2::R2Store;
use crate::ltx::{FileChecksum, Header, Trailer};
use crate::replica::{Level, Position, SegmentId};
use crate::store::Store;

/// Up to here a body is short.
const SHORT: u64 = 1 << 20;
/// What a streamed upload may take: some chunks, the decoder, the runtime's buffers.
const STREAM_MEMORY: u64 = 4 << 20;
/// How often to try to delete an object that must not stay: R2 takes one change a second of the same key.
const WITHDRAWALS: u32 = 4;

/// One segment on its way into the replica.
#[derive(Debug)]
pub(super) struct Creation<'a> {
    store: &'a R2Store,
    id: SegmentId,
    head: Head,
}

/// A body that is proven, and has gone through the pipe.
struct Fed {
    checksum: FileChecksum,
    /// To its end: not if the replica has moved meanwhile.
    all: bool,
}

impl<'a> Creation<'a> {
    pub(super) fn new(store: &'a R2Store, id: SegmentId, head: Head) -> Self {
        Self { store, id, head }
    }

    /// The most memory that an upload of this size takes.
    pub(super) fn memory(size: u64) -> u64 {
        if size <= SHORT {
            // In wasm, and once more in JavaScript on its way to R2.
            size.saturating_mul(2).saturating_add(SHORT)
        } else {
            STREAM_MEMORY
        }
    }

    /// Proves the segment, of which `start` has been taken in, and creates its object. Says whether it did, or
    /// found that another request was faster, and the checksum of what was sent.
    pub(super) async fn create(
        &self,
        start: Vec<u8>,
        body: &mut Body,
        intake: Intake,
    ) -> Result<(bool, FileChecksum), Failure> {
        if body.size() <= SHORT {
            self.short(start, body, intake).await
        } else {
            self.long(start, body, intake).await
        }
    }

    /// After the creation: the segment stands if it overlaps no other. Else it is withdrawn.
    pub(super) async fn settle(&self, header: &Header) -> Result<Position, Failure> {
        if !self.moves_head() {
            return Ok(self.head.position);
        }
        match heads::read_after_creation(self.store, self.head.tip, self.id, header).await {
            Ok(head) => Ok(head.position),
            Err(NoHead::Forked(..) | NoHead::Changed) => Err(self.withdraw(header).await),
            Err(NoHead::Unseen(failure)) => Err(failure),
        }
    }

    async fn short(
        &self,
        mut bytes: Vec<u8>,
        body: &mut Body,
        mut intake: Intake,
    ) -> Result<(bool, FileChecksum), Failure> {
        while let Some(chunk) = body.next().await? {
            intake.push(&chunk)?;
            bytes.extend_from_slice(&chunk);
        }
        let proven = intake.finish()?;
        self.head.admits_content(&proven)?;
        let created = self
            .store
            .put(self.id, Data::Bytes(bytes), &proven.header)
            .await?;
        Ok((created, proven.checksum))
    }

    async fn long(
        &self,
        start: Vec<u8>,
        body: &mut Body,
        intake: Intake,
    ) -> Result<(bool, FileChecksum), Failure> {
        let header = intake.header().cloned().ok_or_else(contended)?;
        let (pipe, readable) = Pipe::new(body.size())?;
        let put = pin!(self.store.put(self.id, Data::ReadableStream(readable), &header));
        let feed = pin!(self.feed(&pipe, start, body, intake));
        match select(put, feed).await {
            // Before it had all bytes: the object exists already, or R2 failed.
            Either::Left((result, feed)) => {
                pipe.abort().await;
                let checksum = feed.await?.checksum;
                Ok((result?, checksum))
            }
            Either::Right((Ok(Fed { checksum, all: true }), put)) => Ok((put.await?, checksum)),
            Either::Right((Ok(Fed { checksum, all: false }), _)) => Ok((false, checksum)),
            Either::Right((Err(failure), put)) => {
                pipe.abort().await;
                if matches!(put.await, Ok(true)) {
                    return Err(self.withdraw(&header).await);
                }
                Err(failure)
            }
        }
    }

    /// Sends the body through the pipe, but its trailer only when all is proven.
    async fn feed(
        &self,
        pipe: &Pipe,
        mut held: Vec<u8>,
        body: &mut Body,
        mut intake: Intake,
    ) -> Result<Fed, Failure> {
        loop {
            let free = held.len().saturating_sub(Trailer::LEN);
            pipe.write(held.get(..free).unwrap_or_default()).await;
            held.drain(..free);
            let Some(chunk) = body.next().await? else {
                break;
            };
            intake.push(&chunk)?;
            held.extend_from_slice(&chunk);
        }
        let proven = intake.finish()?;
        self.head.admits_content(&proven)?;
        // It took its time: does the replica still stand there? (To a snapshot it does not matter.)
        let moved = self.moves_head()
            && heads::read(self.store)
                .await?
                .admits(self.id, &proven.header)
                .is_err();
        if moved {
            pipe.abort().await;
        } else {
            pipe.write(&held).await;
            pipe.close().await;
        }
        Ok(Fed {
            checksum: proven.checksum,
            all: !moved,
        })
    }

    /// A snapshot of an empty replica makes its first state, of another it changes nothing.
    fn moves_head(&self) -> bool {
        self.id.level == Level::RAW || self.head.tip.is_none()
    }

    /// Deletes what was created, and says why.
    async fn withdraw(&self, header: &Header) -> Failure {
        heads::forget(self.store.db());
        for attempt in 1..=WITHDRAWALS {
            match self.store.delete(self.id).await {
                Ok(()) => break,
                Err(error) if attempt == WITHDRAWALS => return error.into(),
                Err(_) => Delay::from(Duration::from_secs(1)).await,
            }
        }
        match heads::read(self.store).await {
            Ok(head) => head.admits(self.id, header).err().unwrap_or_else(contended),
            Err(no_head) => no_head.into(),
        }
    }
}

fn contended() -> Failure {
    Failure::passing(
        "replica_contended",
        "Another writer tried to move the replica at the same time; try again.",
    )
}
