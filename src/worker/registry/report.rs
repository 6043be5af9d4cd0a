//! What a database tells of itself.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::json::{FromJson, Json};
use crate::ltx::PageSize;
use crate::replica::Position;

/// A database as of its last report. Counters are what came since the report before, until the registry adds them up.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) name: String,
    pub(super) position: Position,
    pub(super) page_size: Option<PageSize>,
    /// Size of the database in pages.
    pub(super) commit: u32,
    /// Objects, and their bytes.
    pub(super) segments: u64,
    pub(super) bytes: u64,
    pub(super) followers: usize,
    /// When the last upload was committed, in Unix milliseconds; and how long after the transaction was seen.
    pub(super) last_upload: Option<i64>,
    pub(super) lag_ms: Option<i64>,
    /// Uploads that were committed, and the bytes that came with uploads.
    pub(super) uploads: u64,
    pub(super) uploaded_bytes: u64,
    /// Uploads that were refused, by the code of the answer.
    pub(super) refused: BTreeMap<String, u64>,
    /// How often upkeep has failed in a row.
    pub(super) upkeep_failures: u32,
}

impl Report {
    /// With the counters of what was known before.
    pub(super) fn after(mut self, known: Self) -> Self {
        self.uploads = self.uploads.saturating_add(known.uploads);
        self.uploaded_bytes = self.uploaded_bytes.saturating_add(known.uploaded_bytes);
        for (code, count) in known.refused {
            let refused = self.refused.entry(code).or_default();
            *refused = refused.saturating_add(count);
        }
        self.last_upload = self.last_upload.or(known.last_upload);
        self.lag_ms = self.lag_ms.or(known.lag_ms);
        self
    }
}

impl FromJson for Report {
    fn from_json(json: Json<'_>) -> Option<Self> {
        let refused = json.field("refused")?.fields()?;
        let refused = refused.map(|(code, count)| Some((code.text()?.into_owned(), count.integer()?)));
        Some(Self {
            name: json.get("name")?,
            position: json.get("position")?,
            page_size: json.get("page_size")?,
            commit: json.get("commit")?,
            segments: json.get("segments")?,
            bytes: json.get("bytes")?,
            followers: json.get("followers")?,
            last_upload: json.get("last_upload")?,
            lag_ms: json.get("lag_ms")?,
            uploads: json.get("uploads")?,
            uploaded_bytes: json.get("uploaded_bytes")?,
            refused: refused.collect::<Option<_>>()?,
            upkeep_failures: json.get("upkeep_failures")?,
        })
    }
}
