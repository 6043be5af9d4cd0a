//! Where the pages of a state are, for who reads them one by one.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::opened::Room;
use super::planned::Planned;
use super::walk::{Mode, Walk};
use super::{Error, Result, open};
use crate::ltx::Pgno;
use crate::replica::{MapWindow, PageSet, Plan, PlanError, Position, SegmentId, Target};
use crate::store::Source;

/// The page map of the state that a plan leads to, of the pages in `pages`: the first [`MapWindow::MAX_PAGES`] of them.
///
/// However large the database is, as much of the indexes is in memory as a restore keeps, and as much is read as the
/// window needs.
pub async fn map(
    source: &dyn Source,
    plan: &Plan,
    target: Target,
    pages: RangeInclusive<u32>,
    parallelism: usize,
) -> Result<MapWindow> {
    let source = Planned::new(source, plan);
    let opened = open(&source, plan, parallelism, Room::INDEXES).await?;
    let (Some(newest), Some(oldest)) = (opened.first(), opened.last()) else {
        return Err(PlanError::Empty.into());
    };
    oldest.continues(Position::EMPTY)?;
    let header = &newest.header;
    if matches!(target, Target::Time(time) if header.timestamp > time) {
        return Err(Error::Times(newest.segment.id));
    }
    let position = Position {
        txid: newest.segment.id.max,
        sum: header.sums.map(|sums| sums.after),
    };
    let first = (*pages.start()).max(1);
    let end = first.saturating_add(MapWindow::MAX_PAGES.saturating_sub(1));
    let last = (*pages.end()).min(end).min(header.commit);
    let mut window = MapWindow::new(
        position,
        header.page_size,
        header.commit,
        header.timestamp,
        Pgno(first),
    );
    let walk = Walk::new(&source, &opened, Mode::Newest, PageSet::default())?;
    let Some(walk) = walk.filter(|_| first <= last) else {
        return Ok(window);
    };
    let count = last.saturating_sub(first).saturating_add(1);
    let mut places = vec![None; usize::try_from(count).unwrap_or_default()];
    let mut objects = BTreeMap::<SegmentId, u32>::new();
    let mut walk = walk.over(first..=last).await?;
    while let Some(part) = walk.next().await? {
        // The walk counts the segments that were opened.
        let Some(segment) = opened.get(part.segment).map(|opened| opened.segment.id) else {
            continue;
        };
        let bundled = plan.bundled.get(&segment);
        let (object, base) = bundled.map_or((segment, 0), |place| (place.bundle.id, place.offset));
        let object = *objects.entry(object).or_insert_with(|| window.add_object(object));
        for entry in part.entries {
            let at = entry.pgno.0.checked_sub(first).map(|at| at as usize);
            if let Some(place) = at.and_then(|at| places.get_mut(at)) {
                *place = Some((object, base.saturating_add(entry.offset), entry.len));
            }
        }
    }
    let lock_page = header.page_size.lock_page();
    for (place, pgno) in places.into_iter().zip(first..) {
        match place {
            Some((object, offset, len)) => window.add(object, offset, len),
            None if Pgno(pgno) == lock_page => {}
            None => return Err(Error::Incomplete(newest.segment.id)),
        }
    }
    Ok(window)
}
