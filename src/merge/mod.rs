//! Merges neighbouring segments into one: the newest version of every page that any of them holds.
//!
//! Every input is read from its first byte to its last and must prove itself, or nothing comes of the merge: what is
//! merged replaces its inputs, so that damage in one of them must end here. Pages are copied as they are packed.
//!
//! Memory: a piece of each input, and the index of the output, about nine bytes a page.

mod bundle;
mod error;
mod input;
mod sink;

pub use bundle::{Bundled, bundle};
pub use error::Error;
pub use sink::Sink;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::ltx::{self, Codec, Compressor, DbSum, Encoder, Header, Pgno, Sums, Trailer};
use crate::replica::{Level, PlanError, SegmentId, SegmentInfo};
use crate::restore;
use crate::store::Source;
use input::Input;

/// The most segments that are merged at once.
pub const MAX_INPUTS: usize = 256;
/// What is held of all inputs together, about.
const MEMORY: u64 = 8 * 1024 * 1024;
/// What is read of an input at once, at the least and at the most.
const PIECE: std::ops::RangeInclusive<u64> = 32 * 1024..=1024 * 1024;

/// A segment that was merged.
#[derive(Debug)]
pub struct Merged<W> {
    /// Its name, at the level that was asked for.
    pub id: SegmentId,
    /// Its header.
    pub header: Header,
    /// Its trailer.
    pub trailer: Trailer,
    /// Its length in bytes.
    pub size: u64,
    /// What it was written into.
    pub out: W,
}

/// Merges segments that follow each other, oldest first, into one of `level`, written into `out`.
///
/// The state that it promises is the last one's, if all of them promise one and each goes on where the one before ends;
/// of a whole database, if its pages prove it.
pub async fn merge<W: Sink>(
    source: &dyn Source,
    segments: &[SegmentInfo],
    level: Level,
    out: W,
) -> Result<Merged<W>, Error> {
    if segments.is_empty() || segments.len() > MAX_INPUTS {
        return Err(Error::Inputs(segments.len()));
    }
    let share = MEMORY.checked_div(segments.len() as u64).unwrap_or(MEMORY);
    let piece = share.clamp(*PIECE.start(), *PIECE.end());
    let mut inputs = Vec::with_capacity(segments.len());
    for segment in segments {
        inputs.push(Input::open(source, *segment, piece).await?);
    }
    let header = header(&inputs)?;
    let id = SegmentId {
        level,
        min: header.min_txid,
        max: header.max_txid,
    };
    let ends = ends(&inputs);
    let end = ends.first().copied().unwrap_or(header.commit);
    let mut encoder =
        Encoder::new(out, header.clone(), Compressor::new(Codec::Stored)).map_err(Error::Output)?;

    let mut next = BinaryHeap::with_capacity(inputs.len());
    for (number, input) in inputs.iter().enumerate() {
        next.extend(input.page().map(|page| Reverse((page.pgno, Reverse(number)))));
    }
    let (mut regrown, mut sum) = (0u32, DbSum::EMPTY);
    let mut last = Pgno(0);
    while let Some(Reverse((pgno, Reverse(number)))) = next.pop() {
        let (Some(input), Some(&end_here)) = (inputs.get_mut(number), ends.get(number)) else {
            break;
        };
        // The newest comes first; what follows under the same number are older versions.
        if pgno != last
            && pgno.0 <= end_here
            && let Some(page) = input.page()
        {
            let added = encoder.packed_page(pgno, page.codec, page.crc, &page.payload);
            added.map_err(Error::Output)?;
            regrown = regrown.saturating_add(u32::from(pgno.0 > end));
            sum = sum.plus(page.crc);
        }
        last = pgno;
        if encoder.out().is_full() {
            encoder.out_mut().drain().await.map_err(Error::Sink)?;
        }
        input.advance(source).await?;
        next.extend(input.page().map(|page| Reverse((page.pgno, Reverse(number)))));
    }
    // A database that shrank in between and grew again has written every page of its new end.
    let grown = |commit| header.page_size.stored_pages(commit);
    if regrown != grown(header.commit).saturating_sub(grown(end)) {
        let last = segments.last().map_or(id, |last| last.id);
        return Err(restore::Error::Incomplete(last).into());
    }
    if header.is_snapshot() {
        prove(&header, sum, segments)?;
    }
    let (out, trailer, size) = encoder.finish().map_err(Error::Output)?;
    Ok(Merged {
        id,
        header,
        trailer,
        size,
        out,
    })
}

/// The header of what comes out, once the inputs are found to follow each other.
fn header(inputs: &[Input]) -> Result<Header, Error> {
    let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else {
        return Err(Error::Inputs(0));
    };
    let mut is_chain = true;
    for (before, after) in inputs.iter().zip(inputs.iter().skip(1)) {
        follows(before, after)?;
        let adjacent = before.header.max_txid.next() == Some(after.header.min_txid);
        is_chain &= adjacent && before.header.sums.is_some();
    }
    let sums = match (first.header.sums, last.header.sums) {
        // Proven by its pages, wherever they come from.
        (_, Some(last)) if first.header.is_snapshot() => Some(Sums {
            before: DbSum::EMPTY,
            after: last.after,
        }),
        (Some(first), Some(last)) if is_chain => Some(Sums {
            before: first.before,
            after: last.after,
        }),
        _ => None,
    };
    let (first, last) = (&first.header, &last.header);
    let txids = (first.min_txid, last.max_txid);
    Ok(Header::new(
        first.page_size,
        last.commit,
        txids,
        last.timestamp,
        sums,
    ))
}

/// Holds the sum of a whole database against what it promises.
fn prove(header: &Header, computed: DbSum, segments: &[SegmentInfo]) -> Result<(), Error> {
    match (header.sums, segments.last()) {
        (Some(sums), Some(last)) if sums.after != computed => {
            let (segment, promised) = (last.id, sums.after);
            let error = ltx::Error::DbSum {
                txid: header.max_txid,
                promised,
                computed,
            };
            Err(restore::Error::Damaged { segment, error }.into())
        }
        _ => Ok(()),
    }
}

fn follows(before: &Input, after: &Input) -> Result<(), Error> {
    if before.header.page_size != after.header.page_size {
        return Err(restore::Error::PageSize(before.segment.id).into());
    }
    let (end, start) = (before.header.max_txid, after.header.min_txid);
    if end.next().is_none_or(|next| next < start) || after.header.max_txid <= end {
        let (after, next) = (end, start);
        return Err(restore::Error::Plan(PlanError::Gap { after, next }).into());
    }
    match (before.header.sums, after.header.sums) {
        (Some(sums), Some(next)) if end.next() == Some(start) && sums.after != next.before => {
            Err(restore::Error::BrokenChain {
                segment: after.segment.id,
                before: before.position(),
            }
            .into())
        }
        _ => Ok(()),
    }
}

/// For each input the last page that it can give: the database was never shorter from it to the end.
fn ends(inputs: &[Input]) -> Vec<u32> {
    let mut end = u32::MAX;
    let mut ends: Vec<u32> = inputs
        .iter()
        .rev()
        .map(|input| {
            end = end.min(input.header.commit);
            end
        })
        .collect();
    ends.reverse();
    ends
}
