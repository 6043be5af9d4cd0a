//! A replica in a bucket: AWS S3 and all that speak its protocol, Google Cloud Storage, Azure Blob Storage.

mod answer;
mod connect;
mod create;
mod failure;
mod keys;
mod place;
mod profile;
mod service;
mod settings;
pub(super) mod url;

pub use settings::{AbsSettings, GsSettings, S3Settings};

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore as _, ObjectStoreExt as _};

use self::connect::Link;
use self::place::Place;
use super::meter::Meter;
use crate::ltx::Txid;
use crate::replica::{Layout, Level, SegmentId, SegmentInfo};
use crate::store::{Body, Error, Result, Source, Store};

/// Which bucket, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bucket {
    S3(S3Settings),
    Gs(GsSettings),
    Abs(AbsSettings),
}

/// Segments as objects below a path, named as Litestream names them there.
///
/// Nothing is ever overwritten: where the provider cannot create only what is absent, it is looked first. The client is
/// made with the first request.
pub(super) struct BucketStore {
    bucket: Bucket,
    place: Place,
    meter: Arc<Meter>,
    link: RefCell<Option<Link>>,
    /// Where the bucket was found to be, where nobody said it.
    region: RefCell<Option<String>>,
}

impl BucketStore {
    pub(super) fn new(bucket: Bucket, meter: Arc<Meter>) -> Self {
        Self {
            place: Place::of(&bucket),
            bucket,
            meter,
            link: RefCell::default(),
            region: RefCell::default(),
        }
    }

    fn link(&self) -> Result<Link> {
        if let Some(link) = &*self.link.borrow() {
            return Ok(link.clone());
        }
        let link = connect::connect(&self.bucket, self.region.borrow().as_deref(), &self.meter)?;
        Ok(self.link.borrow_mut().insert(link).clone())
    }

    /// Asks the bucket; once more where it says that it is in a region that nobody told us.
    async fn ask<T>(
        &self,
        what: &str,
        question: impl AsyncFn(&Link) -> object_store::Result<T>,
    ) -> Result<T> {
        let link = self.link()?;
        match question(&link).await {
            Err(error) if self.moves_to(failure::right_region(&error)) => {
                let link = self.link()?;
                question(&link)
                    .await
                    .map_err(|error| self.meaning(&error, what, &link))
            }
            result => result.map_err(|error| self.meaning(&error, what, &link)),
        }
    }

    /// A range of an object, called `what` where it fails.
    async fn read_path(&self, path: &Path, what: &str, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let bytes = self
            .ask(what, async |link| {
                let options = GetOptions::new().with_range(Some(GetRange::Bounded(range.clone())));
                let found = link.objects.get_opts(path, options).await?;
                let (size, served) = (found.meta.size, found.range.clone());
                Ok((size, served, found.bytes().await?))
            })
            .await?;
        let (size, served, bytes) = bytes;
        // An answer ends where the object does.
        if size < range.end || served != range {
            return Err(Error::OutOfRange(what.to_owned()));
        }
        if bytes.len() as u64 != range.end.saturating_sub(range.start) {
            return Err(Error::Unavailable(format!(
                "{what} came short from {}",
                self.place
            )));
        }
        Ok(bytes)
    }

    fn meaning(&self, error: &object_store::Error, what: &str, link: &Link) -> Error {
        failure::meaning(error, what, &self.place, link.was_reached.load(Ordering::Relaxed))
    }

    /// Takes a region that was found out; false if that changes nothing.
    fn moves_to(&self, region: Option<String>) -> bool {
        let Bucket::S3(settings) = &self.bucket else {
            return false;
        };
        if region.is_none() || connect::region_is_told(settings) || *self.region.borrow() == region {
            return false;
        }
        *self.region.borrow_mut() = region;
        *self.link.borrow_mut() = None;
        true
    }

    fn layout(&self) -> Layout {
        match self.bucket {
            Bucket::S3(_) => Layout::Bucket,
            Bucket::Gs(_) | Bucket::Abs(_) => Layout::Folder,
        }
    }

    fn path(&self) -> &str {
        match &self.bucket {
            Bucket::S3(settings) => &settings.path,
            Bucket::Gs(settings) => &settings.path,
            Bucket::Abs(settings) => &settings.path,
        }
    }

    /// A key below the replica's path.
    fn key(&self, below: &str) -> Result<Path> {
        let (path, below) = (self.path(), below.trim_end_matches('/'));
        let key = if path.is_empty() {
            below.to_owned()
        } else {
            format!("{path}/{below}")
        };
        Path::parse(&key).map_err(|_| {
            Error::Refused(format!(
                "the path {path:?} cannot be used: it has an empty part, a dot for a part, or control characters"
            ))
        })
    }

    fn object(&self, id: SegmentId) -> Result<Path> {
        self.key(&id.key(self.layout()))
    }

    /// The segment that an object is, if its name is one of this replica's.
    fn segment(&self, object: &ObjectMeta) -> Option<SegmentInfo> {
        let key = object.location.as_ref();
        let below = match self.path() {
            "" => key,
            path => key.strip_prefix(path)?.strip_prefix('/')?,
        };
        let (folder, name) = below.rsplit_once('/')?;
        let level = match self.layout() {
            Layout::Bucket if folder.len() == 4 => u8::from_str_radix(folder, 16).ok()?,
            Layout::Bucket => return None,
            Layout::Folder => folder.strip_prefix("ltx/")?.parse().ok()?,
        };
        let level = Level::all()
            .chain(Level::shelves())
            .find(|known| u8::from(*known) == level)?;
        let id = SegmentId::from_file_name(level, name).ok()?;
        Some(SegmentInfo {
            id,
            size: object.size,
            timestamp: None,
        })
    }

    /// Everything after a key, while `wanted` says so.
    async fn listing(&self, prefix: Option<&Path>, start: &Path, end: &str) -> Result<Vec<SegmentInfo>> {
        self.ask("the listing", async |link| {
            let mut found = Vec::new();
            let mut objects = link.objects.list_with_offset(prefix, start);
            while let Some(object) = objects.next().await.transpose()? {
                if object.location.as_ref() > end {
                    break;
                }
                found.extend(self.segment(&object));
            }
            Ok(found)
        })
        .await
    }
}

impl std::fmt::Debug for BucketStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketStore")
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

#[async_trait(?Send)]
impl Source for BucketStore {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        self.read_path(&self.object(id)?, &format!("segment {id}"), range)
            .await
    }
}

#[async_trait(?Send)]
impl Store for BucketStore {
    async fn list(&self, level: Level, after: Txid) -> Result<Vec<SegmentInfo>> {
        let prefix = self.key(&self.layout().prefix(level))?;
        let end = format!("{prefix}/~");
        let mut found = self.listing(Some(&prefix), &prefix, &end).await?;
        found.retain(|segment| segment.id.level == level && segment.id.max > after);
        found.sort_unstable_by_key(|segment| segment.id);
        Ok(found)
    }

    async fn list_all(&self, after: Txid) -> Result<Vec<SegmentInfo>> {
        // Keys are listed in their order, hence one level after the other. At the top of a bucket there may be much else.
        let (prefix, start, end) = match self.layout() {
            Layout::Bucket => {
                let (first, last) = (self.key("0000")?, self.key("0009")?);
                let prefix = Path::parse(self.path()).ok().filter(|path| !path.is_root());
                (prefix, first, format!("{last}/~"))
            }
            Layout::Folder => {
                let top = self.key("ltx")?;
                (Some(top.clone()), top.clone(), format!("{top}/~"))
            }
        };
        let mut found = self.listing(prefix.as_ref(), &start, &end).await?;
        found.retain(|segment| segment.id.level <= Level::SNAPSHOT && segment.id.max > after);
        found.sort_unstable_by_key(|segment| segment.id);
        Ok(found)
    }

    async fn stat(&self, id: SegmentId) -> Result<Option<SegmentInfo>> {
        let key = self.object(id)?;
        let looked = self
            .ask(&format!("segment {id}"), async |link| {
                link.objects
                    .get_opts(&key, GetOptions::new().with_head(true))
                    .await
            })
            .await;
        match looked {
            Ok(object) => Ok(Some(SegmentInfo {
                id,
                size: object.meta.size,
                timestamp: create::timestamp_of(&object.attributes),
            })),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn create(&self, id: SegmentId, body: &dyn Body) -> Result<()> {
        create::create(self, id, body).await
    }

    async fn delete(&self, id: SegmentId) -> Result<()> {
        let key = self.object(id)?;
        let deleted = self
            .ask(&format!("segment {id}"), async |link| {
                link.objects.delete(&key).await
            })
            .await;
        match deleted {
            Err(Error::NotFound(_)) => Ok(()),
            result => result,
        }
    }

    /// S3 takes a thousand in one request.
    async fn delete_all(&self, ids: &[SegmentId]) -> Result<()> {
        let keys: Vec<Path> = ids.iter().map(|&id| self.object(id)).collect::<Result<_>>()?;
        self.ask(&format!("{} objects", keys.len()), async |link| {
            let keys = stream::iter(keys.clone()).map(Ok).boxed();
            let mut deletions = link.objects.delete_stream(keys);
            while let Some(deleted) = deletions.next().await {
                match deleted {
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
        .await
    }
}
