//! What a replica holds: asked of the replica itself.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ltx::{Header, Timestamp, Txid};
use crate::replica::{Level, Position, SegmentInfo, Target, plan};
use crate::restore::{Error, listing};
use crate::store::{self, Store};

/// A replica, as it was found.
#[derive(Clone, Debug, Serialize)]
pub struct Survey {
    /// Its newest state.
    pub newest: Moment,
    /// Its oldest state that can be restored.
    pub oldest: Moment,
    /// The sum of all pages of the newest, where it is known.
    pub sum: Option<String>,
    /// Size of the newest state in bytes.
    pub database_bytes: u64,
    /// Size of its pages.
    pub page_size: u32,
    /// All objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What there is at each level, and on each shelf.
    pub levels: Vec<Shelf>,
}

/// A state.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Moment {
    /// Its transaction.
    pub txid: Txid,
    /// When it was seen.
    pub time: Timestamp,
}

/// What one level holds.
#[derive(Clone, Debug, Serialize)]
pub struct Shelf {
    /// `0` to `9` as Litestream has them; `history`, `sums`, `owner` besides.
    pub level: String,
    /// How many objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Looks at a replica. An empty one is [`PlanError::Empty`](crate::replica::PlanError::Empty).
pub async fn survey(store: &dyn Store) -> Result<Survey, Error> {
    let segments = listing(store, Txid::ZERO).await?;
    let newest = plan(&segments, Target::Latest, Txid::ZERO)?.segments;
    let newest = header(store, newest.last()).await?;
    let oldest = oldest(&segments)?;
    let oldest = header(store, oldest.last()).await?;
    let mut objects = segments;
    for shelf in Level::shelves() {
        objects.extend(store.list(shelf, Txid::ZERO).await?);
    }
    let mut levels: BTreeMap<Level, Shelf> = BTreeMap::new();
    for object in &objects {
        let shelf = levels.entry(object.id.level).or_insert_with(|| Shelf {
            level: name(object.id.level),
            objects: 0,
            bytes: 0,
        });
        shelf.objects = shelf.objects.saturating_add(1);
        shelf.bytes = shelf.bytes.saturating_add(object.size);
    }
    let page_size = newest.page_size.get();
    Ok(Survey {
        newest: moment(&newest),
        oldest: moment(&oldest),
        sum: position(&newest).sum.map(|sum| sum.to_string()),
        database_bytes: u64::from(page_size).saturating_mul(u64::from(newest.commit)),
        page_size,
        objects: levels.values().map(|shelf| shelf.objects).sum(),
        bytes: levels.values().map(|shelf| shelf.bytes).sum(),
        levels: levels.into_values().collect(),
    })
}

/// The plan of the oldest state: the first whole database that nothing is missing of.
fn oldest(segments: &[SegmentInfo]) -> Result<Vec<SegmentInfo>, Error> {
    let mut whole: Vec<Txid> = segments
        .iter()
        .filter(|segment| segment.id.min == Txid::FIRST)
        .map(|segment| segment.id.max)
        .collect();
    whole.sort_unstable();
    let mut plans = whole
        .into_iter()
        .map(|txid| plan(segments, Target::Txid(txid), Txid::ZERO));
    let first = plans
        .find(Result::is_ok)
        .unwrap_or_else(|| plan(segments, Target::Latest, Txid::ZERO));
    Ok(first?.segments)
}

/// The header of a segment, as far as it tells of the state after it.
async fn header(store: &dyn Store, segment: Option<&SegmentInfo>) -> Result<Header, Error> {
    let segment = segment.ok_or(crate::replica::PlanError::Empty)?;
    let bytes = store.read(segment.id, 0..Header::LEN as u64).await?;
    let bytes = bytes
        .first_chunk()
        .ok_or_else(|| store::Error::OutOfRange(segment.id.to_string()))?;
    Header::parse(bytes).map_err(|error| Error::Damaged {
        segment: segment.id,
        error,
    })
}

fn moment(header: &Header) -> Moment {
    Moment {
        txid: header.max_txid,
        time: header.timestamp,
    }
}

fn position(header: &Header) -> Position {
    Position {
        txid: header.max_txid,
        sum: header.sums.map(|sums| sums.after),
    }
}

fn name(level: Level) -> String {
    match level {
        Level::HISTORY => "history".to_owned(),
        Level::SUMS => "sums".to_owned(),
        Level::OWNER => "owner".to_owned(),
        level => level.to_string(),
    }
}
