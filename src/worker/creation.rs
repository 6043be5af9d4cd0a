//! Proves a segment that goes on from the head, and creates its object.
//!
//! A short body is proven in memory, then stored by one request: a bad one costs R2 nothing, and a good one none
//! of the calls between wasm and JavaScript that a stream takes. A long one is proven while it streams into R2,
//! its trailer held back until everything is right: without it R2 creates nothing.
//!
//! Either way the lock is held only from there on, never while a client sends.

use std::pin::pin;

use futures_util::future::{Either, select};
use worker::Data;

use super::body::Body;
use super::entry::Entry;
use super::failure::Failure;
use super::intake::{Intake, Proven};
use super::pipe::Pipe;
use super::replica::Replica;
use crate::ltx::{Header, Trailer};
use crate::replica::{Position, SegmentId};

/// Up to here a body is short.
const SHORT: u64 = 1 << 20;
/// What a streamed upload may take: some chunks, the decoder, the runtime's buffers.
const STREAM_MEMORY: u64 = 4 << 20;
/// The most memory that an upload of this size takes.
pub(super) fn memory(size: u64) -> u64 {
    if size <= SHORT {
        // In wasm, and once more in JavaScript on its way to R2.
        size.saturating_mul(2).saturating_add(SHORT)
    } else {
        STREAM_MEMORY
    }
}

/// A segment whose start is taken in, with the rest to come.
#[derive(Debug)]
pub(super) struct Creation<'a> {
    pub(super) replica: &'a Replica,
    pub(super) id: SegmentId,
    pub(super) header: Header,
    pub(super) start: Vec<u8>,
    pub(super) intake: Intake,
}

impl Creation<'_> {
    /// Returns where the replica then stands, and what was proven, also if it was in vain.
    pub(super) async fn create(self, body: &mut Body) -> (Result<Position, Failure>, Option<Proven>) {
        if body.size() <= SHORT {
            self.short(body).await
        } else {
            self.long(body).await
        }
    }

    async fn short(self, body: &mut Body) -> (Result<Position, Failure>, Option<Proven>) {
        let Self {
            replica,
            id,
            mut start,
            intake,
            ..
        } = self;
        let proven = match take_all(intake, body, &mut start).await {
            Ok(proven) => proven,
            Err(failure) => return (Err(failure), None),
        };
        let created = Entry::create(replica, id, start, &proven, None).await;
        (created, Some(proven))
    }

    async fn long(self, body: &mut Body) -> (Result<Position, Failure>, Option<Proven>) {
        let Self {
            replica,
            id,
            header,
            start,
            intake,
        } = self;
        let size = body.size();
        let (pipe, readable) = match Pipe::new(size) {
            Ok(pipe) => pipe,
            Err(error) => return (Err(error.into()), None),
        };
        let put = pin!(
            replica
                .store
                .put(id, Data::ReadableStream(readable), Some(&header))
        );
        let feed = pin!(feed(&pipe, start, body, intake));
        match select(put, feed).await {
            // Before it had all bytes: the object exists already, or R2 failed.
            Either::Left((created, feed)) => {
                pipe.abort().await;
                match feed.await {
                    Ok((proven, _)) => {
                        let ended = async {
                            Entry::begin(replica, id, size, &proven, None, None)
                                .await?
                                .end(created, None)
                                .await
                        };
                        (ended.await, Some(proven))
                    }
                    Err(failure) => (Err(failure), None),
                }
            }
            Either::Right((Ok((proven, trailer)), put)) => {
                match Entry::begin(replica, id, size, &proven, None, None).await {
                    Ok(entry) => {
                        pipe.write(&trailer).await;
                        pipe.close().await;
                        (entry.end(put.await, None).await, Some(proven))
                    }
                    Err(failure) => {
                        pipe.abort().await;
                        let _ = put.await;
                        (Err(failure), Some(proven))
                    }
                }
            }
            Either::Right((Err(failure), put)) => {
                pipe.abort().await;
                let _ = put.await;
                (Err(failure), None)
            }
        }
    }
}

async fn take_all(mut intake: Intake, body: &mut Body, bytes: &mut Vec<u8>) -> Result<Proven, Failure> {
    while let Some(chunk) = body.next().await? {
        intake.push(&chunk)?;
        bytes.extend_from_slice(&chunk);
    }
    intake.finish()
}

/// Sends all but the trailer through the pipe, and returns that when everything is proven.
async fn feed(
    pipe: &Pipe,
    mut held: Vec<u8>,
    body: &mut Body,
    mut intake: Intake,
) -> Result<(Proven, Vec<u8>), Failure> {
    loop {
        let free = held.len().saturating_sub(Trailer::LEN);
        pipe.write(held.get(..free).unwrap_or_default()).await;
        held.drain(..free);
        let Some(chunk) = body.next().await? else {
            return Ok((intake.finish()?, held));
        };
        intake.push(&chunk)?;
        held.extend_from_slice(&chunk);
    }
}
