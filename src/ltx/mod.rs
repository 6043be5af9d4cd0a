//! LTX, the file format of a segment: the newest version of every page that a range of transactions changed.
//!
//! Files are readable and writable by Litestream 0.5 (superfly/ltx, format version 3). Layout, all integers
//! big-endian:
//!
//! ```text
//! header        100 bytes                                    [`Header`]
//! page frames   6-byte head, 4-byte payload size if flagged, payload, pages ascending
//! end marker    6 zero bytes
//! page index    uvarint (page, offset, length) a frame, 0x00, u64 length of the index     [`index`]
//! trailer       u64 post-apply checksum, u64 file checksum   [`Trailer`]
//! ```
//!
//! walferry's own additions live where Litestream does not look: the database sums in the header's reserved
//! bytes ([`Sums`]), and the page codecs `deflate` and `stored` ([`Codec`]), which Litestream refuses.
//!
//! Nothing here reads, writes or allocates without bound: [`Encoder`] writes into any [`std::io::Write`],
//! [`Decoder`] is fed chunks as they arrive.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod bytes;
mod checksum;
mod codec;
mod crc64;
mod decoder;
mod encoder;
mod error;
mod frame;
mod header;
pub mod index;
mod lz4_frame;
mod page;
mod trailer;
mod txid;

pub(crate) use bytes::{Reader, put_uvarint};
pub(crate) use checksum::FileHasher;
pub use checksum::{DbSum, FileChecksum, PageCrc};
#[cfg(feature = "worker")]
pub(crate) use codec::pack_lz4;
pub use codec::{Codec, Compressor, Decompressor};
pub(crate) use crc64::crc64;
pub use decoder::{Decoder, Event, Page};
pub use encoder::Encoder;
pub use error::Error;
pub(crate) use frame::decode_hashed;
pub use frame::{FrameHead, decode_frame, has_page_check};
pub use header::{Header, Sums};
pub use index::IndexEntry;
pub use page::{PageSize, Pgno};
pub use trailer::Trailer;
pub use txid::{Timestamp, Txid};

/// The result of reading or writing a segment.
pub type Result<T> = std::result::Result<T, Error>;
