//! From a path to the thing it names.

use std::fmt;

use super::failure::Failure;
use crate::replica::{Level, SegmentId};
use crate::token::Scope;

/// The name of a database: `[a-z0-9][a-z0-9_-]{0,62}`, so that it is a path segment and a key prefix as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Db(String);

/// What a path names.
#[derive(Debug)]
pub(super) enum Route {
    /// All databases.
    Databases,
    /// The same, for Prometheus.
    Metrics,
    Head(Db),
    List(Db),
    Plan(Db),
    /// Where the pages of a state lie.
    Map(Db),
    Segment(Db, SegmentId),
    Follow(Db),
    /// A state, as the file that it is.
    Whole(Db),
    /// Where in its WAL a database that is sent raw stands; more of it.
    Wal(Db),
    /// Forgets what the object remembers of a database, and reads the bucket again.
    Rebuild(Db),
    #[cfg(feature = "fault-points")]
    Fault(super::fault_points::Fault),
}

impl Route {
    pub(super) fn of(path: &str) -> Result<Self, Failure> {
        let parts: Vec<&str> = path.split('/').take(8).collect();
        match parts.as_slice() {
            #[cfg(feature = "fault-points")]
            ["", "v1", "-", rest @ ..] => super::fault_points::Fault::of(rest).map(Self::Fault),
            ["", "metrics"] => Ok(Self::Metrics),
            ["", "v1", ""] => Ok(Self::Databases),
            ["", "v1", db] if !db.is_empty() => Ok(Self::Head(Db::parse(db)?)),
            ["", "v1", db, "ltx"] => Ok(Self::List(Db::parse(db)?)),
            ["", "v1", db, "plan"] => Ok(Self::Plan(Db::parse(db)?)),
            ["", "v1", db, "map"] => Ok(Self::Map(Db::parse(db)?)),
            ["", "v1", db, "follow"] => Ok(Self::Follow(Db::parse(db)?)),
            ["", "v1", db, "db"] => Ok(Self::Whole(Db::parse(db)?)),
            ["", "v1", db, "wal"] => Ok(Self::Wal(Db::parse(db)?)),
            ["", "v1", db, "rebuild"] => Ok(Self::Rebuild(Db::parse(db)?)),
            ["", "v1", db, "ltx", level, name] => Ok(Self::Segment(Db::parse(db)?, segment(level, name)?)),
            _ => Err(unknown(path)),
        }
    }

    /// The database that it is about.
    pub(super) fn db(&self) -> Option<&Db> {
        match self {
            Self::Head(db)
            | Self::List(db)
            | Self::Plan(db)
            | Self::Map(db)
            | Self::Segment(db, _)
            | Self::Follow(db)
            | Self::Whole(db)
            | Self::Wal(db)
            | Self::Rebuild(db) => Some(db),
            Self::Databases | Self::Metrics => None,
            #[cfg(feature = "fault-points")]
            Self::Fault(_) => None,
        }
    }

    /// What a token must allow.
    pub(super) fn scope(&self, method: &str) -> Scope {
        match self {
            Self::Segment(..) | Self::Whole(_) if method == "PUT" => Scope::Write,
            Self::Wal(_) if method == "POST" => Scope::Write,
            Self::Head(_)
            | Self::List(_)
            | Self::Plan(_)
            | Self::Map(_)
            | Self::Segment(..)
            | Self::Follow(_)
            | Self::Whole(_)
            | Self::Wal(_) => Scope::Read,
            Self::Rebuild(_) | Self::Databases | Self::Metrics => Scope::Admin,
            #[cfg(feature = "fault-points")]
            Self::Fault(_) => Scope::Admin,
        }
    }

    /// The methods that it has, OPTIONS not told.
    fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Databases | Self::Metrics => &["GET"],
            Self::Head(_) | Self::List(_) | Self::Plan(_) | Self::Map(_) | Self::Follow(_) => &["GET"],
            Self::Whole(_) => &["GET", "PUT"],
            Self::Wal(_) => &["GET", "POST"],
            Self::Segment(..) => &["GET", "HEAD", "PUT"],
            Self::Rebuild(_) => &["POST"],
            #[cfg(feature = "fault-points")]
            Self::Fault(_) => &["POST"],
        }
    }

    pub(super) fn check_method(&self, method: &str) -> Result<(), Failure> {
        if self.methods().contains(&method) {
            return Ok(());
        }
        let allow = format!("{}, OPTIONS", self.methods().join(", "));
        let message = format!("{method} is not done here; what can be done is {allow}.");
        Err(Failure::new(405, "method_not_allowed", message).with_header("Allow", allow))
    }
}

impl Db {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let valid = text.len() <= 63
            && text.bytes().next().is_some_and(lower)
            && text
                .bytes()
                .all(|byte| lower(byte) || byte == b'_' || byte == b'-');
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Failure::bad_request(
                "invalid_database_name",
                "A database name is 1 to 63 of a-z, 0-9, _ and -, and starts with a letter or a digit.",
            ))
        }
    }
}

impl fmt::Display for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn level(text: &str) -> Result<Level, Failure> {
    let digit = |digit: u8| digit.wrapping_sub(b'0');
    let number = match text.as_bytes() {
        [one @ b'0'..=b'9'] => digit(*one),
        [b'1', one @ b'0'..=b'9'] => digit(*one).wrapping_add(10),
        _ => u8::MAX,
    };
    let message = "A level is a number from 0 to 9; 10 to 12 are the shelves beside them.";
    Level::any(number).ok_or_else(|| Failure::bad_request("invalid_level", message))
}

fn segment(level_text: &str, name: &str) -> Result<SegmentId, Failure> {
    SegmentId::from_file_name(level(level_text)?, name).map_err(|why| {
        let message = format!("This is no name of a segment: {why}.");
        Failure::bad_request("invalid_segment_name", message)
    })
}

fn unknown(path: &str) -> Failure {
    let shown: String = path.chars().take(100).collect();
    Failure::new(404, "unknown_route", format!("There is nothing at {shown}."))
}
