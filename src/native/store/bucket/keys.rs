//! Objects of a bucket by their keys below the path.

use std::fs::File;
use std::io::{Seek, Write};

use futures_util::StreamExt;
use object_store::{GetOptions, ObjectStore as _};

use super::BucketStore;
use crate::ltx::Timestamp;
use crate::native::store::keys::{Object, failure};
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

    /// Fills a file with an object, and returns it at its start.
    pub(in crate::native::store) async fn fetch_key(&self, key: &str, mut file: File) -> Result<File> {
        let path = self.key(key)?;
        let found = self
            .ask(key, async |link| {
                link.objects.get_opts(&path, GetOptions::new()).await
            })
            .await?;
        let link = self.link()?;
        let mut pieces = found.into_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.meaning(&error, key, &link))?;
            file.write_all(&piece)
                .map_err(|error| failure("a temporary file", error))?;
        }
        file.rewind()
            .map_err(|error| failure("a temporary file", error))?;
        Ok(file)
    }
}
