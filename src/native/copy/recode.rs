//! One object on its way: proven, and packed anew where another codec is wanted.

use std::io::Write;

use bytes::Bytes;

use super::{Error, Options};
use crate::ltx::{self, Codec, Compressor, Decoder, Encoder, Event, FileChecksum};
use crate::native::staged::{LARGE, Stage, Staged};
use crate::replica::{BundleWriter, Level, SegmentId, SegmentInfo};
use crate::restore::members;
use crate::store::Store;

/// What is read at once.
const PIECE: u64 = 1024 * 1024;

/// An object that is ready to be created.
pub(super) struct Made {
    pub(super) body: Staged,
    /// Of a segment.
    pub(super) checksum: Option<FileChecksum>,
}

pub(super) async fn recode(
    source: &dyn Store,
    object: SegmentInfo,
    options: &Options,
) -> Result<Made, Error> {
    if object.id.level == Level::HISTORY {
        let body = bundle(source, object, options).await?;
        return Ok(Made { body, checksum: None });
    }
    if object.id.level > Level::SNAPSHOT {
        let mut stage = Stage::new(options.folder.clone(), LARGE);
        let mut pieces = Pieces::of(source, object.id, 0, object.size);
        while let Some(piece) = pieces.next().await? {
            stage.write_all(&piece)?;
        }
        let body = stage.finish(&[])?;
        return Ok(Made { body, checksum: None });
    }
    let pieces = Pieces::of(source, object.id, 0, object.size);
    let (body, checksum) = segment(pieces, object.id, options).await?;
    Ok(Made {
        body,
        checksum: Some(checksum),
    })
}

async fn bundle(source: &dyn Store, object: SegmentInfo, options: &Options) -> Result<Staged, Error> {
    let invalid = |error| Error::Bundle {
        segment: object.id,
        error,
    };
    let mut stage = Stage::new(options.folder.clone(), LARGE);
    let mut writer = BundleWriter::default();
    stage.write_all(BundleWriter::magic())?;
    for member in members(source, object).await? {
        let pieces = Pieces::of(source, object.id, member.offset, member.size);
        let (body, _) = segment(pieces, member.id, options).await?;
        let size = crate::store::Body::len(&body);
        writer
            .add(member.id.min, member.id.max, size, member.timestamp)
            .map_err(invalid)?;
        let mut at = 0;
        while at < size {
            let end = at.saturating_add(PIECE).min(size);
            stage.write_all(&crate::store::Body::read(&body, at..end).await?)?;
            at = end;
        }
    }
    stage.write_all(&writer.finish())?;
    Ok(stage.finish(&[])?)
}

/// Whether a page stays packed as it is. What does not shrink is stored in a replica of deflate.
fn stays(found: Codec, wanted: Option<Codec>) -> bool {
    wanted.is_none_or(|wanted| found == wanted || (wanted == Codec::Deflate && found == Codec::Stored))
}

async fn segment(
    mut pieces: Pieces<'_>,
    id: SegmentId,
    options: &Options,
) -> Result<(Staged, FileChecksum), Error> {
    let damaged = |error| Error::Damaged { segment: id, error };
    let mut decoder = Decoder::new();
    let mut encoder: Option<Encoder<Stage>> = None;
    let mut sums = None;
    while let Some(piece) = pieces.next().await? {
        decoder.push(&piece);
        while let Some(event) = decoder.next().map_err(damaged)? {
            match (event, &mut encoder) {
                (Event::Header(header), _) => {
                    if (header.min_txid, header.max_txid) != (id.min, id.max) {
                        return Err(damaged(ltx::Error::Header(
                            "it is of other transactions than its name",
                        )));
                    }
                    sums = header.sums;
                    let compressor = Compressor::new(options.codec.unwrap_or_default());
                    let stage = Stage::new(options.folder.clone(), LARGE);
                    encoder = Some(Encoder::new(stage, header.clone(), compressor).map_err(damaged)?);
                }
                (Event::Page(page), Some(encoder)) if stays(page.codec, options.codec) => encoder
                    .packed_page(page.pgno, page.codec, page.crc, page.payload)
                    .map_err(damaged)?,
                (Event::Page(page), Some(encoder)) => {
                    encoder.page(page.pgno, page.crc, page.data).map_err(damaged)?;
                }
                (Event::End(trailer), Some(_)) => {
                    encoder =
                        encoder.map(|encoder| encoder.with_post_apply_checksum(trailer.post_apply_checksum));
                }
                // The header comes first.
                (Event::Page(_) | Event::End(_), None) => {}
            }
        }
    }
    decoder.finish().map_err(damaged)?;
    let encoder = encoder.ok_or_else(|| damaged(ltx::Error::Truncated(0)))?;
    let (stage, header, trailer, _) = encoder.finish_with(sums).map_err(damaged)?;
    Ok((stage.finish(&header)?, trailer.file_checksum))
}

/// A part of an object, piece by piece.
struct Pieces<'a> {
    store: &'a dyn Store,
    id: SegmentId,
    at: u64,
    end: u64,
}

impl<'a> Pieces<'a> {
    fn of(store: &'a dyn Store, id: SegmentId, offset: u64, len: u64) -> Self {
        Self {
            store,
            id,
            at: offset,
            end: offset.saturating_add(len),
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let end = self.at.saturating_add(PIECE).min(self.end);
        if self.at >= end {
            return Ok(None);
        }
        let piece = self.store.read(self.id, self.at..end).await?;
        self.at = end;
        Ok(Some(piece))
    }
}
