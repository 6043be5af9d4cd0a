//! Compaction levels, and the shelves beside them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::json::{FromJson, Json};

/// A level of a replica: 0 holds what was shipped, 1 to 8 what was compacted from the level below, 9 snapshots.
///
/// Beyond them are walferry's own shelves, where Litestream never looks: objects there are named by transactions as
/// segments are, and hold something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Level(u8);

impl Level {
    /// Segments as they were shipped.
    pub const RAW: Self = Self(0);
    /// Whole databases.
    pub const SNAPSHOT: Self = Self(9);
    /// A shelf: raw segments of the past, bundled, so that every moment can be restored.
    pub const HISTORY: Self = Self(10);
    /// A shelf: the page-sum table of a state, beside its snapshot.
    pub const SUMS: Self = Self(11);
    /// A shelf: whose replica this is, one record after the other; the last is in force.
    pub const OWNER: Self = Self(12);

    /// Checks a level that holds segments.
    pub fn new(level: u8) -> Option<Self> {
        (level <= Self::SNAPSHOT.0).then_some(Self(level))
    }

    /// The level or the shelf of a number.
    pub fn any(number: u8) -> Option<Self> {
        (number <= Self::OWNER.0).then_some(Self(number))
    }

    /// All levels that hold segments, the lowest first: as segments move up.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=Self::SNAPSHOT.0).map(Self)
    }

    /// The shelves beside the levels.
    pub fn shelves() -> impl Iterator<Item = Self> {
        [Self::HISTORY, Self::SUMS, Self::OWNER].into_iter()
    }

    /// How the names of its objects end.
    pub fn extension(self) -> &'static str {
        match self {
            Self::HISTORY => "bundle",
            Self::SUMS => "sums",
            Self::OWNER => "json",
            _ => "ltx",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::LowerHex for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

impl From<Level> for u8 {
    fn from(level: Level) -> Self {
        level.0
    }
}

impl TryFrom<u8> for Level {
    type Error = &'static str;

    fn try_from(level: u8) -> Result<Self, Self::Error> {
        Self::any(level).ok_or("a level is a number from 0 to 9, a shelf beside them one from 10 to 12")
    }
}

impl FromJson for Level {
    fn from_json(json: Json<'_>) -> Option<Self> {
        json.integer().and_then(Self::any)
    }
}
