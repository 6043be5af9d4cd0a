//! Where a replica's objects live: the one interface through which they are listed, read, created and deleted.
//!
//! Every implementation runs the [`conformance`] suite.

mod body;
pub mod conformance;
mod error;
mod memory;

pub use body::Body;
pub use error::Error;
pub use memory::MemoryStore;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::ltx::{FileChecksum, Trailer, Txid};
use crate::replica::{Level, SegmentId, SegmentInfo};

/// The result of asking a store.
pub type Result<T> = std::result::Result<T, Error>;

/// What of a replica's objects can be read by name: enough to carry a plan out. Objects never change once they are there.
///
/// Futures are not `Send`: the Worker and the browser have one thread, and the native engine drives all
/// databases from one.
#[async_trait(?Send)]
pub trait Source {
    /// A range of an object. A range that ends beyond the object's end is [`Error::OutOfRange`].
    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes>;
}

/// The objects of one replica.
#[async_trait(?Send)]
pub trait Store: Source {
    /// The segments of a level that reach beyond `after` (`max > after`), ascending by first transaction.
    /// What is not named like a segment is passed over.
    async fn list(&self, level: Level, after: Txid) -> Result<Vec<SegmentInfo>>;

    /// The same of every level; stores that can do it in one request do so.
    ///
    /// One level after the other, from the lowest: what is compacted and deleted meanwhile is seen above.
    async fn list_all(&self, after: Txid) -> Result<Vec<SegmentInfo>> {
        let mut all = Vec::new();
        for level in Level::all() {
            all.append(&mut self.list(level, after).await?);
        }
        Ok(all)
    }

    /// What there is under a name.
    async fn stat(&self, id: SegmentId) -> Result<Option<SegmentInfo>>;

    /// Creates an object, whole or not at all, durable when it returns; [`Error::Exists`] if there is one.
    async fn create(&self, id: SegmentId, body: &dyn Body) -> Result<()>;

    /// Deletes an object; that there is none is no error.
    async fn delete(&self, id: SegmentId) -> Result<()>;

    /// Deletes some, in any order; stores that can do it in one request do so. After an error, any of them may be gone.
    async fn delete_all(&self, ids: &[SegmentId]) -> Result<()> {
        for &id in ids {
            self.delete(id).await?;
        }
        Ok(())
    }
}

/// Creates a segment, or finds that an earlier attempt already did: an object of the same size and file
/// checksum is the same segment. Any other is [`Error::Exists`]: someone else writes to this replica.
pub async fn create_or_confirm(
    store: &dyn Store,
    id: SegmentId,
    body: &dyn Body,
    checksum: FileChecksum,
) -> Result<()> {
    let exists = match store.create(id, body).await {
        Err(Error::Exists(what)) => Error::Exists(what),
        other => return other,
    };
    let Some(found) = store.stat(id).await? else {
        return Err(exists);
    };
    if found.size != body.len() {
        return Err(exists);
    }
    let start = found.size.saturating_sub(Trailer::LEN as u64);
    let end = store.read(id, start..found.size).await?;
    match end.first_chunk().map(Trailer::parse) {
        Some(Ok(trailer)) if trailer.file_checksum == checksum => Ok(()),
        _ => Err(exists),
    }
}
