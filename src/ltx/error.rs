//! What can be wrong with a segment.

use super::{DbSum, Pgno, Txid};

/// Why a segment was refused. Each is a sentence that can be shown to a person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first four bytes are not `LTX1`.
    #[error("not an LTX file: it starts with {0:02x?} instead of \"LTX1\"")]
    Magic([u8; 4]),
    /// Unknown header flags.
    #[error("the header has unknown flags {0:#010x}")]
    HeaderFlags(u32),
    /// Not a page size SQLite has.
    #[error("{0} is not a page size: it must be a power of two from 512 to 65536")]
    PageSize(u32),
    /// A header field contradicts another or the format.
    #[error("the header is invalid: {0}")]
    Header(&'static str),
    /// Unknown or contradicting page flags.
    #[error("page {pgno} has unknown flags {flags:#06x}: written by a newer version, or damaged")]
    PageFlags {
        /// The page.
        pgno: Pgno,
        /// Its flags.
        flags: u16,
    },
    /// A page out of order, out of range, missing or forbidden.
    #[error("page {pgno} is out of place: {why}")]
    PageOrder {
        /// The page.
        pgno: Pgno,
        /// What rule it breaks.
        why: &'static str,
    },
    /// A payload that does not decompress to one page.
    #[error("page {pgno} does not decompress: {why}")]
    Payload {
        /// The page.
        pgno: Pgno,
        /// What the codec said.
        why: String,
    },
    /// A page whose own check differs from its content.
    #[error("page {0} is damaged: its check does not match its content")]
    PageCheck(Pgno),
    /// The index does not describe the frames.
    #[error("the page index is invalid: {0}")]
    Index(&'static str),
    /// The trailer contradicts the header.
    #[error("the trailer is invalid: {0}")]
    Trailer(&'static str),
    /// The file checksum differs from the content.
    #[error("the file is damaged: its checksum is {found:016x}, its content gives {computed:016x}")]
    FileChecksum {
        /// In the trailer.
        found: u64,
        /// From the content.
        computed: u64,
    },
    /// Fewer bytes than the format needs.
    #[error("the file is cut off after {0} bytes")]
    Truncated(u64),
    /// Less than the listing says.
    #[error("the file is shorter than the listing says")]
    Shorter,
    /// Bytes after the trailer.
    #[error("there are bytes after the end of the file")]
    TrailingBytes,
    /// The pages do not yield the state that the segment promises.
    #[error("the database sum after {txid} is {computed}, the segment promises {promised}")]
    DbSum {
        /// The state's transaction.
        txid: Txid,
        /// From the header.
        promised: DbSum,
        /// From the pages.
        computed: DbSum,
    },
    /// The decoder was asked to go on after an error.
    #[error("the file was found to be invalid before: nothing after that can be trusted")]
    Refused,
    /// What an encoder was given cannot be written.
    #[error("cannot write the segment: {0}")]
    Write(#[from] std::io::Error),
}
