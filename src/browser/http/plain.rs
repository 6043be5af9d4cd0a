//! A replica at a server that knows nothing of us: a bucket, or a folder whose index the server shows. What a Worker would
//! choose is chosen here.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use js_sys::{Date, encode_uri_component};

use super::{HttpStore, Kind};
use crate::browser::Error as BrowserError;
use crate::browser::listing::{self, BucketPage};
use crate::ltx::{Header, Txid};
use crate::replica::{Layout, Level, Plan, PlanError, Position, SegmentId, SegmentInfo, Target, plan};
use crate::restore::{self, Damage};
use crate::store::{Body, Error, Result, Source, Store};

/// So many segments are remembered of a listing. Upkeep leaves a few thousand.
const MOST: usize = 100_000;
/// Sizes that are asked for at once.
const PARALLEL: usize = 8;
/// While level 0 tells of nothing new, the others are looked at so often, in milliseconds: a history that was replaced by
/// another shows there.
const WHOLE_LOOK: f64 = 60_000.0;

/// What leads from `from` to the newest state; nothing if that is it.
pub(super) async fn newest(at: &HttpStore, from: Position) -> std::result::Result<Plan, BrowserError> {
    let store = Plain(at);
    let now = Date::now();
    if from != Position::EMPTY && now - at.looked.get() < WHOLE_LOOK {
        // What is new comes at level 0, and stays there for a while.
        let found = store.newer(from.txid).await?;
        match plan(&found, Target::Latest, from.txid) {
            Ok(plan) => return store.sized(plan).await,
            Err(PlanError::Gap { .. } | PlanError::NoSnapshot(..)) => {}
            Err(error) => return Err(restore::Error::from(error).into()),
        }
    }
    let plan = chosen(at, Target::Latest, from.txid).await?;
    if plan.segments.is_empty() {
        store.still_has(from).await?;
    }
    at.looked.set(now);
    Ok(plan)
}

/// What leads from the state after `from` to `target`.
pub(super) async fn chosen(
    at: &HttpStore,
    target: Target,
    from: Txid,
) -> std::result::Result<Plan, BrowserError> {
    let store = Plain(at);
    match restore::plan_without(&store, target, from, &Damage::default()).await {
        Err(restore::Error::Plan(PlanError::Empty)) => Err(Error::NotFound(format!(
            "a replica at {} (it must be its address, and the server must list what is there)",
            at.base
        ))
        .into()),
        plan => store.sized(plan?).await,
    }
}

/// The objects as they can be listed.
pub(super) struct Plain<'a>(pub(super) &'a HttpStore);

impl Plain<'_> {
    /// The segments of level 0 that begin after `from`.
    async fn newer(&self, from: Txid) -> Result<Vec<SegmentInfo>> {
        let mut found = match &self.0.kind {
            Kind::Bucket { prefix, .. } => {
                let start = listing::start_after(prefix, from);
                self.bucket(&format!("{prefix}0000/"), &start).await?
            }
            _ => self.folder(Level::RAW).await?,
        };
        found.retain(|segment| segment.id.min > from);
        Ok(found)
    }

    /// All objects of the bucket whose keys start with `prefix`.
    async fn bucket(&self, prefix: &str, start_after: &str) -> Result<Vec<SegmentInfo>> {
        let Kind::Bucket { url, prefix: ours } = &self.0.kind else {
            return Ok(Vec::new());
        };
        let encoded = |text: &str| String::from(encode_uri_component(text));
        let mut first = format!("{url}?list-type=2&prefix={}", encoded(prefix));
        if !start_after.is_empty() {
            first = format!("{first}&start-after={}", encoded(start_after));
        }
        let mut all: Vec<SegmentInfo> = Vec::new();
        let mut url = first.clone();
        // A page holds a thousand.
        for _ in 0..MOST / 100 {
            let answer = self.0.get_at(url, None, false).await?;
            let page = BucketPage::parse(&answer.body, ours).ok_or_else(|| {
                let url = &answer.url;
                Error::Protocol(format!(
                    "{url} answered with something that is no listing of a bucket"
                ))
            })?;
            all.extend(page.segments);
            match page.next {
                Some(next) if all.len() <= MOST => {
                    url = format!("{first}&continuation-token={}", encoded(&next))
                }
                Some(_) => break,
                None => return Ok(all),
            }
        }
        Err(self.too_many())
    }

    async fn folder(&self, level: Level) -> Result<Vec<SegmentInfo>> {
        let url = format!("{}/ltx/{level}/", self.0.base);
        let answer = match self.0.get_at(url, None, false).await {
            // Folders are made when they are needed.
            Err(Error::NotFound(_)) => return Ok(Vec::new()),
            answer => answer?,
        };
        let found = listing::folder(&answer.body, level);
        if found.len() > MOST {
            return Err(self.too_many());
        }
        let unsized_segment = |id| SegmentInfo {
            id,
            size: 0,
            timestamp: None,
        };
        Ok(found.into_iter().map(unsized_segment).collect())
    }

    fn too_many(&self) -> Error {
        let base = &self.0.base;
        Error::Protocol(format!(
            "{base} lists more than {MOST} segments: is it a replica that is kept up?"
        ))
    }

    /// With the sizes that an index of a folder does not tell.
    async fn sized(&self, mut plan: Plan) -> std::result::Result<Plan, BrowserError> {
        plan.segments = self.with_sizes(plan.segments).await?;
        Ok(plan)
    }

    async fn with_sizes(&self, segments: Vec<SegmentInfo>) -> restore::Result<Vec<SegmentInfo>> {
        let sized = segments.into_iter().map(async |segment| match segment.size {
            0 => {
                let found = self.stat(segment.id).await?;
                found.ok_or(restore::Error::Missing(segment.id))
            }
            _ => Ok(segment),
        });
        let sized: Vec<restore::Result<SegmentInfo>> = stream::iter(sized).buffered(PARALLEL).collect().await;
        sized.into_iter().collect()
    }

    /// The newest state there is that of `from`, by its transaction: is it by its sum?
    async fn still_has(&self, from: Position) -> std::result::Result<(), BrowserError> {
        let after = Txid(from.txid.0.saturating_sub(1));
        for segment in self.list_all(after).await? {
            let head = self.read(segment.id, 0..Header::LEN as u64).await?;
            let header = head.first_chunk().and_then(|head| Header::parse(head).ok());
            let sum = header.and_then(|header| header.sums).map(|sums| sums.after);
            if segment.id.max == from.txid && sum.is_some() && sum != from.sum {
                return Err(BrowserError::Diverged(format!(
                    "transaction {} is another one there; the history was replaced",
                    from.txid
                )));
            }
        }
        Ok(())
    }
}

#[async_trait(?Send)]
impl Source for Plain<'_> {
    async fn read(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes> {
        self.0.read(id, range).await
    }
}

#[async_trait(?Send)]
impl Store for Plain<'_> {
    async fn list(&self, level: Level, after: Txid) -> Result<Vec<SegmentInfo>> {
        let mut found = match &self.0.kind {
            Kind::Bucket { prefix, .. } => {
                let prefix = format!("{prefix}{}", Layout::Bucket.prefix(level));
                self.bucket(&prefix, "").await?
            }
            _ => self.folder(level).await?,
        };
        found.retain(|segment| segment.id.max > after);
        match level > Level::SNAPSHOT {
            // They are read whole, by their ends.
            true => {
                let sized = self.with_sizes(found).await;
                sized.map_err(|error| Error::Unavailable(error.to_string()))
            }
            false => Ok(found),
        }
    }

    async fn list_all(&self, after: Txid) -> Result<Vec<SegmentInfo>> {
        let mut all = match &self.0.kind {
            Kind::Bucket { prefix, .. } => self.bucket(prefix, "").await?,
            _ => {
                let mut all = Vec::new();
                for level in Level::all() {
                    all.append(&mut self.folder(level).await?);
                }
                all
            }
        };
        all.retain(|segment| segment.id.level <= Level::SNAPSHOT && segment.id.max > after);
        Ok(all)
    }

    async fn stat(&self, id: SegmentId) -> Result<Option<SegmentInfo>> {
        let answer = match self.0.get_at(self.0.address(id), None, true).await {
            Err(Error::NotFound(_)) => return Ok(None),
            answer => answer?,
        };
        let size = answer.told.and_then(|size| size.parse().ok());
        let size = size.ok_or_else(|| {
            let url = &answer.url;
            Error::Protocol(format!(
                "{url} answered without saying how long it is (Content-Length)"
            ))
        })?;
        Ok(Some(SegmentInfo {
            id,
            size,
            timestamp: None,
        }))
    }

    async fn create(&self, id: SegmentId, _: &dyn Body) -> Result<()> {
        Err(only_reads(id))
    }

    async fn delete(&self, id: SegmentId) -> Result<()> {
        Err(only_reads(id))
    }
}

fn only_reads(id: SegmentId) -> Error {
    Error::Denied(format!("segment {id} stays as it is: a browser only reads"))
}
