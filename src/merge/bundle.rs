//! Puts raw segments as they are into one bundle.

use super::{Error, Sink};
use crate::ltx::{Decoder, Event, Timestamp};
use crate::replica::{BundleWriter, SegmentId, SegmentInfo};
use crate::restore;
use crate::store::Source;

/// A bundle that was made.
#[derive(Debug)]
pub struct Bundled<W> {
    /// Its name.
    pub id: SegmentId,
    /// Its last bytes, which tell it from any other.
    pub end: Vec<u8>,
    /// Its length in bytes.
    pub size: u64,
    /// What it was written into.
    pub out: W,
}

/// Bundles raw segments, oldest first, each proven and in memory one after the other.
pub async fn bundle<W: Sink>(
    source: &dyn Source,
    segments: &[SegmentInfo],
    mut out: W,
) -> Result<Bundled<W>, Error> {
    let mut writer = BundleWriter::default();
    let mut last = Timestamp(0);
    let mut size = BundleWriter::magic().len() as u64;
    out.write_all(BundleWriter::magic()).map_err(Error::Write)?;
    for segment in segments {
        let id = segment.id;
        let bytes = source.read(id, 0..segment.size).await;
        let bytes = bytes.map_err(|error| restore::Error::read(id, error))?;
        // Whatever others' clocks did: the index ascends.
        last = last.max(proven_time(id, &bytes)?);
        writer.add(id.min, id.max, segment.size, last)?;
        out.write_all(&bytes).map_err(Error::Write)?;
        size = size.saturating_add(segment.size);
        if out.is_full() {
            out.drain().await.map_err(Error::Sink)?;
        }
    }
    let id = writer.id().ok_or(Error::Inputs(0))?;
    let end = writer.finish();
    out.write_all(&end).map_err(Error::Write)?;
    Ok(Bundled {
        id,
        size: size.saturating_add(end.len() as u64),
        end,
        out,
    })
}

/// The time of a segment that has proven itself.
fn proven_time(id: SegmentId, bytes: &[u8]) -> restore::Result<Timestamp> {
    let damaged = |error| restore::Error::Damaged { segment: id, error };
    let mut decoder = Decoder::new();
    decoder.push(bytes);
    let mut time = Timestamp(0);
    while let Some(event) = decoder.next().map_err(damaged)? {
        if let Event::Header(header) = event {
            let (min, max) = (header.min_txid, header.max_txid);
            if (min, max) != (id.min, id.max) {
                return Err(restore::Error::WrongName {
                    segment: id,
                    min,
                    max,
                });
            }
            time = header.timestamp;
        }
    }
    decoder.finish().map_err(damaged)?;
    Ok(time)
}
