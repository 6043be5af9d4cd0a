//! What a restore would do.

use std::time::Instant;

use futures_util::StreamExt;
use serde::Serialize;

use super::{Error, Options, Way};
use crate::ltx::{PageSize, Timestamp, Txid};
use crate::native::store::Patient;
use crate::replica::{PlanError, Position, SegmentInfo};
use crate::restore::Restore;

/// A plan, and what it would cost.
#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    /// The state's transaction.
    pub txid: Txid,
    /// When it was the newest state, in Unix milliseconds.
    pub timestamp: Timestamp,
    /// Size of a page.
    pub page_size: PageSize,
    /// Size of the database in pages.
    pub pages: u32,
    /// Size of the database in bytes.
    pub bytes: u64,
    /// What it is made of, oldest first.
    pub segments: Vec<SegmentInfo>,
    /// Bytes that will be read, beside those that this has read already.
    pub fetch: u64,
    /// Requests that will be made, those of this included.
    pub requests: u64,
    /// About what they cost in US dollars at S3's list price; what leaves a cloud may cost more than that.
    pub request_cost: f64,
    /// About how long it will take, as far as reading takes it: judged by one read that was timed.
    pub seconds: f64,
}

/// A read of a thousand objects in S3's standard class, in US dollars.
const THOUSAND_READS: f64 = 0.0004;
/// What a read brings.
const READ: u64 = 1024 * 1024;

/// Plans, opens the segments, and reads one piece to see how fast that goes; writes nothing.
pub async fn preview(store: &Patient, options: &Options) -> Result<Preview, Error> {
    let plan = Way::new(options.target).plan(store).await?;
    let restore = Restore::from_plan_with(store, plan, Position::EMPTY, options.parallelism).await?;
    let restore = restore.ok_or(crate::restore::Error::Plan(PlanError::Empty))?;
    let restore = restore.at_or_before(options.target)?;
    let start = Instant::now();
    let read = match restore.chunks().next().await {
        Some(chunk) => chunk?.fetched(),
        None => 0,
    };
    // Several were under way at once when the first came.
    let (taken, fetch) = (start.elapsed().as_secs_f64(), restore.bytes());
    let reads = fetch.div_ceil(READ);
    let rounds = reads as f64 / options.parallelism.max(1) as f64;
    let requests = store.requests().saturating_add(reads);
    Ok(Preview {
        txid: restore.position().txid,
        timestamp: restore.timestamp(),
        page_size: restore.page_size(),
        pages: restore.commit(),
        bytes: restore.page_size().file_size(restore.commit()),
        segments: restore.plan().segments.clone(),
        fetch,
        requests,
        request_cost: requests as f64 / 1000.0 * THOUSAND_READS,
        seconds: if read > 0 { taken * rounds } else { taken },
    })
}
