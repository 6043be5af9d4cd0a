//! Whether what is at the destination is what would be copied there.

use super::Error;
use crate::ltx::{Codec, Decoder, Event, Header};
use crate::replica::{Level, SegmentInfo};
use crate::restore::members;
use crate::store::Store;

/// The header, and the first page, packed however badly, are within so many bytes.
const START: u64 = 72 * 1024;

/// Compares without reading all: the same transactions, time, size and sums of the database in the header, and the
/// first page packed as wanted. Of bundles, the same members; of other objects, the length.
pub(super) async fn is_same(
    source: &dyn Store,
    object: SegmentInfo,
    target: &dyn Store,
    found: SegmentInfo,
    codec: Option<Codec>,
) -> Result<bool, Error> {
    if object.id.level == Level::HISTORY {
        let (ours, theirs) = (members(source, object).await?, members(target, found).await?);
        let names = |members: &[crate::replica::Member]| -> Vec<_> {
            members
                .iter()
                .map(|member| (member.id, member.timestamp))
                .collect()
        };
        let Some(first) = theirs.first() else {
            return Ok(ours.is_empty());
        };
        let end = first.offset.saturating_add(first.size.min(START));
        let start = target.read(found.id, first.offset..end).await?;
        let packed = start_of(&start).is_some_and(|(_, packed)| agrees(packed, codec));
        return Ok(names(&ours) == names(&theirs) && packed);
    }
    if object.id.level > Level::SNAPSHOT {
        return Ok(object.size == found.size);
    }
    let ours = source.read(object.id, 0..START.min(object.size)).await?;
    let theirs = target.read(found.id, 0..START.min(found.size)).await?;
    let same = match (start_of(&ours), start_of(&theirs)) {
        (Some((our_header, our_codec)), Some((header, packed))) => {
            our_header == header && agrees(packed, codec.or(our_codec))
        }
        _ => false,
    };
    Ok(same)
}

fn agrees(found: Option<Codec>, wanted: Option<Codec>) -> bool {
    match (found, wanted) {
        (Some(Codec::Stored), Some(Codec::Deflate)) | (None, _) | (_, None) => true,
        (Some(found), Some(wanted)) => found == wanted,
    }
}

/// The header, and how the first page is packed.
fn start_of(bytes: &[u8]) -> Option<(Header, Option<Codec>)> {
    let mut decoder = Decoder::new();
    decoder.push(bytes);
    let header = match decoder.next() {
        Ok(Some(Event::Header(header))) => header.clone(),
        _ => return None,
    };
    let codec = match decoder.next() {
        Ok(Some(Event::Page(page))) => Some(page.codec),
        Ok(_) => None,
        Err(_) => return None,
    };
    Some((header, codec))
}
