//! What was proven of segments that must prove themselves, piece by piece, in any order.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::opened::Opened;
use super::{Error, Result};
use crate::ltx::{self, FileHasher, FrameHead, Header};
use crate::replica::SegmentId;

/// Filled by chunks as they are decoded, wherever that is.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    segments: Mutex<BTreeMap<SegmentId, Pieces>>,
}

#[derive(Debug, Default)]
struct Pieces {
    /// Frames from one offset up to another.
    frames: BTreeMap<u64, (u64, FileHasher)>,
    index: Option<FileHasher>,
}

impl Ledger {
    /// The frames from `start` to `end` hash to this.
    pub(super) fn frames(&self, segment: SegmentId, start: u64, end: u64, hash: FileHasher) {
        self.with(segment, |pieces| pieces.frames.insert(start, (end, hash)));
    }

    /// The whole index hashes to this.
    pub(super) fn index(&self, segment: SegmentId, hash: FileHasher) {
        self.with(segment, |pieces| pieces.index = Some(hash));
    }

    fn with<T>(&self, segment: SegmentId, change: impl FnOnce(&mut Pieces) -> T) {
        let mut segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        change(segments.entry(segment).or_default());
    }

    /// Whether every byte of a segment was seen, and gives its file checksum.
    pub(super) fn check(&self, opened: &Opened) -> Result<()> {
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        let damaged = |error| Error::Damaged {
            segment: opened.segment.id,
            error,
        };
        let unread = || damaged(ltx::Error::Index("not all of the segment was read"));
        let location = &opened.location;
        let mut hasher = FileHasher::new(opened.header.page_size);
        hasher.update(&opened.header_bytes);
        let none = Pieces::default();
        let pieces = segments.get(&opened.segment.id).unwrap_or(&none);
        let mut at = Header::LEN as u64;
        for (start, (end, hash)) in &pieces.frames {
            if *start != at {
                return Err(unread());
            }
            hasher.append(hash);
            at = *end;
        }
        if at != location.frames_end() {
            return Err(unread());
        }
        hasher.update(&[0; FrameHead::LEN]);
        hasher.append(pieces.index.as_ref().ok_or_else(unread)?);
        hasher.update(&location.len.to_be_bytes());
        hasher.update(&location.trailer.post_apply_checksum.to_be_bytes());
        let (found, computed) = (location.trailer.file_checksum, hasher.finish());
        if found == computed {
            return Ok(());
        }
        Err(damaged(ltx::Error::FileChecksum {
            found: found.0,
            computed: computed.0,
        }))
    }
}
