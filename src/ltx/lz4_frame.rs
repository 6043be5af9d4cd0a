//! The length of a legacy payload: an LZ4 frame, which carries no size field.
//!
//! Source: the LZ4 frame format description, 1.6.x. Only what superfly/ltx 0.5.0 and 0.5.1 write is taken:
//! independent blocks of at most 64 KiB, a checksum of the content, no content size, no dictionary.

use super::bytes::Reader;

/// Magic, flags, block size, and their checksum: the options above have no other form.
const HEAD: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x64, 0x40, 0xa7];
const CONTENT_CHECKSUM: usize = 4;
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

/// `None` where the bytes end early.
fn walk(reader: &mut Reader<'_>, total: usize) -> Option<FrameLen> {
    let head = reader.0.get(..HEAD.len()).unwrap_or(reader.0);
    if !HEAD.starts_with(head) {
        return Some(FrameLen::Invalid(
            "it is not an LZ4 frame as the format's writers make it",
        ));
    }
    reader.take(HEAD.len())?;
    loop {
        let size = u32::from_le_bytes(reader.array()?);
        if size == 0 {
            break;
        }
        reader.take((size & !UNCOMPRESSED) as usize)?;
    }
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
}
