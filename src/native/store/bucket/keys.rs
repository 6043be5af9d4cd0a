//! Objects of a bucket by their keys below the path.

use std::ops::Range;

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::ObjectStore as _;

use super::BucketStore;
use crate::ltx::Timestamp;
use crate::native::store::keys::Object;
use crate::store::Result;

impl BucketStore {
    /// All objects below a folder.
    pub(in crate::native::store) async fn list_keys(&self, folder: &str) -> Result<Vec<Object>> {
        let prefix = self.key(folder)?;
        self.ask("the listing", async |link| {
            let mut found = Vec::new();
            let mut objects = link.objects.list(Some(&prefix));
            while let Some(object) = objects.next().await.transpose()? {
                let below = object.location.as_ref().strip_prefix(prefix.as_ref());
                found.extend(below.map(|below| Object {
                    key: format!("{folder}{below}"),
                    size: object.size,
                    time: Timestamp(object.last_modified.timestamp_millis()),
                }));
            }
            Ok(found)
        })
        .await
    }

    /// A range of an object.
    pub(in crate::native::store) async fn read_key(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.read_path(&self.key(key)?, key, range).await
    }
}
