//! Finds out where to go on: what the replica holds, whether the page-sum table describes it, and whether the WAL
//! still holds everything since.

use futures_util::StreamExt;

use super::cut::table;
use super::owner::{self, Claim, Identity, Record};
use super::page_sums::PageSums;
use super::state::{Mark, Marks, ReplicaState, WalMark};
use super::upload::Patience;
use super::{Error, Replica};
use crate::ltx::{DbSum, Header, PageCrc, PageSize, Pgno, Timestamp, Txid};
use crate::native::sqlite::{Committed, Source};
use crate::replica::{Level, Plan, Position, SegmentInfo, SumsHeader, Target, plan};
use crate::restore::{self, Restore, Scratch, listing};
use crate::store::Store;

/// So often what was listed may be gone when it is read: upkeep moves it to another level. Beyond that it is lost.
const TIMES_GONE: u32 = 4;
/// How much of a page-sum table is read at once; a multiple of its entries.
const PIECE: u64 = 1024 * 1024;

/// What is found out.
#[derive(Debug)]
pub(super) enum Standing {
    /// It is ours.
    Ours {
        /// The state that the replica holds; the page-sum table describes it.
        mark: Mark,
        /// Everything that it holds.
        listing: Vec<SegmentInfo>,
    },
    /// Another database's, at this position.
    Foreign { owner: Record, head: Position },
}

/// Learns what the replica holds, however long that takes.
pub(super) async fn read_replica(
    replica: &Replica,
    state: &ReplicaState,
    sums: &PageSums,
    page_size: PageSize,
    identity: &Identity,
    claim: Claim,
    now: Timestamp,
) -> Result<Standing, Error> {
    let mut patience = Patience::new(&replica.status);
    let is_remembered = state.load(page_size).confirmed.is_some();
    let mut gone = 0;
    loop {
        let reading = async {
            let owner = match replica.options.self_kept {
                true => Ok(()),
                false => owner::claim(&*replica.store, identity, is_remembered, claim, now).await?,
            };
            try_read_replica(
                &*replica.store,
                state,
                sums,
                page_size,
                owner,
                replica.options.upkeep.is_some(),
            )
            .await
        };
        match reading.await {
            Err(error) if error.is_passing() => patience.wait("read the replica", &error).await,
            Err(error) if error.is_gone() && gone < TIMES_GONE => {
                gone += 1;
                patience.wait("read the replica", &error).await;
            }
            Ok(standing) => {
                patience.end();
                return Ok(standing);
            }
            Err(error) => return Err(error),
        }
    }
}

async fn try_read_replica(
    store: &dyn Store,
    state: &ReplicaState,
    sums: &PageSums,
    page_size: PageSize,
    owner: Result<(), Record>,
    keeps_shelves: bool,
) -> Result<Standing, Error> {
    let listing = listing(store, Txid::ZERO).await?;
    let head = Head::read(store, &listing).await?;
    if let Err(owner) = owner {
        let head = match head {
            Head::Empty => Position::EMPTY,
            Head::At { header, .. } => position_of(&header),
        };
        return Ok(Standing::Foreign { owner, head });
    }
    let mark = match head {
        Head::Empty => nothing(),
        Head::At { header, .. } if header.page_size != page_size => {
            return Err(Error::page_size(page_size, header.page_size));
        }
        Head::At { header, plan } => catch_up(store, &plan, &header, sums, &state.load(page_size)).await?,
    };
    let mut listing = listing;
    if keeps_shelves {
        for shelf in [Level::HISTORY, Level::SUMS] {
            listing.append(&mut store.list(shelf, Txid::ZERO).await?);
        }
    }
    Ok(Standing::Ours { mark, listing })
}

/// Where a replica stands.
#[derive(Clone, Debug)]
enum Head {
    Empty,
    At { header: Header, plan: Plan },
}

impl Head {
    /// Reads the header of the newest segment.
    async fn read(store: &dyn Store, segments: &[SegmentInfo]) -> Result<Self, restore::Error> {
        if segments.is_empty() {
            return Ok(Self::Empty);
        }
        let plan = plan(segments, Target::Latest, Txid::ZERO)?;
        let Some(newest) = plan.segments.last().map(|segment| segment.id) else {
            return Ok(Self::Empty);
        };
        let bytes = store.read(newest, 0..Header::LEN as u64).await?;
        let damaged = |error| restore::Error::Damaged {
            segment: newest,
            error,
        };
        let header = bytes
            .first_chunk()
            .ok_or_else(|| damaged(crate::ltx::Error::Truncated(0)))?;
        Ok(Self::At {
            header: Header::parse(header).map_err(damaged)?,
            plan,
        })
    }
}

fn position_of(header: &Header) -> Position {
    Position {
        txid: header.max_txid,
        sum: header.sums.map(|sums| sums.after),
    }
}

/// Brings the table to the state that the replica's newest segment yields, and returns that state. Costs nothing
/// if the table is there already; otherwise the segments since the last confirmed state are read, or all.
async fn catch_up(
    store: &dyn Store,
    plan: &Plan,
    header: &Header,
    sums: &PageSums,
    marks: &Marks,
) -> Result<Mark, Error> {
    let page_size = header.page_size;
    let promised = position_of(header);
    let mark = |position| {
        let wal = marks.at(position).and_then(|mark| mark.wal);
        Mark {
            position,
            timestamp: header.timestamp,
            commit: header.commit,
            wal,
        }
    };
    if matches(sums, promised, header.commit, page_size)? {
        return Ok(mark(promised));
    }
    if let Some(confirmed) = marks.confirmed
        && confirmed.position.txid < promised.txid
    {
        tracing::info!(from = %confirmed.position.txid, to = %promised.txid, "reading what the replica got since");
        // The table may be half moved to a later state already: only pages of these segments can be, and all of
        // those are set now, so the sum of the whole is what counts.
        let since = Restore::prepare(
            store,
            Target::Latest,
            Position {
                sum: None,
                ..confirmed.position
            },
        )
        .await;
        if let Ok(Some(since)) = since
            && apply(&since, sums).await.is_ok()
            && matches(sums, promised, header.commit, page_size)?
        {
            return Ok(mark(promised));
        }
    }
    if let Some(txid) = from_sidecar(store, sums, promised, page_size).await? {
        tracing::info!(from = %txid, "the page-sum table beside a snapshot tells which pages the replica holds");
        let from = Position { txid, sum: None };
        let since = Restore::prepare(store, Target::Latest, from).await;
        let applied = match &since {
            Ok(Some(since)) => apply(since, sums).await.is_ok(),
            Ok(None) => true,
            Err(_) => false,
        };
        if applied && matches(sums, promised, header.commit, page_size)? {
            return Ok(mark(promised));
        }
    }
    tracing::info!(
        bytes = plan.size(),
        "reading the replica to learn which pages it holds"
    );
    let whole = Restore::from_plan(store, plan.clone(), Position::EMPTY).await?;
    let Some(whole) = whole else {
        return Err(restore::Error::Plan(crate::replica::PlanError::Empty).into());
    };
    sums.resize(0).map_err(table)?;
    let sum = apply(&whole, sums).await?;
    Ok(mark(whole.prove(sum)?))
}

/// The end of `mark` in the WAL, if the WAL still holds everything since: its salts are the same and the last frame of
/// that state still stands where it was, proven by its cumulative checksum. Otherwise pages must be compared: frames may
/// have been copied back and overwritten, or a power cut may have taken the database back behind its replica.
pub(super) fn wal_continues(
    source: &Source,
    committed: &Committed,
    mark: &Mark,
) -> Result<Option<WalMark>, Error> {
    let Some(wal) = mark.wal else { return Ok(None) };
    // No frame, no proof: an empty WAL looks the same whatever was written and copied back meanwhile.
    if committed.salts != wal.salts || committed.mx_frame < wal.frame || wal.frame == 0 {
        return Ok(None);
    }
    let found = source.frame_checksum_at(wal.frame)?;
    Ok(Some(wal).filter(|wal| found == Some((wal.salts, wal.checksum))))
}

/// Fills the table from the newest page-sum table that the replica holds of a state up to `promised`; the transaction
/// of that state. What it says is proven by the sum that the replica promises, once all later segments are applied.
async fn from_sidecar(
    store: &dyn Store,
    sums: &PageSums,
    promised: Position,
    page_size: PageSize,
) -> Result<Option<Txid>, Error> {
    // A Worker keeps none.
    let Ok(listing) = store.list(Level::SUMS, Txid::ZERO).await else {
        return Ok(None);
    };
    let usable = listing.iter().filter(|object| object.id.max <= promised.txid);
    let Some(newest) = usable.max_by_key(|object| object.id.max) else {
        return Ok(None);
    };
    let head = SumsHeader::LEN as u64;
    if newest.size < head {
        return Ok(None);
    }
    let bytes = store.read(newest.id, 0..head).await?;
    let header = bytes.first_chunk().and_then(SumsHeader::parse);
    let Some(header) = header.filter(|header| {
        header.page_size == page_size && header.txid == newest.id.max && header.object_len() == newest.size
    }) else {
        return Ok(None);
    };
    sums.resize(0).map_err(table)?;
    let mut at = head;
    let mut pgno = Pgno(1);
    while at < newest.size {
        let end = at.saturating_add(PIECE).min(newest.size);
        let bytes = store.read(newest.id, at..end).await?;
        let mut run = Vec::with_capacity(bytes.len() / SumsHeader::ENTRY);
        for entry in bytes.as_chunks::<{ SumsHeader::ENTRY }>().0 {
            run.push((pgno, PageCrc(u64::from_be_bytes(*entry))));
            pgno = Pgno(pgno.0.saturating_add(1));
        }
        sums.set(&run).map_err(table)?;
        at = end;
    }
    sums.resize(header.commit).map_err(table)?;
    let is_whole = sums.sum(page_size).map_err(table)? == header.sum;
    Ok(is_whole.then_some(header.txid))
}

/// The state before anything was shipped.
pub(super) fn nothing() -> Mark {
    Mark {
        position: Position::EMPTY,
        timestamp: Timestamp(0),
        commit: 0,
        wal: None,
    }
}

fn matches(sums: &PageSums, at: Position, commit: u32, page_size: PageSize) -> Result<bool, Error> {
    let Some(promised) = at.sum else { return Ok(false) };
    Ok(sums.pages().map_err(table)? == commit && sums.sum(page_size).map_err(table)? == promised)
}

/// Sets the CRCs of all pages that a restore brings; returns their sum.
async fn apply(restore: &Restore<'_>, sums: &PageSums) -> Result<DbSum, Error> {
    let mut chunks = restore.chunks();
    let mut scratch = Scratch::default();
    let mut sum = DbSum::EMPTY;
    while let Some(chunk) = chunks.next().await {
        let mut crcs: Vec<(Pgno, PageCrc)> = Vec::new();
        let part = chunk?.decode(&mut scratch, |pgno, crc, _| {
            crcs.push((pgno, crc));
            Ok::<(), Error>(())
        })?;
        sum = sum.join(part);
        sums.set(&crcs).map_err(table)?;
    }
    sums.resize(restore.commit()).map_err(table)?;
    Ok(sum)
}
