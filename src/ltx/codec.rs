//! How a page's bytes are packed into a frame's payload.

use std::fmt;
use std::hint::black_box;
use std::io::Write;
use std::str::FromStr;

use lz4_flex::block::{
    CompressTable, DecompressError, compress_into_with_table, decompress_into, get_maximum_output_size,
};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

use super::{Error, PageSize, Pgno, Result, lz4_frame};

/// The length of a page check: the page's CRC.
pub(crate) const SIZE_OF_CHECK: usize = 8;

/// On pages of tables and indexes as small as levels 5 to 9 (within half a percent), in 10 to 45 % less time than 6;
/// level 1 takes half the time for 5 to 30 % more bytes (examples/ltx_speed.rs).
const DEFLATE_LEVEL: i32 = 4;
/// The window bits that stand for a stream without zlib's head and checksum.
const RAW_DEFLATE: i32 = -15;

/// A page codec. A replica is written with one, but each page names its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// One LZ4 block; Litestream from 0.5.16 on.
    #[default]
    Lz4,
    /// One LZ4 frame without size field; all that Litestream 0.5.0 to 0.5.15 reads.
    Lz4Frame,
    /// A raw deflate stream with a page check. walferry only: about a quarter fewer bytes.
    Deflate,
    /// The page as it is, with a page check. walferry only; what [`Codec::Deflate`] falls back to.
    Stored,
}

impl Codec {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Lz4, Self::Lz4Frame, Self::Deflate, Self::Stored];

    /// The name on command lines and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Lz4Frame => "lz4-frame",
            Self::Deflate => "deflate",
            Self::Stored => "stored",
        }
    }

    /// The flags in a frame's head.
    pub(crate) fn flags(self) -> u16 {
        match self {
            Self::Lz4Frame => 0,
            Self::Lz4 => 0x0001,
            Self::Deflate => 0x0002,
            Self::Stored => 0x0004,
        }
    }

    pub(crate) fn from_flags(flags: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.flags() == flags)
    }

    /// Whether a size field follows the frame's head.
    pub(crate) fn has_size(self) -> bool {
        self != Self::Lz4Frame
    }

    /// Whether the payload ends with the page's CRC, so that the page can be verified by itself.
    pub fn has_check(self) -> bool {
        matches!(self, Self::Deflate | Self::Stored)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let named = Self::ALL.into_iter().find(|codec| codec.name() == text);
        named.ok_or_else(|| format!("there is no codec {text:?}: choose lz4, lz4-frame, deflate or stored"))
    }
}

/// The longest payload that a page can need in any codec; what is longer is refused unread.
pub(crate) fn max_payload(page_size: PageSize) -> usize {
    // LZ4's frame of the format's writers: 7 bytes of head, 4 a block, 8 at the end.
    get_maximum_output_size(page_size.len()).saturating_add(64)
}

/// Packs pages; keeps its tables between pages.
pub struct Compressor {
    codec: Codec,
    lz4: CompressTable,
    deflate: Option<Box<CompressorOxide>>,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}

impl Compressor {
    /// For pages of one segment or many.
    pub fn new(codec: Codec) -> Self {
        let flags = create_comp_flags_from_zip_params(DEFLATE_LEVEL, RAW_DEFLATE, 0);
        let deflate = (codec == Codec::Deflate).then(|| Box::new(CompressorOxide::new(flags)));
        Self {
            codec,
            lz4: CompressTable::small(),
            deflate,
        }
    }

    /// Replaces `out` with the payload, the page check not included; returns the codec that it used.
    pub(crate) fn compress(&mut self, page: &[u8], out: &mut Vec<u8>) -> std::io::Result<Codec> {
        out.clear();
        match self.codec {
            Codec::Lz4 => pack(page, out, &mut self.lz4)?,
            Codec::Lz4Frame => {
                let info = FrameInfo::new()
                    .block_size(BlockSize::Max64KB)
                    .block_mode(BlockMode::Independent)
                    .content_checksum(true);
                let mut encoder = FrameEncoder::with_frame_info(info, &mut *out);
                encoder.write_all(page)?;
                encoder.finish()?;
            }
            Codec::Deflate => {
                let Some(deflate) = self.deflate.as_mut() else {
                    return Err(std::io::Error::other("no compressor"));
                };
                deflate.reset();
                out.resize(page.len(), 0);
                let (status, _, len) = compress(deflate, page, out, TDEFLFlush::Finish);
                if status == TDEFLStatus::Done {
                    out.truncate(len);
                } else {
                    // It did not fit into the page's own size.
                    out.copy_from_slice(page);
                    return Ok(Codec::Stored);
                }
            }
            Codec::Stored => out.extend_from_slice(page),
        }
        Ok(self.codec)
    }
}

/// Replaces `out` with the payload of [`Codec::Lz4`], for builds that must be small: they carry no other packer.
#[cfg(feature = "worker")]
pub(crate) fn pack_lz4(page: &[u8], out: &mut Vec<u8>) -> Result<()> {
    pack(page, out, &mut CompressTable::small()).map_err(Error::from)
}

fn pack(page: &[u8], out: &mut Vec<u8>, table: &mut CompressTable) -> std::io::Result<()> {
    out.resize(get_maximum_output_size(page.len()), 0);
    let len = compress_into_with_table(page, out, table).map_err(std::io::Error::other)?;
    out.truncate(len);
    Ok(())
}

// In WebAssembly, this crate is compiled to be small and the libraries to be fast. What is called by a pointer is not taken in
// by the caller, where it would be compiled to be small.
type Lz4 = fn(&[u8], &mut [u8]) -> std::result::Result<usize, DecompressError>;
type Inflate = fn(&mut DecompressorOxide, &[u8], &mut [u8], usize, u32) -> (TINFLStatus, usize, usize);

/// Unpacks pages; keeps its tables between pages.
#[derive(Clone, Default)]
pub struct Decompressor {
    inflate: Option<Box<DecompressorOxide>>,
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decompressor")
    }
}

impl Decompressor {
    /// Fills `page` from `payload` (without its page check), exactly.
    pub(crate) fn decompress(
        &mut self,
        codec: Codec,
        pgno: Pgno,
        payload: &[u8],
        page: &mut [u8],
    ) -> Result<()> {
        let wrong = |why: String| Error::Payload { pgno, why };
        let len = match codec {
            Codec::Lz4 => {
                black_box(decompress_into as Lz4)(payload, page).map_err(|error| wrong(error.to_string()))?
            }
            Codec::Lz4Frame => lz4_frame::unpack(payload, page).map_err(wrong)?,
            Codec::Deflate => {
                let inflate = self.inflate.get_or_insert_default();
                inflate.init();
                let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
                let (status, read, written) =
                    black_box(decompress as Inflate)(inflate, payload, page, 0, flags);
                if status != TINFLStatus::Done || read != payload.len() {
                    return Err(wrong(format!("deflate says {status:?}")));
                }
                written
            }
            Codec::Stored if payload.len() == page.len() => {
                page.copy_from_slice(payload);
                page.len()
            }
            Codec::Stored => payload.len(),
        };
        if len == page.len() {
            Ok(())
        } else {
            Err(wrong(format!("it holds {len} bytes instead of {}", page.len())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_codec_gives_back_the_page(seed in proptest::collection::vec(any::<u8>(), 1..600), noise: bool) {
            for size in [512usize, 4096, 65_536] {
                let mut state = 1u32;
                let page: Vec<u8> = (0..size).map(|i| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    seed[i % seed.len()] ^ if noise { (state >> 24) as u8 } else { 0 }
                }).collect();
                for codec in Codec::ALL {
                    let mut payload = Vec::new();
                    let used = Compressor::new(codec).compress(&page, &mut payload).unwrap();
                    prop_assert!(payload.len() <= max_payload(PageSize::new(size as u32).unwrap()));
                    let mut back = vec![0xAA; size];
                    Decompressor::default().decompress(used, Pgno(1), &payload, &mut back).unwrap();
                    prop_assert_eq!(&back, &page);
                }
            }
        }

        #[test]
        fn random_payloads_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..2000)) {
            for codec in Codec::ALL {
                let mut page = vec![0; 1024];
                let _ = Decompressor::default().decompress(codec, Pgno(1), &payload, &mut page);
            }
        }
    }

    #[test]
    fn legacy_frames_have_the_parameters_of_the_old_writers() {
        let mut payload = Vec::new();
        Compressor::new(Codec::Lz4Frame)
            .compress(&[0x81; 512], &mut payload)
            .unwrap();
        assert_eq!(payload[..7], [0x04, 0x22, 0x4d, 0x18, 0x64, 0x40, 0xa7]);
    }
}
