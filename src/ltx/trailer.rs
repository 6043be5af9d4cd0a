//! The last 16 bytes of a segment.

use super::bytes::Reader;
use super::{Error, FileChecksum, Header, Result};

/// The checksums at the end of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// LTX's own rolling checksum of the state after; 0 where absent.
    pub post_apply_checksum: u64,
    /// The checksum of the file.
    pub file_checksum: FileChecksum,
}

impl Trailer {
    /// Encoded length in bytes.
    pub const LEN: usize = 16;

    /// Reads a trailer.
    pub fn parse(bytes: &[u8; Self::LEN]) -> Result<Self> {
        let mut reader = Reader(bytes);
        let (Some(post_apply_checksum), Some(file_checksum)) = (reader.u64(), reader.u64()) else {
            return Err(Error::Truncated(0));
        };
        if file_checksum & FileChecksum::FLAG == 0 {
            return Err(Error::Trailer("the file checksum is missing"));
        }
        Ok(Self {
            post_apply_checksum,
            file_checksum: FileChecksum(file_checksum),
        })
    }

    /// The trailer's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let value = u128::from(self.post_apply_checksum) << 64 | u128::from(self.file_checksum.0);
        value.to_be_bytes()
    }

    /// Checks the rules that hold between trailer and header (superfly/ltx, `Trailer.Validate`).
    pub(crate) fn validate(&self, header: &Header) -> Result<()> {
        match (header.no_checksum, self.post_apply_checksum) {
            (true, 0) => Ok(()),
            (true, _) => Err(Error::Trailer(
                "it has a checksum of the state after, the header says that it has none",
            )),
            (false, checksum) if checksum >> 63 == 1 => Ok(()),
            (false, _) => Err(Error::Trailer("the checksum of the state after is missing")),
        }
    }
}
