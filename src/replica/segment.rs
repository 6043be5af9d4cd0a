//! The names of a replica's objects.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Level;
use crate::json::{FromJson, Json};
use crate::ltx::{Timestamp, Txid};

/// Names one segment of a replica, or an object on one of the shelves beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentId {
    /// Its level.
    pub level: Level,
    /// Its first transaction.
    #[serde(rename = "min_txid")]
    pub min: Txid,
    /// Its last transaction.
    #[serde(rename = "max_txid")]
    pub max: Txid,
}

/// What a listing tells of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Told", into = "Told")]
pub struct SegmentInfo {
    /// Its name.
    pub id: SegmentId,
    /// Length of the object in bytes.
    pub size: u64,
    /// When its last transaction was seen; absent where a listing does not tell.
    pub timestamp: Option<Timestamp>,
}

/// A segment as it is told, its name beside all else.
#[derive(Serialize, Deserialize)]
struct Told {
    level: Level,
    min_txid: Txid,
    max_txid: Txid,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<Timestamp>,
}

impl From<SegmentInfo> for Told {
    fn from(SegmentInfo { id, size, timestamp }: SegmentInfo) -> Self {
        Self {
            level: id.level,
            min_txid: id.min,
            max_txid: id.max,
            size,
            timestamp,
        }
    }
}

impl From<Told> for SegmentInfo {
    fn from(told: Told) -> Self {
        Self {
            id: SegmentId {
                level: told.level,
                min: told.min_txid,
                max: told.max_txid,
            },
            size: told.size,
            timestamp: told.timestamp,
        }
    }
}

impl FromJson for SegmentId {
    fn from_json(json: Json<'_>) -> Option<Self> {
        Some(Self {
            level: json.get("level")?,
            min: json.get("min_txid")?,
            max: json.get("max_txid")?,
        })
    }
}

impl FromJson for SegmentInfo {
    fn from_json(json: Json<'_>) -> Option<Self> {
        Some(Self {
            id: SegmentId::from_json(json)?,
            size: json.get("size")?,
            timestamp: json.get("timestamp")?,
        })
    }
}

/// How a kind of destination arranges a replica's objects; both arrangements are Litestream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// S3 and R2: `0009/<min>-<max>.ltx`, the level as four hexadecimal digits.
    Bucket,
    /// Folders: `ltx/9/<min>-<max>.ltx`, the level as a decimal number.
    Folder,
}

impl SegmentId {
    /// Names a segment, if its transactions are in order.
    pub fn new(level: Level, min: Txid, max: Txid) -> Option<Self> {
        (Txid::FIRST <= min && min <= max).then_some(Self { level, min, max })
    }

    /// `<min>-<max>.ltx`; the end tells the shelf of what is no segment.
    pub fn file_name(&self) -> String {
        format!("{}-{}.{}", self.min, self.max, self.level.extension())
    }

    /// The segment that `<min>-<max>.ltx` names at `level`.
    pub fn from_file_name(level: Level, name: &str) -> Result<Self, InvalidKey> {
        let (min, max) = name
            .strip_suffix(level.extension())
            .and_then(|name| name.strip_suffix('.'))
            .and_then(|stem| stem.split_once('-'))
            .ok_or(InvalidKey)?;
        let parse = |digits: &str| Txid::from_str(digits).map_err(|_| InvalidKey);
        Self::new(level, parse(min)?, parse(max)?).ok_or(InvalidKey)
    }

    /// The object's key below the replica's path.
    pub fn key(&self, layout: Layout) -> String {
        format!("{}{}", layout.prefix(self.level), self.file_name())
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.level, self.file_name())
    }
}

impl Layout {
    /// What the keys of a level start with, below the replica's path.
    pub fn prefix(self, level: Level) -> String {
        match self {
            Self::Bucket => format!("{level:04x}/"),
            Self::Folder => format!("ltx/{level}/"),
        }
    }
}

/// A name that no segment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a segment is named <first TXID>-<last TXID>.ltx, each 16 lowercase hexadecimal digits, the first not after the last"
)]
pub struct InvalidKey;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_litestreams() {
        let id = SegmentId::new(Level::SNAPSHOT, Txid(1), Txid(0xff)).unwrap();
        assert_eq!(
            id.key(Layout::Bucket),
            "0009/0000000000000001-00000000000000ff.ltx"
        );
        assert_eq!(
            id.key(Layout::Folder),
            "ltx/9/0000000000000001-00000000000000ff.ltx"
        );
        assert_eq!(SegmentId::from_file_name(id.level, &id.file_name()), Ok(id));
        let beside = SegmentId::new(Level::HISTORY, Txid(2), Txid(3)).unwrap();
        assert_eq!(
            beside.key(Layout::Bucket),
            "000a/0000000000000002-0000000000000003.bundle"
        );
        assert_eq!(
            SegmentId::from_file_name(beside.level, &beside.file_name()),
            Ok(beside)
        );
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            "0000000000000001-0000000000000002.ltx.tmp",
            "0000000000000001-000000000000000A.ltx",
            "0000000000000002-0000000000000001.ltx",
            "0000000000000000-0000000000000001.ltx",
            "1-2.ltx",
            "../0000000000000001-0000000000000002.ltx",
        ] {
            assert_eq!(
                SegmentId::from_file_name(Level::RAW, name),
                Err(InvalidKey),
                "{name:?}"
            );
        }
    }
}
