//! LZ4 frames back to what they hold.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};

use lz4_flex::frame::FrameDecoder;

/// Appends what `packed` holds to `file`; returns how much that is.
pub(super) fn unpack(packed: File, file: &File) -> io::Result<u64> {
    let mut decoder = FrameDecoder::new(BufReader::with_capacity(256 * 1024, packed));
    let mut output = BufWriter::with_capacity(256 * 1024, file);
    let len = io::copy(&mut decoder, &mut output)?;
    output.flush()?;
    if len == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty"));
    }
    Ok(len)
}
