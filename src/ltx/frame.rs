//! One page in a segment: a head, a size for most codecs, the payload.

use super::bytes::Reader;
use super::checksum::FileHasher;
use super::codec::{SIZE_OF_CHECK, max_payload};
use super::lz4_frame::{FrameLen, frame_len};
use super::{Codec, Decompressor, Error, PageCrc, PageSize, Pgno, Result};

/// The head of a page frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// The page.
    pub pgno: Pgno,
    /// How its payload is packed.
    pub codec: Codec,
    /// Length of the payload, a page check included, where the head says it.
    size: Option<u32>,
}

impl FrameHead {
    /// Page number and flags; also the length of the end marker.
    pub(crate) const LEN: usize = 6;

    pub(crate) fn new(pgno: Pgno, codec: Codec, size: u32) -> Self {
        Self {
            pgno,
            codec,
            size: codec.has_size().then_some(size),
        }
    }

    /// Appends the head as it is stored, which is also how it is hashed.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.pgno.0.to_be_bytes());
        out.extend_from_slice(&self.codec.flags().to_be_bytes());
        if let Some(size) = self.size {
            out.extend_from_slice(&size.to_be_bytes());
        }
    }

    /// The bytes before the payload.
    pub(crate) fn len(&self) -> usize {
        if self.size.is_some() {
            Self::LEN.saturating_add(4)
        } else {
            Self::LEN
        }
    }
}

/// The longest frame that a page can need.
pub(crate) fn max_len(page_size: PageSize) -> usize {
    max_payload(page_size)
        .saturating_add(FrameHead::LEN)
        .saturating_add(4)
}

/// What stands at the start of some bytes.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    /// Not enough to tell.
    NeedMore,
    /// The end of the pages.
    End,
    /// A frame: its head, its payload without page check, the page check if it has one.
    Frame {
        head: FrameHead,
        payload: &'a [u8],
        check: Option<PageCrc>,
        len: usize,
    },
}

/// Splits the first frame off `bytes`.
pub(crate) fn next(bytes: &[u8], page_size: PageSize) -> Result<Next<'_>> {
    let mut reader = Reader(bytes);
    let (Some(pgno), Some(flags)) = (reader.u32().map(Pgno), reader.u16()) else {
        return Ok(Next::NeedMore);
    };
    if pgno.0 == 0 {
        return if flags == 0 {
            Ok(Next::End)
        } else {
            Err(Error::PageFlags { pgno, flags })
        };
    }
    let codec = Codec::from_flags(flags).ok_or(Error::PageFlags { pgno, flags })?;
    let limit = max_payload(page_size);
    let too_long = || Error::Payload {
        pgno,
        why: format!("its payload is longer than {limit} bytes"),
    };
    let (head, size) = if codec.has_size() {
        let Some(size) = reader.u32() else {
            return Ok(Next::NeedMore);
        };
        (
            FrameHead {
                pgno,
                codec,
                size: Some(size),
            },
            size as usize,
        )
    } else {
        let size = match frame_len(reader.0) {
            FrameLen::Known(size) => size,
            FrameLen::NeedMore if reader.0.len() > limit => return Err(too_long()),
            FrameLen::NeedMore => return Ok(Next::NeedMore),
            FrameLen::Invalid(why) => {
                return Err(Error::Payload {
                    pgno,
                    why: why.to_owned(),
                });
            }
        };
        (
            FrameHead {
                pgno,
                codec,
                size: None,
            },
            size,
        )
    };
    if size > limit {
        return Err(too_long());
    }
    let Some(payload) = reader.take(size) else {
        return Ok(Next::NeedMore);
    };
    let len = head.len().saturating_add(size);
    if !codec.has_check() {
        return Ok(Next::Frame {
            head,
            payload,
            check: None,
            len,
        });
    }
    let (payload, check) = payload
        .len()
        .checked_sub(SIZE_OF_CHECK)
        .and_then(|at| payload.split_at_checked(at))
        .and_then(|(payload, check)| Some((payload, PageCrc(Reader(check).u64()?))))
        .ok_or_else(|| Error::Payload {
            pgno,
            why: "it is too short for its check".to_owned(),
        })?;
    Ok(Next::Frame {
        head,
        payload,
        check: Some(check),
        len,
    })
}

/// Unpacks a payload into `page` and verifies the page check, if there is one.
pub(crate) fn unpack(
    head: FrameHead,
    payload: &[u8],
    check: Option<PageCrc>,
    decompressor: &mut Decompressor,
    page: &mut [u8],
) -> Result<PageCrc> {
    decompressor.decompress(head.codec, head.pgno, payload, page)?;
    let crc = PageCrc::of(head.pgno, page);
    match check {
        Some(check) if check != crc => Err(Error::PageCheck(head.pgno)),
        _ => Ok(crc),
    }
}

/// Decodes one frame that was fetched by its index entry: `bytes` are exactly the frame of `pgno`.
///
/// Fills `page`, whose length is the page size. Only the codecs with a page check are verified here; of the
/// others the returned CRC goes into a sum that proves the whole.
pub fn decode_frame(
    bytes: &[u8],
    pgno: Pgno,
    decompressor: &mut Decompressor,
    page: &mut [u8],
) -> Result<PageCrc> {
    split(bytes, pgno, page)
        .and_then(|(head, payload, check)| unpack(head, payload, check, decompressor, page))
}

/// The same, and hashes the frame as the file checksum does.
pub(crate) fn decode_hashed(
    bytes: &[u8],
    pgno: Pgno,
    decompressor: &mut Decompressor,
    page: &mut [u8],
    hasher: &mut FileHasher,
) -> Result<PageCrc> {
    let (head, payload, check) = split(bytes, pgno, page)?;
    let crc = unpack(head, payload, check, decompressor, page)?;
    hasher.update(bytes.get(..head.len()).unwrap_or_default());
    hasher.update_page(pgno, crc);
    Ok(crc)
}

/// Whether a frame carries a check of its page, so that it is proven by itself when it is decoded.
pub fn has_page_check(frame: &[u8]) -> bool {
    let flags = frame.get(4..6).and_then(|flags| flags.try_into().ok());
    let codec = flags.map(u16::from_be_bytes).and_then(Codec::from_flags);
    codec.is_some_and(Codec::has_check)
}

fn split<'a>(bytes: &'a [u8], pgno: Pgno, page: &[u8]) -> Result<(FrameHead, &'a [u8], Option<PageCrc>)> {
    let page_size = PageSize::new(u32::try_from(page.len()).unwrap_or(0))?;
    match next(bytes, page_size)? {
        Next::Frame {
            head,
            payload,
            check,
            len,
        } if len == bytes.len() && head.pgno == pgno => Ok((head, payload, check)),
        _ => Err(Error::Index("it does not point at the page's frame")),
    }
}
