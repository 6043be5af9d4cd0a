//! The length of a legacy payload: an LZ4 frame, which carries no size field.
//!
//! Source: the LZ4 frame format description, 1.6.x. Only what superfly/ltx 0.5.0 and 0.5.1 write is taken:
//! no dictionary, no content size beyond what is skipped here.

use super::bytes::Reader;

const MAGIC: u32 = 0x184D_2204;
const UNCOMPRESSED: u32 = 1 << 31;

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

fn walk(reader: &mut Reader<'_>, total: usize) -> Option<FrameLen> {
    if u32::from_le_bytes(reader.array()?) != MAGIC {
        return Some(FrameLen::Invalid("it is not an LZ4 frame"));
    }
    let [flags, _block_size, ..] = reader.array::<2>()?;
    let (block_checksum, content_size) = (flags & 0x10 != 0, flags & 0x08 != 0);
    let (content_checksum, dictionary) = (flags & 0x04 != 0, flags & 0x01 != 0);
    if flags >> 6 != 1 || dictionary {
        return Some(FrameLen::Invalid(
            "its LZ4 frame has an unknown version or a dictionary",
        ));
    }
    if content_size {
        reader.take(8)?;
    }
    reader.take(1)?; // header checksum
    loop {
        let size = u32::from_le_bytes(reader.array()?);
        if size == 0 {
            break;
        }
        reader.take((size & !UNCOMPRESSED) as usize)?;
        if block_checksum {
            reader.take(4)?;
        }
    }
    if content_checksum {
        reader.take(4)?;
    }
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
}
