//! One database's objects in an R2 bucket.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use async_trait::async_trait;
use bytes::Bytes;
use worker::{
    Bucket, Conditional, Data, Env, Include, Method, MultipartUpload, Object, Request, Stub, UploadedPart,
};

use super::failure::Failure;
use super::ledger::Ledger;
use super::query::parse_time;
use super::range::Wanted;
use super::route::Db;
use super::{BUCKET, attached, bucket, database};
use crate::ltx::{FileChecksum, Header, Timestamp, Trailer, Txid};
use crate::replica::{Layout, Level, SegmentId, SegmentInfo};
use crate::store::{Body, Error, Result, Source, Store};

/// The metadata that holds a segment's first 100 bytes in hexadecimal, so that a listing tells all about it.
const HEADER: &str = "ltx-header";
/// What Litestream leaves with the objects that it creates: the time, in RFC 3339.
const LITESTREAM_TIME: &str = "litestream-timestamp";

/// The objects of a database, arranged as Litestream arranges a bucket: below `<db>/`, or where it is attached.
#[derive(Clone, Debug)]
pub(super) struct R2Store {
    bucket: Bucket,
    db: Db,
    /// How their keys begin.
    root: String,
    is_attached: bool,
    kept: Kept,
}

/// How to come to the segments that the database's object keeps itself.
#[derive(Clone, Debug)]
enum Kept {
    /// We are that object.
    Here(Rc<Ledger>),
    /// It is asked for what is not in the bucket.
    There(Rc<Stub>),
    /// There are none.
    Nowhere,
}

/// The most that R2 lists at once.
pub(super) const MAX_PAGE: u32 = 1000;

/// The most that R2 deletes at once.
const MAX_DELETED: usize = 1000;

/// A piece of a listing, ascending by key.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) segments: Vec<Found>,
    /// The key below the root after which the listing goes on; `None` at its end.
    pub(super) next: Option<String>,
}

/// A segment in the bucket, as far as its metadata tell of it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) info: SegmentInfo,
    pub(super) header: Option<Header>,
}

impl Found {
    /// Whether the metadata tell: our own, or those that Litestream leaves, whose segments carry no sums. Of what lies
    /// beside the levels, there is nothing to tell.
    pub(super) fn is_told(&self) -> bool {
        self.info.timestamp.is_some() || self.info.id.level > Level::SNAPSHOT
    }
}

impl R2Store {
    /// Where the configuration says; no request is made yet.
    pub(super) fn open(env: &Env, db: Db) -> std::result::Result<Self, Failure> {
        let kept = Kept::There(Rc::new(database(env, &db)?));
        Self::with(env, db, kept)
    }

    /// The same within the database's object.
    pub(super) fn open_here(env: &Env, db: Db, ledger: Rc<Ledger>) -> std::result::Result<Self, Failure> {
        Self::with(env, db, Kept::Here(ledger))
    }

    fn with(env: &Env, db: Db, kept: Kept) -> std::result::Result<Self, Failure> {
        let place = attached::place(env, &db)?;
        let is_attached = place.is_some();
        let (bucket, root) = match place {
            Some(place) => place,
            None => (bucket(env, BUCKET)?, format!("{db}/")),
        };
        Ok(Self {
            bucket,
            db,
            root,
            kept: if is_attached { Kept::Nowhere } else { kept },
            is_attached,
        })
    }

    /// The bytes of a segment that is kept here, in the object that we are.
    pub(super) fn kept(&self, id: SegmentId) -> Result<Option<Bytes>> {
        let Kept::Here(ledger) = &self.kept else {
            return Ok(None);
        };
        let kept = ledger.kept(id);
        kept.map(|bytes| bytes.map(Bytes::from))
            .map_err(|failure| Error::Unavailable(failure.message().to_owned()))
    }

    /// Whether others fill it, and it is only read here.
    pub(super) fn is_attached(&self) -> bool {
        self.is_attached
    }

    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    /// One page of the segments whose keys below the root come after `start_after`. What is not named like a segment is
    /// passed over.
    pub(super) async fn page(&self, start_after: Option<&str>, limit: u32) -> Result<Page> {
        count!("r2_list", 1);
        let root = &self.root;
        let mut list = self
            .bucket
            .list()
            .prefix(root)
            .limit(limit)
            .include(vec![Include::CustomMetadata]);
        if let Some(key) = start_after {
            list = list.start_after(format!("{root}{key}"));
        }
        let found = list
            .execute()
            .await
            .map_err(|error| unavailable("list", root, &error))?;
        let objects = found.objects();
        let below_root = |object: &Object| object.key().strip_prefix(root.as_str()).map(str::to_owned);
        let next = if found.truncated() {
            objects.last().and_then(below_root)
        } else {
            None
        };
        let told = |object: &Object| {
            let info = SegmentInfo {
                id: parse_key(&below_root(object)?)?,
                size: object.size(),
                timestamp: timestamp_of(object),
            };
            let header = header_of(object);
            Some(Found { info, header })
        };
        Ok(Page {
            segments: objects.iter().filter_map(told).collect(),
            next,
        })
    }

    /// Creates an object; false if there is one of that name already.
    pub(super) async fn put(&self, id: SegmentId, data: Data, header: Option<&Header>) -> Result<bool> {
        let absent = Conditional {
            etag_does_not_match: Some("*".to_owned()),
            ..Conditional::default()
        };
        count!("r2_put", 1);
        let key = self.key(id);
        let put = self
            .bucket
            .put(&key, data)
            .only_if(absent)
            .custom_metadata(metadata(header));
        let created = put
            .execute()
            .await
            .map_err(|error| unavailable("create", &key, &error))?;
        Ok(created.is_some())
    }

    /// Starts to create an object in parts; returns R2's name for that.
    pub(super) async fn create_multipart(&self, id: SegmentId, header: Option<&Header>) -> Result<String> {
        count!("r2_put", 1);
        let key = self.key(id);
        let upload = self
            .bucket
            .create_multipart_upload(&key)
            .custom_metadata(metadata(header))
            .execute()
            .await
            .map_err(|error| unavailable("create", &key, &error))?;
        Ok(upload.upload_id().await)
    }

    /// Sends the part after so many; returns R2's name for it.
    pub(super) async fn send_part(
        &self,
        id: SegmentId,
        name: &str,
        before: usize,
        part: Data,
    ) -> Result<String> {
        count!("r2_put", 1);
        let upload = self.multipart(id, name)?;
        let sent = upload.upload_part(number(before), part).await;
        sent.map(|part| part.etag())
            .map_err(|error| unavailable("take a part of", &self.key(id), &error))
    }

    /// Creates the object out of its parts; false if there is one of that name already. R2 knows no condition for that: it is
    /// for who holds the lock, or creates alone.
    pub(super) async fn complete(&self, id: SegmentId, name: &str, etags: &[String]) -> Result<bool> {
        if self.head(id).await?.is_some() {
            return Ok(false);
        }
        fault_point!("completing");
        count!("r2_put", 1);
        let parts = etags.iter().enumerate();
        let parts = parts.map(|(before, etag)| UploadedPart::new(number(before), etag.clone()));
        let completed = self.multipart(id, name)?.complete(parts).await;
        completed
            .map(|_| true)
            .map_err(|error| unavailable("complete", &self.key(id), &error))
    }

    /// Takes back what was sent. If this fails, R2 does it by itself after some days.
    pub(super) async fn abort(&self, id: SegmentId, name: &str) {
        if let Ok(upload) = self.multipart(id, name) {
            count!("r2_abort", 1);
            let _ = upload.abort().await;
        }
    }

    fn multipart(&self, id: SegmentId, name: &str) -> Result<MultipartUpload> {
        let key = self.key(id);
        self.bucket
            .resume_multipart_upload(&key, name)
            .map_err(|error| unavailable("create", &key, &error))
    }

    pub(super) async fn head(&self, id: SegmentId) -> Result<Option<Object>> {
        count!("r2_head", 1);
        let key = self.key(id);
        self.bucket
            .head(&key)
            .await
            .map_err(|error| unavailable("look up", &key, &error))
    }

    /// Opens an object for reading. A range that starts beyond its end is [`Error::OutOfRange`].
    pub(super) async fn get(&self, id: SegmentId, wanted: Option<Wanted>) -> Result<Option<Object>> {
        count!("r2_get", 1);
        #[cfg(feature = "fault-points")]
        if !super::fault_points::is_afforded() {
            return Err(Error::Unavailable(
                "R2 serves no more reads, as was asked for".to_owned(),
            ));
        }
        let key = self.key(id);
        let mut get = self.bucket.get(&key);
        if let Some(wanted) = wanted {
            get = get.range(wanted.for_r2());
        }
        let error = match get.execute().await {
            Ok(object) => return Ok(object),
            Err(error) => error,
        };
        // R2 says so by error 10039, and its local simulation breaks down: look for ourselves.
        let size = self.head(id).await?.map(|object| object.size());
        match (wanted, size) {
            (Some(wanted), Some(size)) if wanted.within(size).is_none() => {
                Err(Error::OutOfRange(format!("segment {id}")))
            }
            _ => Err(unavailable("read", &key, &error)),
        }
    }

    /// A segment's header: from its metadata, or for an object that others created, from itself.
    pub(super) async fn header(&self, id: SegmentId) -> Result<Header> {
        if self.kept(id)?.is_none() {
            let object = self.head(id).await?;
            let object = object.ok_or_else(|| Error::NotFound(format!("segment {id}")))?;
            if let Some(header) = header_of(&object) {
                return Ok(header);
            }
        }
        self.own_header(id).await
    }

    /// The same from itself, whatever its metadata tell: one request.
    pub(super) async fn own_header(&self, id: SegmentId) -> Result<Header> {
        let broken =
            |why: String| Error::Protocol(format!("the object {} is no segment: {why}", self.key(id)));
        let bytes = match self.read(id, 0..Header::LEN as u64).await {
            Err(Error::OutOfRange(_)) => return Err(broken("it is too short".to_owned())),
            bytes => bytes?,
        };
        let bytes = bytes
            .first_chunk()
            .ok_or_else(|| broken("it is too short".to_owned()))?;
        Header::parse(bytes).map_err(|error| broken(error.to_string()))
    }

    /// Whether there is an object of this name, size and file checksum.
    pub(super) async fn has(&self, id: SegmentId, size: u64, checksum: FileChecksum) -> Result<bool> {
        let found = self.stat(id).await?;
        if found.is_none_or(|found| found.size != size) {
            return Ok(false);
        }
        let end = self
            .read(id, size.saturating_sub(Trailer::LEN as u64)..size)
            .await?;
        let trailer = end.first_chunk().map(Trailer::parse);
        Ok(matches!(trailer, Some(Ok(trailer)) if trailer.file_checksum == checksum))
    }

    /// Whether there is an object of this name and size in the bucket that ends so.
    pub(super) async fn ends_so(&self, id: SegmentId, size: u64, end: &[u8]) -> Result<bool> {
        if self.head(id).await?.is_none_or(|object| object.size() != size) {
            return Ok(false);
        }
        let start = size.saturating_sub(end.len() as u64);
        let there = self.read_bucket(id, start..size).await?;
        Ok(there.is_some_and(|there| there == end))
    }

    /// All there is to know of an object.
    pub(super) async fn found(&self, id: SegmentId) -> Result<Found> {
        let there = self.stat(id).await?;
        let there = there.ok_or_else(|| Error::NotFound(format!("segment {id}")))?;
        let header = self.header(id).await?;
        let info = SegmentInfo {
            timestamp: Some(header.timestamp),
            ..there
        };
        Ok(Found {
            info,
            header: Some(header),
        })
    }

    /// Everything beyond `after`, on levels and shelves.
    async fn walk(&self, after: Txid) -> Result<Vec<SegmentInfo>> {
        let mut all = Vec::new();
        let mut start: Option<String> = None;
        loop {
            let page = self.page(start.as_deref(), MAX_PAGE).await?;
            let found = page.segments.into_iter().map(|found| found.info);
            all.extend(found.filter(|info| info.id.max > after));
            start = page.next;
            if start.is_none() {
                return Ok(all);
            }
        }
    }

    /// A range of an object, if it is in the bucket.
    async fn read_bucket(&self, id: SegmentId, range: Range<u64>) -> Result<Option<Bytes>> {
        let wanted = Wanted::Between(range.start, range.end.saturating_sub(1));
        let Some(object) = self.get(id, Some(wanted)).await? else {
            return Ok(None);
        };
        // R2 shortens a range that ends beyond the end.
        if object.size() < range.end {
            return Err(Error::OutOfRange(format!("segment {id}")));
        }
        let body = object
            .body()
            .ok_or_else(|| Error::Protocol(format!("R2 gave no content of segment {id}")))?;
        let bytes = body
            .bytes()
            .await
            .map_err(|error| unavailable("read", &self.key(id), &error))?;
        Ok(Some(Bytes::from(bytes)))
    }

    /// Asks the database's object for a part of a segment that may be there.
    async fn ask(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        let missing = || Error::NotFound(format!("segment {id}"));
        let Kept::There(object) = &self.kept else {
            return Err(missing());
        };
        let unanswered = |error: worker::Error| unavailable("read", &self.key(id), &error);
        let url = format!(
            "https://database/v1/{}/ltx/{}/{}",
            self.db,
            id.level,
            id.file_name()
        );
        let last = range.end.saturating_sub(1);
        let ask = async {
            let mut question = Request::new(&url, Method::Get)?;
            let range = format!("bytes={}-{last}", range.start);
            question.headers_mut()?.set("Range", &range)?;
            let mut answer = object.fetch_with_request(question).await?;
            worker::Result::Ok((answer.status_code(), answer.bytes().await?))
        };
        match ask.await.map_err(unanswered)? {
            (206, bytes) if bytes.len() as u64 == range.end.saturating_sub(range.start) => Ok(bytes.into()),
            (206 | 416, _) => Err(Error::OutOfRange(format!("segment {id}"))),
            (200 | 404, _) => Err(missing()),
            (status, _) => Err(Error::Unavailable(format!(
                "the database answered with status {status} to who asked for segment {id}"
            ))),
        }
    }

    fn key(&self, id: SegmentId) -> String {
        format!("{}{}", self.root, id.key(Layout::Bucket))
    }
}

/// The time of a segment, as far as its metadata tell.
pub(super) fn timestamp_of(object: &Object) -> Option<Timestamp> {
    let litestream = || parse_time(object.custom_metadata().ok()?.get(LITESTREAM_TIME)?);
    header_of(object)
        .map(|header| header.timestamp)
        .or_else(litestream)
}

fn metadata(header: Option<&Header>) -> HashMap<String, String> {
    let header = header.map(|header| (HEADER.to_owned(), hex(&header.encode())));
    header.into_iter().collect()
}

fn header_of(object: &Object) -> Option<Header> {
    let bytes = unhex(object.custom_metadata().ok()?.get(HEADER)?)?;
    Header::parse(&bytes).ok()
}

pub(super) fn parse_key(key: &str) -> Option<SegmentId> {
    let (prefix, name) = key.split_at_checked(5)?;
    let mut levels = Level::all().chain(Level::shelves());
    let level = levels.find(|&level| prefix == Layout::Bucket.prefix(level))?;
    SegmentId::from_file_name(level, name).ok()
}

/// The number of the part after so many.
fn number(before: usize) -> u16 {
    u16::try_from(before.saturating_add(1)).unwrap_or(u16::MAX)
}

fn unavailable(what: &str, key: &str, error: &worker::Error) -> Error {
    Error::Unavailable(format!("R2 could not {what} {key} ({error})"))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let digits: &[u8] = text.as_bytes();
    if digits.len() != N.checked_mul(2)? {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[async_trait(?Send)]
impl Source for R2Store {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        if let Some(bytes) = self.kept(id)? {
            let within = |at: u64| usize::try_from(at).ok().filter(|at| *at <= bytes.len());
            return match (within(range.start), within(range.end)) {
                (Some(start), Some(end)) if start <= end => Ok(bytes.slice(start..end)),
                _ => Err(Error::OutOfRange(format!("segment {id}"))),
            };
        }
        match self.read_bucket(id, range.clone()).await? {
            Some(bytes) => Ok(bytes),
            None => self.ask(id, range).await,
        }
    }
}

#[async_trait(?Send)]
impl Store for R2Store {
    async fn list(&self, level: Level, after: Txid) -> Result<Vec<SegmentInfo>> {
        let mut all = self.walk(after).await?;
        all.retain(|info| info.id.level == level);
        Ok(all)
    }

    async fn list_all(&self, after: Txid) -> Result<Vec<SegmentInfo>> {
        let mut all = self.walk(after).await?;
        all.retain(|info| info.id.level <= Level::SNAPSHOT);
        Ok(all)
    }

    async fn stat(&self, id: SegmentId) -> Result<Option<SegmentInfo>> {
        if let Some(bytes) = self.kept(id)? {
            let header = bytes.first_chunk().and_then(|start| Header::parse(start).ok());
            return Ok(Some(SegmentInfo {
                id,
                size: bytes.len() as u64,
                timestamp: header.map(|header| header.timestamp),
            }));
        }
        let info = |object: Object| SegmentInfo {
            id,
            size: object.size(),
            timestamp: timestamp_of(&object),
        };
        Ok(self.head(id).await?.map(info))
    }

    async fn create(&self, id: SegmentId, body: &dyn Body) -> Result<()> {
        let bytes = body.read(0..body.len()).await?;
        let refused = |why: String| Error::Refused(format!("segment {id} is refused: {why}"));
        let first = bytes
            .first_chunk()
            .ok_or_else(|| refused("it is too short".to_owned()))?;
        let header = Header::parse(first).map_err(|error| refused(error.to_string()))?;
        if self.put(id, Data::Bytes(bytes.to_vec()), Some(&header)).await? {
            Ok(())
        } else {
            Err(Error::Exists(format!("segment {id}")))
        }
    }

    async fn delete(&self, id: SegmentId) -> Result<()> {
        self.delete_all(&[id]).await
    }

    async fn delete_all(&self, ids: &[SegmentId]) -> Result<()> {
        for ids in ids.chunks(MAX_DELETED) {
            let keys: Vec<String> = ids.iter().map(|&id| self.key(id)).collect();
            let first = keys.first().cloned().unwrap_or_default();
            count!("r2_delete", 1);
            let deleted = self.bucket.delete_multiple(keys).await;
            deleted.map_err(|error| unavailable("delete", &first, &error))?;
        }
        Ok(())
    }
}
