//! Creates an object where there is none: in one request, or in parts where it is large.
//!
//! `If-None-Match: *` makes the provider refuse where there is one already. Not all providers know it. One that says so
//! (501) is believed; one that ignores it is found out, by creating the first small object twice: the same content, so
//! that nothing is lost if it works. Without the promise we look, create, and look whether it is ours that stands: two
//! writers at the very same moment may then both believe that they won.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use object_store::client::HttpErrorKind;
use object_store::path::Path;
use object_store::retry::{RetryContext, RetryFailure, RetryPolicy};
use object_store::{
    Attribute, Attributes, GetOptions, MultipartUpload, PutMode, PutMultipartOptions, PutOptions, PutPayload,
};
use tokio::time::{sleep, timeout};

use super::connect::{Link, endpoint_of};
use super::{Bucket, BucketStore, failure};
use crate::ltx::{Header, Timestamp};
use crate::replica::SegmentId;
use crate::store::{Body, Error, Result};

/// The smallest part that S3 takes; smaller objects go in one request.
const SMALLEST_PART: u64 = 5 * 1024 * 1024;
/// No provider takes more parts.
const MOST_PARTS: u64 = 10_000;
/// Parts grow in steps of this.
const STEP: u64 = 1024 * 1024;
/// Parts that are held in memory and sent at once.
const PARALLEL: usize = 2;
/// An object up to this size is created twice to find out whether the second is refused.
const TRIAL: u64 = 256 * 1024;
/// The pauses before further attempts to send a part: giving up means to send the whole object again.
const PAUSES: [Duration; 7] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(30),
];
/// How long to wait for an upload to be given up.
const FAREWELL: Duration = Duration::from_secs(10);

/// Whether a provider creates objects only where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    Unknown,
    Kept,
    None,
}

thread_local! {
    /// What was found out of a bucket is known to all its replicas.
    static FOUND: RefCell<HashMap<String, Promise>> = RefCell::default();
}

pub(super) async fn create(store: &BucketStore, id: SegmentId, body: &dyn Body) -> Result<()> {
    let key = store.object(id)?;
    let attributes = attributes(store, body).await?;
    let part = part_size(store, body.len())?;
    let object = Object {
        store,
        id,
        key,
        attributes,
    };
    if body.len() <= part {
        object.whole(body).await
    } else {
        object.in_parts(body, part).await
    }
}

/// When the segment's last transaction was seen, as Litestream notes it.
pub(super) fn timestamp_of(attributes: &Attributes) -> Option<Timestamp> {
    let text = [S3_TIMESTAMP, AZURE_TIMESTAMP]
        .into_iter()
        .find_map(|name| attributes.get(&Attribute::Metadata(name.into())))?;
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp(time.as_millisecond()))
}

const S3_TIMESTAMP: &str = "litestream-timestamp";
const AZURE_TIMESTAMP: &str = "litestreamtimestamp";

async fn attributes(store: &BucketStore, body: &dyn Body) -> Result<Attributes> {
    let mut attributes = Attributes::new();
    if body.len() >= Header::LEN as u64
        && let start = body.read(0..Header::LEN as u64).await?
        && let Some(Ok(header)) = start.first_chunk().map(Header::parse)
        && let Ok(time) = jiff::Timestamp::from_millisecond(header.timestamp.0)
    {
        let name = match store.bucket {
            Bucket::Abs(_) => AZURE_TIMESTAMP,
            Bucket::S3(_) | Bucket::Gs(_) => S3_TIMESTAMP,
        };
        attributes.insert(Attribute::Metadata(name.into()), time.to_string().into());
    }
    if let Bucket::S3(settings) = &store.bucket
        && let Some(class) = &settings.storage_class
    {
        attributes.insert(Attribute::StorageClass, class.clone().into());
    }
    Ok(attributes)
}

/// Equal parts, as R2 wants them, and not too many.
fn part_size(store: &BucketStore, len: u64) -> Result<u64> {
    let wanted = match &store.bucket {
        Bucket::S3(settings) => settings.part_size.unwrap_or(SMALLEST_PART),
        Bucket::Gs(_) | Bucket::Abs(_) => SMALLEST_PART,
    };
    let needed = len.div_ceil(MOST_PARTS).next_multiple_of(STEP);
    let part = wanted.max(SMALLEST_PART).max(needed);
    usize::try_from(part)
        .map(|_| part)
        .map_err(|_| Error::Refused(format!("{len} bytes are too much for one object")))
}

/// The object to create.
struct Object<'a> {
    store: &'a BucketStore,
    id: SegmentId,
    key: Path,
    attributes: Attributes,
}

impl Object<'_> {
    fn what(&self) -> String {
        format!("segment {}", self.id)
    }

    async fn whole(&self, body: &dyn Body) -> Result<()> {
        let bytes = body.read(0..body.len()).await?;
        if self.promise() == Promise::None {
            return self.if_absent(bytes).await;
        }
        match self.put(&bytes, PutMode::Create).await {
            Ok(_) => {}
            Err(Failure::NoConditions) => return self.if_absent(bytes).await,
            Err(Failure::Store(error)) => return Err(error),
        }
        if self.promise() == Promise::Unknown && body.len() <= TRIAL {
            let kept = match self.put(&bytes, PutMode::Create).await {
                Ok(_) => Promise::None,
                Err(Failure::Store(Error::Exists(_))) => Promise::Kept,
                // It is created; another time will tell.
                Err(_) => Promise::Unknown,
            };
            self.found(kept);
        }
        Ok(())
    }

    /// Without the provider's promise.
    async fn if_absent(&self, bytes: Bytes) -> Result<()> {
        self.is_absent().await?;
        let tag = match self.put(&bytes, PutMode::Overwrite).await {
            Ok(tag) => tag,
            Err(Failure::Store(error)) => return Err(error),
            Err(Failure::NoConditions) => {
                return Err(Error::Refused(format!("{} is refused", self.what())));
            }
        };
        self.stands(tag).await
    }

    async fn put(&self, bytes: &Bytes, mode: PutMode) -> std::result::Result<Option<String>, Failure> {
        let link = self.store.link().map_err(Failure::Store)?;
        let put = async |link: &Link| {
            let options = PutOptions {
                mode: mode.clone(),
                attributes: self.attributes.clone(),
                ..PutOptions::default()
            };
            let payload = PutPayload::from(bytes.clone());
            link.objects.put_opts(&self.key, payload, options).await
        };
        match put(&link).await {
            Err(error) if mode == PutMode::Create && failure::knows_no_conditions(&error) => {
                self.found(Promise::None);
                Err(Failure::NoConditions)
            }
            Err(error) if self.store.moves_to(failure::right_region(&error)) => {
                let link = self.store.link().map_err(Failure::Store)?;
                let put = put(&link).await;
                put.map(|done| done.e_tag)
                    .map_err(|error| Failure::Store(self.meaning(&error, &link)))
            }
            result => result
                .map(|done| done.e_tag)
                .map_err(|error| Failure::Store(self.meaning(&error, &link))),
        }
    }

    fn meaning(&self, error: &object_store::Error, link: &Link) -> Error {
        self.store.meaning(error, &self.what(), link)
    }

    async fn tag(&self) -> Result<Option<Option<String>>> {
        let looked = self
            .store
            .ask(&self.what(), async |link| {
                let options = GetOptions::new().with_head(true);
                link.objects.get_opts(&self.key, options).await
            })
            .await;
        match looked {
            Ok(object) => Ok(Some(object.meta.e_tag)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn is_absent(&self) -> Result<()> {
        match self.tag().await? {
            Some(_) => Err(Error::Exists(self.what())),
            None => Ok(()),
        }
    }

    /// Whether it is our object that stands, and not one that was created in the same moment.
    async fn stands(&self, tag: Option<String>) -> Result<()> {
        match self.tag().await? {
            Some(found) if tag.is_none() || bare(found.as_deref()) == bare(tag.as_deref()) => Ok(()),
            _ => Err(Error::Exists(self.what())),
        }
    }

    async fn in_parts(&self, body: &dyn Body, part: u64) -> Result<()> {
        // What is there already is not worth sending for; at the end, the provider decides where it can.
        self.is_absent().await?;
        let link = self.store.link()?;
        let options = PutMultipartOptions {
            attributes: self.attributes.clone(),
            ..PutMultipartOptions::default()
        }
        .with_retry_policy(Arc::new(PartPatience));
        let started = link.objects.put_multipart_opts(&self.key, options).await;
        let mut upload = started.map_err(|error| self.meaning(&error, &link))?;
        let sent = self.send_parts(&mut *upload, body, part, &link).await;
        let completed = match sent {
            Ok(()) => self.complete(&mut *upload, &link).await,
            Err(error) => Err(error),
        };
        if completed.is_err() {
            // What is left over costs: see the lifecycle rule in the documentation.
            match timeout(FAREWELL, upload.abort()).await {
                Ok(Ok(())) => {}
                _ => tracing::warn!(
                    "an unfinished upload of {} may be left in {}",
                    self.what(),
                    self.store.place
                ),
            }
        }
        completed
    }

    async fn send_parts(
        &self,
        upload: &mut dyn MultipartUpload,
        body: &dyn Body,
        part: u64,
        link: &Link,
    ) -> Result<()> {
        let parallel = match &self.store.bucket {
            Bucket::S3(settings) => settings.concurrency.unwrap_or(PARALLEL).max(1),
            Bucket::Gs(_) | Bucket::Abs(_) => PARALLEL,
        };
        let mut sending = FuturesUnordered::new();
        let mut at = 0;
        while at < body.len() {
            if sending.len() >= parallel
                && let Some(sent) = sending.next().await
            {
                sent?;
            }
            let end = at.saturating_add(part).min(body.len());
            let bytes = body.read(at..end).await?;
            at = end;
            let attempt = upload.put_part(PutPayload::from(bytes));
            sending.push(async move { attempt.await.map_err(|error| self.meaning(&error, link)) });
        }
        while let Some(sent) = sending.next().await {
            sent?;
        }
        Ok(())
    }

    async fn complete(&self, upload: &mut dyn MultipartUpload, link: &Link) -> Result<()> {
        let conditional = matches!(self.store.bucket, Bucket::S3(_)) && self.promise() != Promise::None;
        link.conditional_completion.store(conditional, Ordering::Relaxed);
        // Some providers that keep the promise for objects of one request do not keep it here.
        self.is_absent().await?;
        let completed = upload.complete().await;
        if let Err(error) = &completed
            && conditional
            && failure::knows_no_conditions(error)
        {
            self.found(Promise::None);
            let again = "large objects are completed without a condition from now on; trying again";
            return Err(Error::Unavailable(format!("{}: {again}", self.store.place)));
        }
        let tag = completed.map_err(|error| self.meaning(&error, link))?.e_tag;
        if conditional {
            Ok(())
        } else {
            self.stands(tag).await
        }
    }

    fn promise(&self) -> Promise {
        let settings = match &self.store.bucket {
            // Both keep it.
            Bucket::Gs(_) | Bucket::Abs(_) => return Promise::Kept,
            Bucket::S3(settings) => settings,
        };
        match (settings.conditional_writes, endpoint_of(settings)) {
            (Some(true), _) => Promise::Kept,
            (Some(false), _) => Promise::None,
            (None, None) => Promise::Kept,
            (None, Some(endpoint)) if endpoint.ends_with(".r2.cloudflarestorage.com") => Promise::Kept,
            (None, Some(_)) => {
                let place = self.store.place.to_string();
                FOUND
                    .with_borrow(|found| found.get(&place).copied())
                    .unwrap_or(Promise::Unknown)
            }
        }
    }

    fn found(&self, promise: Promise) {
        let place = self.store.place.to_string();
        if promise == Promise::None {
            tracing::warn!(
                "{place} cannot create objects only where there are none: walferry looks before it writes. Make sure \
                 that nothing else writes to the replica, and set conditional-writes to false"
            );
        }
        FOUND.with_borrow_mut(|found| found.insert(place, promise));
    }
}

/// An entity tag without its quotes, which not every answer has.
fn bare(tag: Option<&str>) -> Option<&str> {
    tag.map(|tag| tag.trim_matches('"'))
}

/// Sends a part again after a fault that may pass.
#[derive(Debug)]
struct PartPatience;

#[async_trait]
impl RetryPolicy for PartPatience {
    async fn retry(&self, context: RetryContext) -> bool {
        let passes = match context.failure {
            RetryFailure::Status(status) => status.is_server_error(),
            RetryFailure::Transport(kind) => !matches!(kind, HttpErrorKind::Unknown | HttpErrorKind::Decode),
            _ => false,
        };
        match PAUSES.get(context.attempt.saturating_sub(1)) {
            Some(pause) if passes => {
                tracing::warn!("a part of a large object was not taken; trying again in {pause:?}");
                sleep(*pause).await;
                true
            }
            _ => false,
        }
    }
}

/// Why an object was not created.
enum Failure {
    /// The provider does not know how to create only what is absent.
    NoConditions,
    Store(Error),
}
