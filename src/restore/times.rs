//! Times that a listing does not tell.

use super::{Error, Result};
use crate::ltx::{self, Header, Timestamp};
use crate::replica::SegmentInfo;
use crate::store::{self, Store};

/// Tells of each segment whether it is at or before `time`, where the listing does not: times ascend with transactions,
/// so that a few need to be asked. The times that are set are on the right side of `time`, not exact.
pub(super) async fn tell(store: &dyn Store, segments: &mut Vec<SegmentInfo>, time: Timestamp) -> Result<()> {
    if segments.iter().all(|segment| segment.timestamp.is_some()) {
        return Ok(());
    }
    crate::replica::sort_by_key(segments, |segment| segment.id.max);
    let (mut low, mut high) = (0, segments.len());
    while low < high {
        let middle = low.midpoint(high);
        let Some(segment) = segments.get(middle).copied() else {
            break;
        };
        match time_of(store, segment).await? {
            // Deleted while we look.
            None => {
                segments.remove(middle);
                high = high.saturating_sub(1);
            }
            Some(timestamp) if timestamp <= time => low = middle.saturating_add(1),
            Some(_) => high = middle,
        }
    }
    let later = Timestamp(time.0.saturating_add(1));
    for (number, segment) in segments.iter_mut().enumerate() {
        let told = if number < low { time } else { later };
        segment.timestamp = segment.timestamp.or(Some(told));
    }
    Ok(())
}

/// When a segment's last transaction was seen: as the store tells it of one object, or as its header does. `None` where
/// it is gone.
pub async fn time_of(store: &dyn Store, segment: SegmentInfo) -> Result<Option<Timestamp>> {
    if segment.timestamp.is_some() {
        return Ok(segment.timestamp);
    }
    let Some(found) = store.stat(segment.id).await? else {
        return Ok(None);
    };
    if found.timestamp.is_some() {
        return Ok(found.timestamp);
    }
    let head = match store.read(segment.id, 0..Header::LEN as u64).await {
        Err(store::Error::NotFound(_)) => return Ok(None),
        head => head.map_err(|error| Error::read(segment.id, error))?,
    };
    let header = match head.first_chunk() {
        Some(head) => Header::parse(head),
        None => Err(ltx::Error::Truncated(segment.size)),
    };
    match header {
        Ok(header) => Ok(Some(header.timestamp)),
        Err(error) => Err(Error::Damaged {
            segment: segment.id,
            error,
        }),
    }
}
