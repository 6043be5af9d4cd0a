//! A segment that was pushed: it is whole and at hand, so that nothing has to be asked for.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use super::Error;
use super::database::{Database, Progress};
use super::file::File;
use crate::ltx::Header;
use crate::replica::{Level, Plan, Position, SegmentId, SegmentInfo};
use crate::restore::Restore;
use crate::store::{self, Body, Source};

/// Fetches what leads on from the copy's state out of `segment`, proven as if it were read from the replica; to be applied
/// then. `false`, with nothing done, if it goes on from another state.
pub async fn fetch<F: File>(
    database: &Database<F>,
    segment: Bytes,
    progress: &mut dyn FnMut(Progress),
) -> Result<bool, Error> {
    let Some(from) = database.state().map(|state| state.position()) else {
        return Ok(false);
    };
    let header = segment.first_chunk().and_then(|bytes| Header::parse(bytes).ok());
    let Some(header) = header.filter(|header| continues(header, from)) else {
        return Ok(false);
    };
    let id = SegmentId {
        level: Level::RAW,
        min: header.min_txid,
        max: header.max_txid,
    };
    let info = SegmentInfo {
        id,
        size: segment.len() as u64,
        timestamp: Some(header.timestamp),
    };
    let pushed = Pushed(segment);
    let plan = Plan {
        segments: vec![info],
        ..Plan::default()
    };
    let Some(restore) = Restore::from_plan(&pushed, plan, from).await? else {
        return Ok(false);
    };
    database.fetch(&restore, progress).await?;
    Ok(true)
}

/// The only object of a plan.
struct Pushed(Bytes);

#[async_trait(?Send)]
impl Source for Pushed {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> store::Result<Bytes> {
        let len = range.end.saturating_sub(range.start);
        let bytes = self.0.read(range).await?;
        match bytes.len() as u64 == len {
            true => Ok(bytes),
            false => Err(store::Error::OutOfRange(format!("segment {id}"))),
        }
    }
}

fn continues(header: &Header, from: Position) -> bool {
    let adjacent = from.txid.next() == Some(header.min_txid);
    adjacent && header.sums.is_some_and(|sums| Some(sums.before) == from.sum)
}
