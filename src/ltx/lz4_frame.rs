//! A legacy payload: an LZ4 frame, which carries no size field.
//!
//! Source: the LZ4 frame format description, 1.6.x. Only what superfly/ltx 0.5.0 and 0.5.1 write is taken:
//! independent blocks of at most 64 KiB, a checksum of the content, no content size, no dictionary.

use lz4_flex::block::decompress_into;
use twox_hash::XxHash32;

use super::bytes::Reader;

/// Magic, flags, block size, and their checksum: the options above have no other form.
const HEAD: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x64, 0x40, 0xa7];
const CONTENT_CHECKSUM: usize = 4;
const UNCOMPRESSED: u32 = 1 << 31;

const NO_FRAME: &str = "it is not an LZ4 frame as the format's writers make it";

/// Where the frame at the start of some bytes ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FrameLen {
    /// After this many bytes.
    Known(usize),
    /// Later than the bytes go.
    NeedMore,
    /// It is no such frame.
    Invalid(&'static str),
}

pub(crate) fn frame_len(bytes: &[u8]) -> FrameLen {
    walk(&mut Reader(bytes), bytes.len()).unwrap_or(FrameLen::NeedMore)
}

/// Fills `page` from a frame, from the front on; returns how much it held.
pub(crate) fn unpack(frame: &[u8], page: &mut [u8]) -> Result<usize, String> {
    let cut_off = || "it is cut off".to_owned();
    let mut reader = Reader(frame);
    if reader.take(HEAD.len()) != Some(&HEAD) {
        return Err(NO_FRAME.to_owned());
    }
    let mut len = 0usize;
    while let Some(block) = next_block(&mut reader).ok_or_else(cut_off)? {
        let rest = page.get_mut(len..).unwrap_or_default();
        let held = match block {
            Block::Packed(bytes) => decompress_into(bytes, rest).map_err(|error| error.to_string())?,
            Block::Stored(bytes) => {
                let place = rest.get_mut(..bytes.len());
                place.ok_or("it holds more than a page")?.copy_from_slice(bytes);
                bytes.len()
            }
        };
        len = len.saturating_add(held);
    }
    let checksum = reader.array().map(u32::from_le_bytes).ok_or_else(cut_off)?;
    if checksum != XxHash32::oneshot(0, page.get(..len).unwrap_or_default()) || !reader.0.is_empty() {
        return Err("its content is not what was packed".to_owned());
    }
    Ok(len)
}

/// A part of the content.
enum Block<'a> {
    Packed(&'a [u8]),
    Stored(&'a [u8]),
}

/// `None` where the bytes end early, and nothing in it where the blocks end.
fn next_block<'a>(reader: &mut Reader<'a>) -> Option<Option<Block<'a>>> {
    let size = u32::from_le_bytes(reader.array()?);
    if size == 0 {
        return Some(None);
    }
    let bytes = reader.take((size & !UNCOMPRESSED) as usize)?;
    Some(Some(if size & UNCOMPRESSED == 0 {
        Block::Packed(bytes)
    } else {
        Block::Stored(bytes)
    }))
}

/// `None` where the bytes end early.
fn walk(reader: &mut Reader<'_>, total: usize) -> Option<FrameLen> {
    let head = reader.0.get(..HEAD.len()).unwrap_or(reader.0);
    if !HEAD.starts_with(head) {
        return Some(FrameLen::Invalid(NO_FRAME));
    }
    reader.take(HEAD.len())?;
    while next_block(reader)?.is_some() {}
    reader.take(CONTENT_CHECKSUM)?;
    Some(FrameLen::Known(total.saturating_sub(reader.0.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ltx::{Codec, Compressor};

    #[test]
    fn finds_the_end_at_any_cut() {
        let mut payload = Vec::new();
        Compressor::new(Codec::Lz4Frame)
            .compress(&[7; 4096], &mut payload)
            .unwrap();
        let len = payload.len();
        for cut in 0..len {
            assert_eq!(frame_len(&payload[..cut]), FrameLen::NeedMore, "cut at {cut}");
        }
        payload.extend_from_slice(b"what follows");
        assert_eq!(frame_len(&payload), FrameLen::Known(len));
        assert!(matches!(frame_len(b"XXXXXXXXX"), FrameLen::Invalid(_)));
    }

    /// Packed by the library's writer, of noise too, which it stores.
    #[test]
    fn unpacks_what_was_packed_and_refuses_what_was_changed() {
        let noise: Vec<u8> = (0..65_536u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 19) as u8)
            .collect();
        for content in [&[7; 4096][..], &noise[..]] {
            let (mut payload, mut page) = (Vec::new(), vec![0; content.len()]);
            Compressor::new(Codec::Lz4Frame)
                .compress(content, &mut payload)
                .unwrap();
            assert_eq!(unpack(&payload, &mut page), Ok(content.len()));
            assert_eq!(page, content);
            assert!(unpack(&payload, &mut page[1..]).is_err(), "too long");
            assert!(unpack(&payload[..payload.len() - 1], &mut page).is_err());
            assert!(unpack(&[&payload[..], &[0]].concat(), &mut page).is_err());
            for at in [0, 8, payload.len() / 2, payload.len() - 1] {
                payload[at] ^= 0x20;
                assert!(unpack(&payload, &mut page).is_err(), "changed at {at}");
                payload[at] ^= 0x20;
            }
        }
    }
}
