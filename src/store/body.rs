//! What is uploaded.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use super::Result;

/// The content of an object to create: in memory, or in a file that is read in pieces. It can be read again for
/// a second attempt.
#[async_trait(?Send)]
pub trait Body {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether it holds nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A piece of it; the range is within its length.
    async fn read(&self, range: Range<u64>) -> Result<Bytes>;

    /// All of it, where it is in memory already.
    fn bytes(&self) -> Option<Bytes> {
        None
    }
}

#[async_trait(?Send)]
impl Body for Bytes {
    fn len(&self) -> u64 {
        Bytes::len(self) as u64
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(Bytes::len(self));
        let (start, end) = (clamp(range.start), clamp(range.end));
        Ok(self.slice(start.min(end)..end))
    }

    fn bytes(&self) -> Option<Bytes> {
        Some(self.clone())
    }
}
